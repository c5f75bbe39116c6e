#include "ivl/cpu/sample.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

namespace {

using namespace ivl;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

TEST_CASE("argmax takes the lowest id of a row's largest logits") {
  cpu::Context ctx(2);
  // Rows of four; what lies in the gaps would be larger.
  const std::vector<float> memory{-3,        -1,        -2,        -1,        infinity,  //
                                  -0.0f,     0,         0,         -1,        infinity,  //
                                  -infinity, -infinity, -infinity, -infinity, infinity,  //
                                  1,         2,         3,         infinity,  infinity};
  std::vector<std::int32_t> ids(6, -1);
  argmax(ctx, Rows<const float>(memory.data(), 4, 4, 5), ids.data() + 1);
  CHECK(ids == std::vector<std::int32_t>{-1, 1, 0, 0, 3, -1});
  argmax(ctx, Rows<const float>(memory.data() + 3, 1, 1), ids.data());
  CHECK(ids[0] == 0);
}

TEST_CASE("argmax never takes a NaN, but at id 0 always") {
  cpu::Context ctx(1);
  const float nan = not_a_number;
  const std::vector<float> memory{nan,       5,   infinity,  //
                                  -2,        nan, -1,        //
                                  -infinity, nan, nan};
  std::vector<std::int32_t> ids(3, -1);
  argmax(ctx, Rows<const float>(memory.data(), 3, 3), ids.data());
  CHECK(ids == std::vector<std::int32_t>{0, 2, 0});
}

}  // namespace
