#include "ivl/core/scalar.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace ivl;

/// A 16-bit scalar's value from its definition: sign, exponent bits, mantissa bits.
double value_of(std::uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1), mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

template <class Scalar>
constexpr int exponent_bits = std::is_same_v<Scalar, bf16> ? 8 : 5;

}  // namespace

static_assert(sizeof(bf16) == 2 && sizeof(half) == 2);
static_assert(bytes_of(ScalarKind::f32) == 4 && bytes_of(ScalarKind::bf16) == 2 && bytes_of(ScalarKind::f16) == 2);
static_assert(kind_of<float> == ScalarKind::f32 && kind_of<bf16> == ScalarKind::bf16 &&
              kind_of<half> == ScalarKind::f16);
static_assert(name_of(ScalarKind::f32) == "F32" && name_of(ScalarKind::bf16) == "BF16" &&
              name_of(ScalarKind::f16) == "F16");
static_assert(to_float(round_to<bf16>(1.5f)) == 1.5f && to_float(round_to<half>(1.5f)) == 1.5f);

TEST_CASE_TEMPLATE("every bit pattern has the value of its definition and comes back from float", Scalar, bf16, half) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const Scalar scalar{std::uint16_t(bits)};
    const double want = value_of(scalar.bits, exponent_bits<Scalar>);
    if (std::isnan(want)) {
      REQUIRE(std::isnan(to_float(scalar)));
      REQUIRE(round_to<Scalar>(to_float(scalar)).bits == 0x7fff);
      continue;
    }
    REQUIRE(double(to_float(scalar)) == want);
    REQUIRE(std::signbit(to_float(scalar)) == std::signbit(want));
    REQUIRE(round_to<Scalar>(to_float(scalar)).bits == bits);
  }
}

TEST_CASE_TEMPLATE("rounding goes to the nearest value, and from the middle to the even one", Scalar, bf16, half) {
  // Between each two neighbours: the middle, and the floats on its sides.
  const std::uint32_t infinity = std::is_same_v<Scalar, bf16> ? 0x7f80 : 0x7c00;
  for (std::uint32_t bits = 0; bits < infinity; ++bits) {
    const double low = value_of(std::uint16_t(bits), exponent_bits<Scalar>);
    // Behind the largest value the next step of the same size is where infinity begins.
    const double high = bits + 1 < infinity ? value_of(std::uint16_t(bits + 1), exponent_bits<Scalar>)
                                            : low + (low - value_of(std::uint16_t(bits - 1), exponent_bits<Scalar>));
    const float middle = float((low + high) / 2);  // exact: a mantissa bit more than the scalar has
    REQUIRE(double(middle) == (low + high) / 2);
    const float below = std::nextafter(middle, 0.0f),
                above = std::nextafter(middle, std::numeric_limits<float>::infinity());
    const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const float direction = sign ? -1.0f : 1.0f;
      REQUIRE(round_to<Scalar>(direction * below).bits == (sign | bits));
      REQUIRE(round_to<Scalar>(direction * middle).bits == (sign | even));
      REQUIRE(round_to<Scalar>(direction * above).bits == (sign | (bits + 1)));
    }
  }
}

TEST_CASE_TEMPLATE("infinities stay, larger numbers become infinite, every NaN becomes 0x7fff", Scalar, bf16, half) {
  const std::uint16_t infinity = std::is_same_v<Scalar, bf16> ? 0x7f80 : 0x7c00;
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(round_to<Scalar>(inf).bits == infinity);
  CHECK(round_to<Scalar>(-inf).bits == (infinity | 0x8000));
  CHECK(round_to<Scalar>(std::numeric_limits<float>::max()).bits == infinity);
  for (const std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    CHECK(round_to<Scalar>(std::bit_cast<float>(bits)).bits == 0x7fff);
  }
}

TEST_CASE("half rounds what is below its smallest subnormal to zero or to it") {
  CHECK(round_to<half>(0x1p-25f).bits == 0);  // the middle goes to even
  CHECK(round_to<half>(std::nextafter(0x1p-25f, 1.0f)).bits == 1);
  CHECK(round_to<half>(-1e-40f).bits == 0x8000);
}
