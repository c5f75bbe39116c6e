// The micro-kernel of every product on the CPU: a few rows against a few panels (panel_format.hpp).
//
//   tile[r][c] = sum over k of x[r][k] w[c][k]        w [columns, depth], x [rows, depth]
//
// A sum runs over k in ascending order, a step of `vdpbf16ps` or one fused multiply-add each, whatever the shape of the
// tile: one row gives the same bits as many. The rows of a tile may lie anywhere: each has its own pointer.
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
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/scalar_panels.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

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

namespace detail {

/// sums += products of k in [begin, end), whole steps, whose weights share `block`.
template <class F, int Rows, int Panels, class Factor, class Block>
[[gnu::always_inline]] inline void add_products(const Factor* const (&row)[Rows], const std::byte* panels,
                                                std::int64_t panel_stride, std::int64_t begin, std::int64_t end,
                                                const Block (&block)[Panels], Lanes (&sums)[Rows][Panels]) {
  using Panel = PanelFormat<F>;
  using Chunk = typename Panel::Chunk;
  static_assert(std::is_same_v<Factor, float> || compiled_level == CpuLevel::avx512_bf16);
  // Full tiles of floats meet blocks that lie in the first cache already.
  constexpr bool from_memory = !std::is_same_v<F, F32> || Rows != tile_rows;
  constexpr std::int64_t chunk_bytes = Panel::chunk_at(Panel::step) - Panel::chunk_at(0);
  for (std::int64_t k = begin; k < end; k += Panel::step) {
    const std::byte* from = panels + Panel::chunk_at(k);
    Chunk chunks[Panels];
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) {
      if constexpr (from_memory) {
#pragma GCC unroll 8
        for (std::int64_t line = 0; line < chunk_bytes; line += std::int64_t(line_bytes))
          __builtin_prefetch(from + p * panel_stride + Panel::ahead(Panels) + line);
      }
      chunks[p] = Chunk::load(from + p * panel_stride);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Panel::step / Panel::words; ++i) {
      if constexpr (std::is_same_v<Factor, bf16>) {
#if defined(IVL_AVX512_BF16)
        __m512bh w[Panels];
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) w[p] = chunks[p].pairs(i);
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r) {
          const __m512bh xk = broadcast_pair(row[r] + k + 2 * i);
#pragma GCC unroll 8
          for (int p = 0; p < Panels; ++p) sums[r][p].v = _mm512_dpbf16_ps(sums[r][p].v, xk, w[p]);
        }
#endif
      } else {
        // One row: its weights are needed once, and panel after panel they take few registers (AVX2, bf16: 20 %).
        constexpr int together = Rows == 1 ? 1 : Panels;
#pragma GCC unroll 8
        for (int p = 0; p < Panels; p += together) {
          Lanes w[together][Panel::words];
#pragma GCC unroll 8
          for (int q = 0; q < together; ++q) chunks[p + q].weights(i, block[p + q], w[q]);
#pragma GCC unroll 32
          for (int r = 0; r < Rows; ++r) {
            Lanes xk[Panel::words];
#pragma GCC unroll 4
            for (int j = 0; j < Panel::words; ++j) xk[j] = Lanes::of(row[r][k + Panel::words * i + j]);
#pragma GCC unroll 8
            for (int q = 0; q < together; ++q) {
#pragma GCC unroll 4
              for (int j = 0; j < Panel::words; ++j) sums[r][p + q] = fma(xk[j], w[q][j], sums[r][p + q]);
            }
          }
        }
      }
    }
  }
}

}  // namespace detail

/// One tile, kept in registers: Rows rows of x, from their scalar `first` on, against Panels panels.
///   x       rows, readable and zero up to a whole unit
///   panels  `panel_stride` bytes apart, 64-byte aligned
///   tile    [Rows][Panels * 16], rows `tile_stride` floats apart
///   scales  null, or [Panels * 16]: the tile grows by the products, each column's times its scale
template <class F, int Rows, int Panels, class Factor>
void multiply(const Factor* const* x, std::int64_t first, const std::byte* panels, std::int64_t panel_stride,
              std::int64_t depth, float* tile, std::int64_t tile_stride, Start start = Start::zero,
              const float* scales = nullptr) {
  using Panel = PanelFormat<F>;
  using Block = typename Panel::Block;
  const Factor* row[Rows];
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) row[r] = x[r] + first;
  Lanes total[Rows][Panels];
  const bool resume = start == Start::tile;
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < Panels; ++p) {
      total[r][p] = resume ? Lanes::load(tile + r * tile_stride + p * panel_columns) : Lanes::zero();
    }
  }
  if constexpr (Panel::block == 0) {
    const Block none[Panels] = {};
    detail::add_products<F>(row, panels, panel_stride, 0, depth, none, total);
  } else {
    typename Panel::Group group[Panels];
    for (std::int64_t k = 0; k < depth; k += Panel::block) {
      if (k % Panel::group == 0) {
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) {
          group[p] = Panel::Group::load(panels + p * panel_stride, k);
          const std::byte* ahead = panels + p * panel_stride + Panel::bytes(k) + Panel::ahead(Panels);
          for (std::int64_t line = 0; line < Panel::chunk_at(0); line += std::int64_t(line_bytes))
            __builtin_prefetch(ahead + line);
        }
      }
      Block block[Panels];
      if constexpr (Panel::scaled_sums) {
        const detail::NoBlock none[Panels] = {};
        Lanes sum[Rows][Panels];
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
          for (int p = 0; p < Panels; ++p) sum[r][p] = Lanes::zero();
        }
        detail::add_products<F>(row, panels, panel_stride, k, k + Panel::block, none, sum);
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) {
          block[p] = Block::load(group[p], panels + p * panel_stride, k);
#pragma GCC unroll 32
          for (int r = 0; r < Rows; ++r) total[r][p] = fma(sum[r][p], block[p].scale, total[r][p]);
        }
      } else {
#pragma GCC unroll 8
        for (int p = 0; p < Panels; ++p) block[p] = Block::load(group[p], panels + p * panel_stride, k);
        detail::add_products<F>(row, panels, panel_stride, k, k + Panel::block, block, total);
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

/// `number` <= Rows rows against any number of panels. Inline: a call more for each 32 k of MXFP4 costs 4 %.
template <class F, int Rows = tile_rows, class Factor>
[[gnu::always_inline]] inline void multiply_rows(int number, const Factor* const* x, std::int64_t first,
                                                 const std::byte* panels, std::int64_t panel_stride,
                                                 std::int64_t number_of_panels, std::int64_t depth, float* tile,
                                                 std::int64_t tile_stride, Start start = Start::zero,
                                                 const float* scales = nullptr) {
  if constexpr (Rows > 1) {
    if (number < Rows) {
      return multiply_rows<F, Rows - 1>(number, x, first, panels, panel_stride, number_of_panels, depth, tile,
                                        tile_stride, start, scales);
    }
  }
  const auto some = [&]<int Panels>(Constant<Panels>, std::int64_t p) {
    multiply<F, Rows, Panels>(x, first, panels + p * panel_stride, panel_stride, depth, tile + p * panel_columns,
                              tile_stride, start, scales ? scales + p * panel_columns : nullptr);
  };
  constexpr int together = tile_panels(Rows);
  std::int64_t p = 0;
  for (; p + together <= number_of_panels; p += together) some(Constant<together>{}, p);
  for (; p < number_of_panels; ++p) some(Constant<1>{}, p);
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
