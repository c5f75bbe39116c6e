// The bodies of video.hpp.
#pragma once
#include <algorithm>
#include <cmath>

#include "ivl/image/video.hpp"

namespace ivl {

namespace detail {

/// First and last frame of a range or of all, as the model cards round them: whole numbers.
struct FrameBounds {
  double begin, end;

  FrameBounds(std::int64_t frames, double frames_per_s, std::optional<TimeRange> range)
      : begin(0), end(double(frames - 1)) {
    if (frames < 1) fail<RequestError>("video: expected at least one frame, found ", frames);
    if (!(frames_per_s > 0) || !std::isfinite(frames_per_s))
      fail<RequestError>("video: expected a positive frame rate, found ", frames_per_s);
    if (!range) return;
    if (std::isnan(range->begin_s) || std::isnan(range->end_s))
      fail<RequestError>("video: the time range is not a number");
    // nearbyint rounds half to even, as Python's round does.
    begin = std::max(begin, std::nearbyint(range->begin_s * frames_per_s));
    end = std::min(end, std::nearbyint(range->end_s * frames_per_s));
    if (begin > end)
      fail<RequestError>("video: expected a time range inside ", double(frames) / frames_per_s, " s, found ",
                         range->begin_s, " s to ", range->end_s, " s");
  }
};

}  // namespace detail

IVL_INLINE std::vector<std::int64_t> frame_indices(std::int64_t frames, double frames_per_s, int segments,
                                                   std::optional<TimeRange> range) {
  const detail::FrameBounds bounds(frames, frames_per_s, range);
  if (segments < 1) fail<RequestError>("video: expected at least one segment, found ", segments);
  const double segment = (bounds.end - bounds.begin) / segments;
  std::vector<std::int64_t> indices;
  for (int i = 0; i < segments; ++i)
    indices.push_back(std::int64_t(bounds.begin + segment / 2 + std::nearbyint(segment * i)));
  return indices;
}

IVL_INLINE std::vector<std::int64_t> uniform_frame_indices(std::int64_t frames, double frames_per_s, int count,
                                                           std::optional<TimeRange> range) {
  const detail::FrameBounds bounds(frames, frames_per_s, range);
  if (count < 1) fail<RequestError>("video: expected at least one frame to choose, found ", count);
  const double step = count > 1 ? (bounds.end - bounds.begin) / (count - 1) : 0;
  std::vector<std::int64_t> indices;
  for (int i = 0; i < count; ++i) indices.push_back(std::int64_t(i * step + bounds.begin));
  if (count > 1) indices.back() = std::int64_t(bounds.end);  // whatever the product rounds to
  return indices;
}

}  // namespace ivl
