// MXFP4 panels (see panel_format.hpp): sixteen columns in four-bit codes, which are multiplied as they are.
//
// A panel is a row of groups, each of 128 k or, at the end, of what is left:
//
//   scales   [4][16]           a byte each, for 32 k of one column; all four lines of it in every group
//   codes    [128 / 8] lines   as nibbles.hpp has them
//
//   tile[r][c] = sum over blocks b of 2^(scale[b][c] - 127) (sum over the 32 k of b of x[r][k] value[k][c])
//
// The inner sum runs like any other (see panels.hpp); the outer one is a fused multiply-add a block. A block that was
// widened gives the same bits, so many rows can share the work of widening.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/formats/mxfp4.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// What 16 bytes of e8m0 below 255 stand for. 0 is 2^-127, a bit of the mantissa.
#if defined(IVL_AVX512)
inline Lanes scale_lanes(const std::byte* from) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(bytes, 23), _mm512_set1_epi32(0x00400000)))};
}
#elif defined(IVL_AVX2)
inline Lanes scale_lanes(const std::byte* from) {
  const auto eight = [](const std::byte* some) {
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(some)));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(bytes, 23), _mm256_set1_epi32(0x00400000)));
  };
  return {eight(from), eight(from + 8)};
}
#else
inline Lanes scale_lanes(const std::byte* from) {
  float scales[lanes];
  for (int c = 0; c < lanes; ++c) scales[c] = e8m0_value(std::to_integer<std::uint8_t>(from[c]));
  return Lanes::load(scales);
}
#endif

}  // namespace detail

template <>
struct PanelFormat<Mxfp4> {
  static constexpr int unit = mxfp4_block, group = 128, step = detail::codes_depth, words = 2, block = mxfp4_block;
  static constexpr std::size_t read_behind = detail::codes_read_behind;
  static constexpr bool scaled_sums = true;
  template <class Scalar>
  using Factor = detail::PairFactor<Scalar>;

  static constexpr int block_bytes = block / step * detail::codes_bytes, group_blocks = group / block;
  static constexpr std::int64_t group_bytes = group_blocks * block_bytes + line_bytes;

  static constexpr std::int64_t bytes(std::int64_t depth) {
    return depth / block * block_bytes + ceil_div(depth, group) * std::int64_t(line_bytes);
  }
  static constexpr std::int64_t scales_at(std::int64_t k) {
    return k / group * group_bytes + k % group / block * panel_columns;
  }
  static constexpr std::int64_t chunk_at(std::int64_t k) {
    return k / group * group_bytes + std::int64_t(line_bytes) + k % group / step * detail::codes_bytes;
  }
  static constexpr std::int64_t ahead(int) { return group_bytes; }
  static_assert(group_bytes >= prefetch_bytes);

  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    std::memset(panel + bytes(first), 0, std::size_t(bytes(first + number) - bytes(first)));
    for (std::size_t c = 0; c < panel_columns; ++c) {
      if (!columns.sources[c]) continue;
      const BlockCells cells = columns.sources[c]->cells<Mxfp4>(columns.rows[c], first);
      for (std::int64_t k = first; k < first + number; k += block) {
        const std::int64_t at = (k - first) / block;
        panel[scales_at(k) + std::int64_t(c)] = cells.at[1][at * cells.to_next_input[1]];
        std::uint32_t words[block / step];  // each byte holds an even and an odd k
        std::memcpy(words, cells.at[0] + at * cells.to_next_input[0], sizeof words);
        for (int i = 0; i < block / step; ++i) {
          const std::uint32_t word = detail::gather_nibbles(words[i]) | detail::gather_nibbles(words[i] >> 4) << 16;
          std::memcpy(panel + chunk_at(k + i * step) + c * sizeof word, &word, sizeof word);
        }
      }
    }
  }

  using Group = detail::NoGroup;
  struct Block {
    Lanes scale;
    static Block load(Group, const std::byte* panel, std::int64_t k) {
      return {detail::scale_lanes(panel + scales_at(k))};
    }
  };
  struct Chunk {
    detail::Codes<e2m1_values> codes;
    static Chunk load(const std::byte* from) { return {detail::Codes<e2m1_values>::load(from)}; }
    void weights(int i, const detail::NoBlock&, Lanes (&w)[2]) const { codes.look_up(i, w[0], w[1]); }
#if defined(IVL_AVX512_BF16)
    __m512bh pairs(int i) const { return codes.pairs(i); }
#endif
  };
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
