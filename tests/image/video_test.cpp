#include "ivl/image/video.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace {

using namespace ivl;
using Indices = std::vector<std::int64_t>;

TEST_CASE("frames are those of the model cards' get_index") {
  CHECK(frame_indices(300, 30, 8) == Indices{18, 55, 93, 130, 168, 205, 242, 280});
  CHECK(frame_indices(100, 30, 8) == Indices{6, 18, 31, 43, 56, 68, 80, 93});
  CHECK(frame_indices(300, 30, 4, TimeRange{2, 6}) == Indices{75, 105, 135, 165});
}

TEST_CASE("times are rounded half to even, and cut to the video") {
  // 0.5 and 2.5 frames round to 0 and 2, 1.5 to 2.
  CHECK(frame_indices(10, 1, 2, TimeRange{0.5, 2.5}) == Indices{0, 1});
  CHECK(frame_indices(10, 1, 1, TimeRange{1.5, 2.5}) == Indices{2});
  CHECK(frame_indices(6, 1, 2) == Indices{1, 3});  // the second stretch begins at 2.5 frames, and so at 2
  CHECK(frame_indices(300, 30, 4, TimeRange{-5, 1e9}) == frame_indices(300, 30, 4));
  CHECK(frame_indices(300, 30, 4, TimeRange{0, std::numeric_limits<double>::infinity()}) == frame_indices(300, 30, 4));
}

TEST_CASE("a video shorter than its segments repeats frames") {
  CHECK(frame_indices(1, 30, 3) == Indices{0, 0, 0});
  for (const std::int64_t frame : frame_indices(5, 30)) {
    CHECK(frame >= 0);
    CHECK(frame < 5);
  }
  CHECK(frame_indices(5, 30).size() == 32);
}

TEST_CASE("uniform frames are those of numpy's linspace") {
  CHECK(uniform_frame_indices(300, 30, 8) == Indices{0, 42, 85, 128, 170, 213, 256, 299});
  CHECK(uniform_frame_indices(300, 30, 1) == Indices{0});
  CHECK(uniform_frame_indices(2, 30, 4) == Indices{0, 0, 0, 1});
  CHECK(uniform_frame_indices(300, 30, 3, TimeRange{2, 6}) == Indices{60, 120, 180});
  CHECK_THROWS_AS(uniform_frame_indices(300, 30, 0), RequestError);
  CHECK_THROWS_AS(uniform_frame_indices(300, 30, 3, TimeRange{20, 30}), RequestError);
}

TEST_CASE("a video without frames, and a time range outside it, are refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(frame_indices(0, 30), "video: expected at least one frame, found 0", RequestError);
  CHECK_THROWS_AS(frame_indices(10, 30, 0), RequestError);
  CHECK_THROWS_AS(frame_indices(10, 0), RequestError);
  CHECK_THROWS_AS(frame_indices(10, nan), RequestError);
  CHECK_THROWS_AS(frame_indices(10, 30, 8, TimeRange{nan, 1}), RequestError);
  CHECK_THROWS_WITH_AS(frame_indices(300, 30, 8, TimeRange{20, 30}),
                       "video: expected a time range inside 10 s, found 20 s to 30 s", RequestError);
  CHECK_THROWS_AS(frame_indices(300, 30, 8, TimeRange{3, 2}), RequestError);
}

}  // namespace
