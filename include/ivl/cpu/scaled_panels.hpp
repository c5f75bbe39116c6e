// Panels of the codes that folders of safetensors hold: FP8, int8 and int4 with scales of rows, blocks or groups (see
// block_panels.hpp). The scalar of a file's scales makes no other panels.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cpu/block_panels.hpp"
#include "ivl/cpu/code_chunks.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/words.hpp"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/packed_int4.hpp"
#include "ivl/formats/scaled_codes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// [16] f32, in units of 1 / factor: a product rounds once, as in dequantise.
template <class F, int factor>
struct FloatScales {
  static constexpr int zero = 0, group = 128, run = 128, bytes = line_bytes;

  static void put(const BlockCells& cells, std::int64_t, std::size_t column, std::byte* to) {
    put_scale(F::scale_of(cells) * float(factor), column, to);
  }
  static void put_scale(float scale, std::size_t column, std::byte* to) {
    std::memcpy(to + column * sizeof scale, &scale, sizeof scale);
  }
  using Group = NoGroup;
  struct Run {
    Lanes scale;
    Lanes apply(Lanes value, int) const { return value * scale; }
  };
  static Run load(Group, const std::byte* from, std::int64_t) {
    return {Lanes::load(reinterpret_cast<const float*>(from))};
  }
};

/// The same with the two roundings of LLM.int8.
struct LlmInt8Scales : FloatScales<LlmInt8, 1> {
  struct Run {
    Lanes scale;
    Lanes apply(Lanes value, int) const { return value * scale * Lanes::of(LlmInt8::factor); }
  };
  static Run load(Group, const std::byte* from, std::int64_t) {
    return {Lanes::load(reinterpret_cast<const float*>(from))};
  }
};

/// Of a run, [16] u16: the upper halves of scales that bf16 or f16 holds, as floats. Then [16] bytes: zero points, and
/// above them the three bits of a half that the u16 lacks. Products with a zero point are exact.
template <class F, int run_depth>
struct ZeroPoints {
  static constexpr int group = 128, run = run_depth, run_bytes = 3 * panel_columns;
  static constexpr int bytes = int(round_up(group / run * run_bytes, line_bytes));

  static void put(const BlockCells& cells, std::int64_t run, std::size_t column, std::byte* to) {
    to += run * run_bytes;
    const auto bits = std::bit_cast<std::uint32_t>(F::scale_of(cells));
    const auto upper = std::uint16_t(bits >> 16);
    std::memcpy(to + column * sizeof upper, &upper, sizeof upper);
    to[2 * panel_columns + int(column)] = std::byte((bits >> 13 & 7) << 4 | std::uint32_t(F::zero_of(cells)));
  }
  using Group = NoGroup;
  using Run = ScaleAndOffset;
  static Run load(Group, const std::byte* from, std::int64_t run) {
    from += run * run_bytes;
    const Words upper = Words::load_halves(from), lower = Words::load_bytes(from + 2 * panel_columns);
    const Lanes scale = (upper << 16 | (lower & Words::of(0x70)) << 9).bits_of_floats();
    return {scale, (Lanes::zero() - (lower & Words::of(15)).floats()) * scale};
  }
};

template <class F>
using F8Panels = BlockPanels<F, F8Chunk, FloatScales<F, int(F8Chunk::unit)>>;
template <class F, int run>
using Int4Panels = BlockPanels<F, NibbleChunk<unsigned_values>, ZeroPoints<F, run>>;

}  // namespace detail

template <class Scale>
struct PanelFormat<F8Rows<Scale>> : detail::F8Panels<F8Rows<Scale>> {};
template <class Scale>
struct PanelFormat<F8Blocks<Scale>> : detail::F8Panels<F8Blocks<Scale>> {};
template <class Scale>
struct Products<F8Rows<Scale>> {
  using Format = F8Rows<float>;
};
template <class Scale>
struct Products<F8Blocks<Scale>> : Products<F8Rows<float>> {};

template <class Scale>
struct PanelFormat<I8Rows<Scale>>
    : detail::BlockPanels<I8Rows<Scale>, detail::SignedByteChunk, detail::FloatScales<I8Rows<Scale>, 1>> {};
template <class Scale>
struct Products<I8Rows<Scale>> {
  using Format = I8Rows<float>;
};
template <>
struct PanelFormat<LlmInt8> : detail::BlockPanels<LlmInt8, detail::SignedByteChunk, detail::LlmInt8Scales> {};

// Scales in float would round the product with a zero point: those become panels of floats.
template <>
struct PanelFormat<Awq> : detail::Int4Panels<Awq, 128> {};
template <>
struct PanelFormat<AwqBf16> : detail::Int4Panels<AwqBf16, 128> {};
template <class Scale>
  requires(sizeof(Scale) == 2)
struct PanelFormat<Int4By128<Scale>> : detail::Int4Panels<Int4By128<Scale>, 128> {};
template <class Scale>
  requires(sizeof(Scale) == 2)
struct PanelFormat<Int4By32<Scale>> : detail::Int4Panels<Int4By32<Scale>, 32> {};
template <>
struct Products<AwqBf16> : Products<Awq> {};
template <class Scale>
struct Products<Int4By128<Scale>> : Products<Awq> {};
template <>
struct Products<Int4By32<half>> : Products<Int4By32<bf16>> {};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
