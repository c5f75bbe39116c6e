// MXFP4 panels: sixteen columns in four-bit codes, and the micro-kernel that multiplies them as they are.
//
// A panel is a row of groups, each of 128 k or, at the end, of what is left:
//
//   scales   [4][16]           a byte each, for 32 k of one column; all four lines of it in every group
//   codes    [128 / 8][16][2]  two bytes hold four codes of one column: bits 4i ... 4i + 3 are k = 8j + 2i in the first
//                              and k = 8j + 2i + 1 in the second
//
//   tile[r][c] = sum over blocks b of 2^(scale[b][c] - 127) (sum over the 32 k of b of x[r][k] value[k][c])
//
// The inner sum runs like any other (see panels.hpp); the outer one is a fused multiply-add a block. A block that was
// widened gives the same bits, so many rows can share the work of widening.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/formats/mxfp4.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// k that a register of codes holds.
inline constexpr int codes_depth = 8;
inline constexpr int codes_bytes = codes_depth * panel_columns / 2;

/// The values of the codes as bf16, which they are exactly.
template <int Number>
struct alignas(64) ValueTable {
  std::uint16_t bits[Number];
  constexpr ValueTable() {
    for (int i = 0; i < Number; ++i) bits[i] = round_to<bf16>(e2m1_values[i % 16]).bits;
  }
};

// `Codes` is 8 k of 16 columns. It offers:
//   load(from)             codes_bytes, 64-byte aligned
//   values(i, even, odd)   what k = 2i and 2i + 1 stand for, in each column; i < 4
//   pairs(i)               both as vdpbf16ps takes them
// `scale_lanes(from)` is what 16 bytes of e8m0 below 255 stand for.

#if defined(IVL_AVX512)

struct Codes {
  const std::byte* from;

  static Codes load(const std::byte* from) { return {from}; }
  /// Look-ups heed only the low four bits of a lane, so nothing is masked. Loads from odd addresses save shifts, and
  /// odd codes of a shifted register are looked up where the upper half of their float belongs: 19 instructions for 128
  /// products, where shifts alone take 23.
  void values(int i, Lanes& even, Lanes& odd) const {
    const __m512 table = _mm512_loadu_ps(e2m1_values);
    const __m512i codes = load_at(i / 2);
    if (i % 2 == 0) {
      even.v = _mm512_permutexvar_ps(codes, table);
      odd.v = _mm512_permutexvar_ps(load_at(i / 2 + 2), table);
    } else {
      const __m512i shifted = _mm512_srli_epi32(codes, 4);
      even.v = _mm512_permutexvar_ps(shifted, table);
      odd.v = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, shifted, words()));
    }
  }
#if defined(IVL_AVX512_BF16)
  __m512bh pairs(int i) const {
    const __m512i codes = load_at(i / 2);
    return (__m512bh)_mm512_permutexvar_epi16(i % 2 == 0 ? codes : _mm512_srli_epi32(codes, 4), words());
  }
#endif

 private:
  __m512i load_at(int byte) const { return _mm512_loadu_si512(from + byte); }
  static __m512i words() {
    static constexpr ValueTable<32> values;
    return _mm512_load_si512(values.bits);
  }
};

inline Lanes scale_lanes(const std::byte* from) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  // 0 is 2^-127, a bit of the mantissa.
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(bytes, 23), _mm512_set1_epi32(0x00400000)))};
}

#elif defined(IVL_AVX2)

/// Eight bits of each value as bf16, from bit `shift` on.
template <int shift>
struct alignas(16) ValueBytes {
  std::uint8_t bytes[16];
  constexpr ValueBytes() {
    for (int i = 0; i < 16; ++i) bytes[i] = std::uint8_t(ValueTable<16>().bits[i] >> shift);
  }
};

struct Codes {
  __m256i low, high;

  static Codes load(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m256i*>(from);
    return {_mm256_load_si256(registers), _mm256_load_si256(registers + 1)};
  }
  void values(int i, Lanes& even, Lanes& odd) const {
    static constexpr ValueBytes<0> lower;
    static constexpr ValueBytes<8> upper;
    const auto eight = [i](__m256i codes, __m256& even_floats, __m256& odd_floats) {
      const auto load = [](const auto& bytes) {
        return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes.bytes)));
      };
      // A byte of each pair is a code and the other zero, whose value is zero.
      const __m256i index = _mm256_and_si256(_mm256_srli_epi32(codes, 4 * i), _mm256_set1_epi32(0x000f000f));
      const __m256i pairs = _mm256_or_si256(_mm256_shuffle_epi8(load(lower), index),
                                            _mm256_shuffle_epi8(load(upper), _mm256_slli_epi32(index, 8)));
      even_floats = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
      odd_floats = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(int(0xffff0000u))));
    };
    eight(low, even.low, odd.low);
    eight(high, even.high, odd.high);
  }
};

inline Lanes scale_lanes(const std::byte* from) {
  const auto eight = [](const std::byte* some) {
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(some)));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(bytes, 23), _mm256_set1_epi32(0x00400000)));
  };
  return {eight(from), eight(from + 8)};
}

#else

struct Codes {
  std::uint16_t words[2 * panel_columns];

  static Codes load(const std::byte* from) {
    Codes codes;
    std::memcpy(codes.words, from, sizeof codes.words);
    return codes;
  }
  void values(int i, Lanes& even, Lanes& odd) const {
    float both[2][lanes];
    for (int c = 0; c < lanes; ++c) {
      both[0][c] = e2m1_values[words[2 * c] >> 4 * i & 15];
      both[1][c] = e2m1_values[words[2 * c + 1] >> 4 * i & 15];
    }
    even = Lanes::load(both[0]);
    odd = Lanes::load(both[1]);
  }
};

inline Lanes scale_lanes(const std::byte* from) {
  float scales[lanes];
  for (int c = 0; c < lanes; ++c) scales[c] = e8m0_value(std::to_integer<std::uint8_t>(from[c]));
  return Lanes::load(scales);
}

#endif

/// Where the codes of block `block` of a panel begin, and its scales.
inline std::int64_t codes_at(std::int64_t block) {
  return block / mxfp4_group_blocks * mxfp4_group_bytes + line_bytes + block % mxfp4_group_blocks * mxfp4_block_codes;
}
inline std::int64_t scales_at(std::int64_t block) {
  return block / mxfp4_group_blocks * mxfp4_group_bytes + block % mxfp4_group_blocks * panel_columns;
}

/// One tile straight from the codes: Rows rows of x against Panels panels of `depth`. The arguments are multiply's.
template <int Rows, int Panels, class Factor>
void multiply_codes(const Factor* const* x, const std::byte* panels, std::int64_t panel_stride, std::int64_t depth,
                    float* tile, std::int64_t tile_stride) {
  constexpr int steps = codes_depth / 2;
  constexpr std::int64_t ahead_bytes = mxfp4_group_bytes;
  static_assert(ahead_bytes >= prefetch_bytes);
  const Factor* row[Rows];
  Lanes total[Rows][Panels];
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) {
    row[r] = x[r];
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) total[r][p] = Lanes::zero();
  }
  for (std::int64_t block = 0; block < depth / mxfp4_block; ++block) {
    if (block % mxfp4_group_blocks == 0) {
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) __builtin_prefetch(panels + p * panel_stride + scales_at(block) + ahead_bytes);
    }
    Lanes sum[Rows][Panels];
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) sum[r][p] = Lanes::zero();
    }
    const std::byte* from = panels + codes_at(block);
    for (std::int64_t k = block * mxfp4_block; k < (block + 1) * mxfp4_block; k += codes_depth, from += codes_bytes) {
      Codes codes[Panels];
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) {
        __builtin_prefetch(from + p * panel_stride + ahead_bytes);
        codes[p] = Codes::load(from + p * panel_stride);
      }
#pragma GCC unroll 4
      for (int i = 0; i < steps; ++i) {
        if constexpr (std::is_same_v<Factor, bf16>) {
#if defined(IVL_AVX512_BF16)
          __m512bh w[Panels];
#pragma GCC unroll 8
          for (int p = 0; p < Panels; ++p) w[p] = codes[p].pairs(i);
#pragma GCC unroll 32
          for (int r = 0; r < Rows; ++r) {
            const __m512bh xk = broadcast_pair(row[r] + k + 2 * i);
#pragma GCC unroll 8
            for (int p = 0; p < Panels; ++p) sum[r][p].v = _mm512_dpbf16_ps(sum[r][p].v, xk, w[p]);
          }
#endif
        } else {
          Lanes even[Panels], odd[Panels];
#pragma GCC unroll 8
          for (int p = 0; p < Panels; ++p) codes[p].values(i, even[p], odd[p]);
#pragma GCC unroll 32
          for (int r = 0; r < Rows; ++r) {
            const Lanes first = Lanes::of(row[r][k + 2 * i]), second = Lanes::of(row[r][k + 2 * i + 1]);
#pragma GCC unroll 8
            for (int p = 0; p < Panels; ++p) sum[r][p] = fma(second, odd[p], fma(first, even[p], sum[r][p]));
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) {
      const Lanes scale = scale_lanes(panels + p * panel_stride + scales_at(block));
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) total[r][p] = fma(sum[r][p], scale, total[r][p]);
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) total[r][p].store(tile + r * tile_stride + p * panel_columns);
  }
}

/// `number` <= Rows rows against any number of panels.
template <int Rows, class Factor>
void multiply_code_rows(int number, const Factor* const* x, const std::byte* panels, std::int64_t panel_stride,
                        std::int64_t number_of_panels, std::int64_t depth, float* tile, std::int64_t tile_stride) {
  if constexpr (Rows > 1) {
    if (number < Rows) {
      return multiply_code_rows<Rows - 1>(number, x, panels, panel_stride, number_of_panels, depth, tile, tile_stride);
    }
  }
  constexpr int together = tile_panels(Rows);
  std::int64_t p = 0;
  for (; p + together <= number_of_panels; p += together) {
    multiply_codes<Rows, together>(x, panels + p * panel_stride, panel_stride, depth, tile + p * panel_columns,
                                   tile_stride);
  }
  for (; p < number_of_panels; ++p) {
    multiply_codes<Rows, 1>(x, panels + p * panel_stride, panel_stride, depth, tile + p * panel_columns, tile_stride);
  }
}

/// A block of a panel, without its scales, becomes a panel of floats or bf16.
template <class Factor>
void widen_codes(const std::byte* codes, Factor* to) {
  for (int k = 0; k < mxfp4_block; k += codes_depth, codes += codes_bytes) {
    const Codes some = Codes::load(codes);
#pragma GCC unroll 4
    for (int i = 0; i < codes_depth / 2; ++i, to += 2 * panel_columns) {
      if constexpr (std::is_same_v<Factor, bf16>) {
#if defined(IVL_AVX512_BF16)
        const __m512bh pairs = some.pairs(i);
        std::memcpy(to, &pairs, sizeof pairs);
#endif
      } else {
        Lanes even, odd;
        some.values(i, even, odd);
        even.store(to);
        odd.store(to + panel_columns);
      }
    }
  }
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
