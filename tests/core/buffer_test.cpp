#include "ivl/core/buffer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

using namespace ivl;

namespace {

bool aligned(const void* pointer, std::uintptr_t unit) { return reinterpret_cast<std::uintptr_t>(pointer) % unit == 0; }

}  // namespace

TEST_CASE("a buffer is aligned to a line, and a large one to a huge page") {
  for (const std::size_t bytes : {std::size_t(1), std::size_t(63), std::size_t(1000), (std::size_t(4) << 20) - 1}) {
    const Buffer buffer(bytes);
    CHECK(buffer.size() == bytes);
    CHECK(aligned(buffer.data(), 64));
    std::memset(buffer.data(), 1, bytes);
  }
  const Buffer large(std::size_t(4) << 20);
  CHECK(aligned(large.data(), std::uintptr_t(2) << 20));
}

TEST_CASE("an empty buffer has no memory, and moving takes it away") {
  CHECK(Buffer().data() == nullptr);
  CHECK(Buffer(0).data() == nullptr);
  Buffer from(10);
  std::byte* data = from.data();
  const Buffer to = std::move(from);
  CHECK(to.data() == data);
  CHECK(to.size() == 10);
}

TEST_CASE("the same layout measures first and places then, line by line") {
  struct Layout {
    float* floats;
    char* chars;
    double* doubles;
  };
  const auto lay_out = [](Carver& carver) {
    return Layout{carver.take<float>(17), carver.take<char>(1), carver.take<double>(8)};
  };
  Carver measure;
  const Layout nothing = lay_out(measure);
  CHECK(nothing.floats == nullptr);
  CHECK(nothing.doubles == nullptr);
  REQUIRE(measure.used() == 128 + 64 + 64);
  const Buffer buffer(measure.used());
  Carver place(buffer.data());
  const Layout placed = lay_out(place);
  CHECK(static_cast<void*>(placed.floats) == buffer.data());
  CHECK(static_cast<void*>(placed.chars) == buffer.data() + 128);
  CHECK(static_cast<void*>(placed.doubles) == buffer.data() + 192);
  CHECK(place.used() == measure.used());
}

TEST_CASE("an empty piece takes no room") {
  Carver carver;
  carver.take<int>(0);
  CHECK(carver.used() == 0);
}
