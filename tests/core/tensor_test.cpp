#include "ivl/core/tensor.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

using namespace ivl;

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

static_assert(elements_of({}) == 1, "a scalar has one element");
static_assert(elements_of({3, 0, 5}) == 0);
static_assert(elements_of({3072, 1024}) == 3145728);
static_assert(elements_of({most, 1}) == most);
static_assert(!elements_of({most, 2}), "the product must not wrap");
static_assert(!elements_of({std::int64_t(1) << 32, std::int64_t(1) << 32}), "nor wrap to 0");
static_assert(bytes_of(Dtype::bf16, {3, 5}) == 30);
static_assert(bytes_of(Dtype::f4, {3, 2}) == 3);
static_assert(bytes_of(Dtype::f6_e2m3, {4}) == 3);
static_assert(!bytes_of(Dtype::f4, {3}), "12 bits are no whole bytes");
static_assert(!bytes_of(Dtype::f64, {most / 8}), "the bits must not wrap");
static_assert(Shape{2, 3} == Shape{2, 3});
static_assert(Shape{2, 3} != Shape{2, 3, 0});
static_assert(Shape{} != Shape{0});
static_assert(scalar_kind(Dtype::bf16) == ScalarKind::bf16);
static_assert(!scalar_kind(Dtype::f64) && !scalar_kind(Dtype::f8_e4m3) && !scalar_kind(Dtype::i32));

}  // namespace

TEST_CASE("a dtype is found by the name that it prints, and by no other") {
  for (int i = 0; i <= int(Dtype::u64); ++i) {
    const auto dtype = Dtype(i);
    CAPTURE(name_of(dtype));
    CHECK(find_dtype(name_of(dtype)) == dtype);
  }
  for (const char* wrong : {"", "f32", "F3", "F321", "FLOAT", "BF16 "}) {
    CAPTURE(wrong);
    CHECK(!find_dtype(wrong));
  }
}

TEST_CASE("a dtype's bits are those of its safetensors name") {
  CHECK(bits_of(Dtype::boolean) == 8);
  CHECK(bits_of(Dtype::f4) == 4);
  CHECK(bits_of(Dtype::f6_e3m2) == 6);
  CHECK(bits_of(Dtype::f8_e8m0) == 8);
  CHECK(bits_of(Dtype::c64) == 64);
  for (const ScalarKind kind : {ScalarKind::f32, ScalarKind::bf16, ScalarKind::f16}) {
    CHECK(scalar_kind(dtype_of(kind)) == kind);
    CHECK(name_of(dtype_of(kind)) == name_of(kind));
    CHECK(bits_of(dtype_of(kind)) == 8 * bytes_of(kind));
  }
}

TEST_CASE("a shape prints as error messages show it") {
  CHECK(shape_text({3072, 1024}) == "[3072, 1024]");
  CHECK(shape_text({7}) == "[7]");
  CHECK(shape_text({}) == "[]");
  CHECK(shape_text({1, 2, 3, 4, 5, 6, 7, 8}) == "[1, 2, 3, 4, 5, 6, 7, 8]");
}
