// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this, or several share its
// parts (core/compiled.hpp).
#pragma once
#include "ivl/definitions_cpu.ipp"
#include "ivl/definitions_files.ipp"
#include "ivl/definitions_models.ipp"
#include "ivl/definitions_openai.ipp"
#include "ivl/definitions_text.ipp"
#include "ivl/definitions_video.ipp"
