// Panels of scalars (see panel_format.hpp):
//
//   bf16        [ceil(depth / 2)][16][2]    a pair of k for each column: 64 bytes, what vdpbf16ps takes
//   f32, f16    [depth][16]
//
// Columns that do not exist and the missing half of the last pair are zero.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/formats/scalars.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// `unit` neighbours along a row lie together. A file's row may have gaps between its scalars.
template <class F, int unit>
void pack_scalars(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
  using Scalar = typename F::Scalar;
  struct Word {
    Scalar scalars[unit];
  };
  auto* const words = reinterpret_cast<Word*>(panel + PanelFormat<F>::bytes(first));
  BlockCells rows[panel_columns];
  bool gapless = true;
  for (std::size_t c = 0; c < panel_columns; ++c) {
    if (!columns.sources[c]) continue;
    rows[c] = columns.sources[c]->template cells<F>(columns.rows[c], first);
    gapless &= rows[c].to_next_input[0] == std::int64_t(sizeof(Scalar));
  }
  const std::int64_t whole = number / unit;
  // A block of k at a time: its lines of the panel stay in the first cache while the sixteen rows write their columns.
  constexpr std::int64_t block = 64;
  for (std::int64_t begin = 0; gapless && begin < whole; begin += block) {
    const std::int64_t end = std::min(whole, begin + block);
    for (std::size_t c = 0; c < panel_columns; ++c) {
      for (std::int64_t k = begin; k < end; ++k) {
        Word word{};
        if (rows[c].at[0]) std::memcpy(&word, rows[c].at[0] + k * std::int64_t(sizeof word), sizeof word);
        words[k * panel_columns + std::int64_t(c)] = word;
      }
    }
  }
  for (std::int64_t k = gapless ? whole : 0; k < ceil_div(number, unit); ++k) {
    for (std::size_t c = 0; c < panel_columns; ++c) {
      Word word{};
      for (std::int64_t i = k * unit; rows[c].at[0] && i < std::min(number, (k + 1) * unit); ++i)
        std::memcpy(&word.scalars[i % unit], rows[c].at[0] + i * rows[c].to_next_input[0], sizeof(Scalar));
      words[k * panel_columns + std::int64_t(c)] = word;
    }
  }
}

/// [depth][16] of f32 or f16.
template <class F>
struct SinglePanels {
  using Scalar = typename F::Scalar;
  static constexpr int unit = 1, group = 1, step = 1, words = 1, block = 0;
  static constexpr std::size_t read_behind = 0;
  static constexpr bool scaled_sums = false;
  template <class>
  using Factor = float;
  using Group = NoGroup;
  using Block = NoBlock;

  static constexpr std::int64_t bytes(std::int64_t depth) {
    return depth * panel_columns * std::int64_t(sizeof(Scalar));
  }
  static constexpr std::int64_t chunk_at(std::int64_t k) { return bytes(k); }
  static constexpr std::int64_t ahead(int panels) { return prefetch_bytes * 4 / panels; }
  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    pack_scalars<F, unit>(columns, first, number, panel);
  }

  struct Chunk {
    const std::byte* from;
    static Chunk load(const std::byte* from) { return {from}; }
    void weights(int, NoBlock, Lanes (&w)[1]) const { w[0] = Lanes::load(reinterpret_cast<const Scalar*>(from)); }
  };
};

}  // namespace detail

template <>
struct PanelFormat<F32> : detail::SinglePanels<F32> {};
template <>
struct PanelFormat<F16> : detail::SinglePanels<F16> {};

template <>
struct PanelFormat<Bf16> {
  static constexpr int unit = 2, group = 2, step = 2, words = 2, block = 0;
  static constexpr std::size_t read_behind = 0;
  static constexpr bool scaled_sums = false;
  template <class Scalar>
  using Factor = detail::PairFactor<Scalar>;
  using Group = detail::NoGroup;
  using Block = detail::NoBlock;

  static constexpr std::int64_t bytes(std::int64_t depth) { return ceil_div(depth, 2) * 2 * panel_columns * 2; }
  static constexpr std::int64_t chunk_at(std::int64_t k) { return bytes(k); }
  static constexpr std::int64_t ahead(int panels) { return prefetch_bytes * 4 / panels; }
  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    detail::pack_scalars<Bf16, unit>(columns, first, number, panel);
  }

  struct Chunk {
    const std::byte* from;
    static Chunk load(const std::byte* from) { return {from}; }
    void weights(int, detail::NoBlock, Lanes (&w)[2]) const {
      w[0] = Lanes::load_even(reinterpret_cast<const bf16*>(from));
      w[1] = Lanes::load_odd(reinterpret_cast<const bf16*>(from));
    }
#if defined(IVL_AVX512_BF16)
    __m512bh pairs(int) const { return (__m512bh)_mm512_load_si512(from); }
#endif
  };
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
