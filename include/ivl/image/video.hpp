// Which frames of a video the model sees.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

/// A stretch of a video, in seconds.
struct TimeRange {
  double begin_s;
  double end_s;
};

/// `segments` frame numbers, the middles of equal stretches of [0, frames - 1] or of `range`. Frames repeat where the
/// stretch is shorter than `segments`. Each chosen frame is tiled with `max_tiles = 1`.
/// The formula is `get_index` of the InternVL model cards, its rounding half to even included. Throws RequestError.
std::vector<std::int64_t> frame_indices(std::int64_t frames, double frames_per_s, int segments = 32,
                                        std::optional<TimeRange> range = {});

/// `count` frame numbers at equal distances from the first frame of [0, frames - 1] or of `range` to its last, rounded
/// down; the first alone for a count of 1. This is numpy's linspace(0, frames - 1, count, dtype=int), which vLLM and
/// SGLang choose by. Throws RequestError.
std::vector<std::int64_t> uniform_frame_indices(std::int64_t frames, double frames_per_s, int count,
                                                std::optional<TimeRange> range = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/video.ipp"
#endif
