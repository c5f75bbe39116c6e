#include "ivl/core/rows.hpp"

#include <doctest/doctest.h>

#include <type_traits>
#include <vector>

using namespace ivl;

static_assert(Rows<float, 8>::width() == 8);
// Rows of one width are not rows of another, and const does not vanish.
static_assert(!std::is_convertible_v<Rows<float, 8>, Rows<float, 16>>);
static_assert(!std::is_convertible_v<Rows<const float, 8>, Rows<float, 8>>);
static_assert(!std::is_convertible_v<Rows<const float, 8>, Rows<float>>);
static_assert(!std::is_convertible_v<Rows<float>, Rows<float, 8>>);
static_assert(std::is_convertible_v<Rows<float, 8>, Rows<const float, 8>>);
static_assert(std::is_convertible_v<Rows<float, 8>, Rows<float>>);
static_assert(std::is_convertible_v<Rows<float, 8>, Rows<const float>>);
static_assert(std::is_convertible_v<Rows<float>, Rows<const float>>);

TEST_CASE("rows, slices and columns point where the stride says") {
  std::vector<int> memory(5 * 10);
  const Rows<int, 8> rows(memory.data(), 5, 10);
  CHECK(rows[3] == memory.data() + 30);
  const Rows<int, 8> slice = rows.slice(2, 3);
  CHECK(slice.count == 3);
  CHECK(slice[1] == memory.data() + 30);
  const Rows<int, 3> columns = rows.columns<4, 3>();
  CHECK(columns.count == 5);
  CHECK(columns.stride == 10);
  CHECK(columns[2] == memory.data() + 24);
  CHECK(rows.slice(5, 0).count == 0);
}

TEST_CASE("rows without a stride lie one after the other") {
  std::vector<int> memory(16);
  CHECK(Rows<int, 8>(memory.data(), 2)[1] == memory.data() + 8);
  CHECK(Rows<int>(memory.data(), 2, 8)[1] == memory.data() + 8);
}

TEST_CASE("rows of known width become rows of run-time width, and those become const") {
  std::vector<int> memory(50);
  const Rows<int> wide = Rows<int, 8>(memory.data(), 5, 10);
  CHECK(wide.width() == 8);
  CHECK(wide.stride == 10);
  CHECK(wide.count == 5);
  const Rows<const int> read = wide;
  CHECK(read.width() == 8);
  CHECK(read.slice(1, 2)[1] == memory.data() + 20);
  CHECK(read.slice(1, 2).width() == 8);
}
