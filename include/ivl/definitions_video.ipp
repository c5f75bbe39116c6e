// The body of video_file.hpp, apart so that programs without it do not load FFmpeg's libraries (definitions.ipp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions_video.ipp: every file of the program defines IVL_COMPILED, as ivl::compiled does"
#endif
#include "ivl/image/video_file.ipp"
