// Panels: the layout of every matrix that rows are multiplied with, and the micro-kernel that does it.
//
//   tile[r][c] = sum over k of x[r][k] w[c][k]        w [columns, depth], x [rows, depth]
//
// Sixteen columns of w are a panel, one after the other in memory and the same at every level of instructions:
//
//   bf16        [ceil(depth / 2)][16][2]    a pair of k for each column: 64 bytes, what vdpbf16ps takes
//   f32, f16    [depth][16]
//   mxfp4       see mxfp4_panels.hpp
//
// Columns that do not exist and the missing half of the last pair are zero. A sum runs over k in ascending order, a
// step of `vdpbf16ps` or one fused multiply-add each, whatever the shape of the tile: one row gives the same bits as
// many. The rows of a tile may lie anywhere: each has its own pointer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {

inline constexpr int panel_columns = 16;

/// How many k lie together: a row of x that meets such panels is read up to the next multiple, and must be zero there.
constexpr int depth_unit(Format format) {
  return format == Format::bf16 ? 2 : format == Format::mxfp4 ? mxfp4_block : 1;
}

/// MXFP4: four blocks of sixteen columns and the line of their scales.
inline constexpr int mxfp4_block_codes = mxfp4_block * panel_columns / 2;
inline constexpr int mxfp4_group_blocks = int(line_bytes) / panel_columns;
inline constexpr int mxfp4_group_bytes = mxfp4_group_blocks * mxfp4_block_codes + int(line_bytes);

constexpr std::int64_t panel_bytes(Format format, std::int64_t depth) {
  switch (format) {
    case Format::bf16:
      return ceil_div(depth, 2) * 2 * panel_columns * 2;
    case Format::f16:
      return depth * panel_columns * 2;
    case Format::f32:
      return depth * panel_columns * 4;
    case Format::mxfp4:
      return depth / mxfp4_block * mxfp4_block_codes +
             ceil_div(depth / mxfp4_block, mxfp4_group_blocks) * std::int64_t(line_bytes);
  }
  return 0;
}

/// How many panels a matrix has: gate and up begin a panel of their own each.
constexpr std::int64_t panels_of(std::int64_t out, Fusion fusion) {
  return fusion == Fusion::interleaved ? 2 * ceil_div(out / 2, panel_columns) : ceil_div(out, panel_columns);
}

inline namespace IVL_CPU_LEVEL {

/// What activations must become to meet panels of a format: bf16 pairs go straight into `vdpbf16ps` (which takes
/// subnormals as zero), as do the values of e2m1; all else is float.
template <Format format, class Scalar>
using Factor =
    std::conditional_t<compiled_level == CpuLevel::avx512_bf16 && (format == Format::bf16 || format == Format::mxfp4) &&
                           std::is_same_v<Scalar, bf16>,
                       bf16, float>;

/// The largest tile that fits the registers: rows x panels accumulators.
inline constexpr int tile_rows = compiled_level >= CpuLevel::avx2 ? 6 : 2;
/// The tallest tile, for rows whose weights come from memory: its rows meet fewer panels, but read them once. Eight
/// rows of 1024 x 6144 bf16, one Sapphire Rapids core that reads 16.7 GB/s: 13.5 GB/s, where two tiles of four rows
/// give 10.4.
inline constexpr int tall_tile_rows = compiled_level >= CpuLevel::avx512 ? 8 : tile_rows;
/// Panels that a tile of so many rows computes at once.
constexpr int tile_panels(int rows) {
  switch (compiled_level) {
    case CpuLevel::avx512_bf16:
    case CpuLevel::avx512:
      return rows <= tile_rows ? 4 : 2;
    case CpuLevel::avx2:
      return rows <= 1 ? 4 : rows <= 3 ? 2 : 1;
    case CpuLevel::portable:
      return rows <= 1 ? 2 : 1;
  }
  return 1;
}

#if defined(IVL_AVX512_BF16)
namespace detail {
inline __m512bh broadcast_pair(const bf16* pair) {
  std::int32_t bits;
  std::memcpy(&bits, pair, sizeof bits);
  __m512i all = _mm512_set1_epi32(bits);
#if defined(__clang__)
  asm("" : "+v"(all));  // clang 16 crashes when it folds the broadcast into vdpbf16ps
#endif
  return (__m512bh)all;
}
}  // namespace detail
#endif

/// Panels are asked for so many bytes before they are needed: the hardware's own prefetch stops at each page. One row
/// of 1024 x 4096 bf16 out of memory, one Sapphire Rapids core that reads 16.9 GB/s: 13.4 GB/s without, 14.7 at 256
/// bytes, 15.7 from 1024 to 4096, 15.2 at 8192.
inline constexpr std::int64_t prefetch_bytes = 1024;

/// Where a sum begins.
enum class Start : std::uint8_t {
  zero,
  tile,  ///< at what the tile holds: the sum goes on where it stopped
};

/// The first rows of x, `stride` scalars apart, as the micro-kernel wants them; `room` is at least `number`.
template <class Factor>
const Factor* const* row_pointers(const Factor* x, std::int64_t stride, std::int64_t number, const Factor** room) {
  for (std::int64_t r = 0; r < number; ++r) room[r] = x + r * stride;
  return room;
}

/// One tile, kept in registers: Rows rows of x, from their scalar `first` on, against Panels panels.
///   x       rows, readable and zero up to a whole depth_unit
///   panels  `panel_stride` bytes apart, 64-byte aligned
///   tile    [Rows][Panels * 16], rows `tile_stride` floats apart
///   scales  null, or [Panels * 16]: the tile grows by the products, each column's times its scale
template <Format format, int Rows, int Panels, class Factor>
void multiply(const Factor* const* x, std::int64_t first, const std::byte* panels, std::int64_t panel_stride,
              std::int64_t depth, float* tile, std::int64_t tile_stride, Start start = Start::zero,
              const float* scales = nullptr) {
  const Factor* row[Rows];
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) row[r] = x[r] + first;
  // Full tiles of floats meet blocks that lie in the first cache already.
  constexpr bool from_memory = format != Format::f32 || Rows != tile_rows;
  constexpr std::int64_t ahead_bytes = prefetch_bytes * 4 / Panels;  // the same time ahead
  Lanes total[Rows][Panels];
  const bool resume = start == Start::tile;
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) {
      total[r][p] = resume ? Lanes::load(tile + r * tile_stride + p * panel_columns) : Lanes::zero();
    }
  }
  if constexpr (std::is_same_v<Factor, bf16>) {
    static_assert(format == Format::bf16 && compiled_level == CpuLevel::avx512_bf16);
#if defined(IVL_AVX512_BF16)
    const std::int64_t pairs = ceil_div(depth, 2);
    for (std::int64_t k = 0; k < pairs; ++k) {
      __m512bh w[Panels];
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) {
        const std::byte* pair = panels + p * panel_stride + k * 64;
        w[p] = (__m512bh)_mm512_load_si512(pair);
        __builtin_prefetch(pair + ahead_bytes);
      }
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) {
        const __m512bh xk = detail::broadcast_pair(row[r] + 2 * k);
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) total[r][p].v = _mm512_dpbf16_ps(total[r][p].v, xk, w[p]);
      }
    }
#endif
  } else if constexpr (format == Format::bf16) {
    const std::int64_t pairs = ceil_div(depth, 2);
    for (std::int64_t k = 0; k < pairs; ++k) {
      Lanes even[Panels], odd[Panels];
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) {
        const auto* pair = reinterpret_cast<const bf16*>(panels + p * panel_stride + k * 64);
        __builtin_prefetch(pair + ahead_bytes / 2);
        even[p] = Lanes::load_even(pair);
        odd[p] = Lanes::load_odd(pair);
      }
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) {
        const Lanes first = Lanes::of(row[r][2 * k]), second = Lanes::of(row[r][2 * k + 1]);
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) total[r][p] = fma(second, odd[p], fma(first, even[p], total[r][p]));
      }
    }
  } else {
    using Stored = std::conditional_t<format == Format::f16, half, float>;
    for (std::int64_t k = 0; k < depth; ++k) {
      Lanes w[Panels];
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) {
        const Stored* scalars = reinterpret_cast<const Stored*>(panels + p * panel_stride) + k * panel_columns;
        if constexpr (from_memory) __builtin_prefetch(scalars + ahead_bytes / std::int64_t(sizeof(Stored)));
        w[p] = Lanes::load(scalars);
      }
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) {
        const Lanes xk = Lanes::of(row[r][k]);
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) total[r][p] = fma(xk, w[p], total[r][p]);
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) {
      float* to = tile + r * tile_stride + p * panel_columns;
      if (scales) total[r][p] = fma(total[r][p], Lanes::load(scales + p * panel_columns), Lanes::load(to));
      total[r][p].store(to);
    }
  }
}

/// `number` <= Rows rows against any number of panels.
template <Format format, int Rows = tile_rows, class Factor>
void multiply_rows(int number, const Factor* const* x, std::int64_t first, const std::byte* panels,
                   std::int64_t panel_stride, std::int64_t number_of_panels, std::int64_t depth, float* tile,
                   std::int64_t tile_stride, Start start = Start::zero, const float* scales = nullptr) {
  if constexpr (Rows > 1) {
    if (number < Rows) {
      return multiply_rows<format, Rows - 1>(number, x, first, panels, panel_stride, number_of_panels, depth, tile,
                                             tile_stride, start, scales);
    }
  }
  const auto some = [&]<int Panels>(Constant<Panels>, std::int64_t p) {
    multiply<format, Rows, Panels>(x, first, panels + p * panel_stride, panel_stride, depth, tile + p * panel_columns,
                                   tile_stride, start, scales ? scales + p * panel_columns : nullptr);
  };
  constexpr int together = tile_panels(Rows);
  std::int64_t p = 0;
  for (; p + together <= number_of_panels; p += together) some(Constant<together>{}, p);
  for (; p < number_of_panels; ++p) some(Constant<1>{}, p);
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
