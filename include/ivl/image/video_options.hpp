// How a video is opened.
#pragma once
#include <cstdint>

namespace ivl {

/// What a video may ask of us, checked before a frame is decoded.
struct VideoLimits {
  int side_px = 16384;
  std::int64_t pixels = std::int64_t(1) << 26;  // of a frame
  std::int64_t packets = 4'000'000;             // a day and a half at 30 a second; each costs 32 bytes, and 48 at first
};

struct VideoOptions {
  VideoLimits limits = {};
  int threads = 1;  ///< that decode
};

}  // namespace ivl
