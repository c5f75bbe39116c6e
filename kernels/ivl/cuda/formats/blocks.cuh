// The formats of ggml whose codes number rows of a grid, and those of two and three bits, on CUDA: rows of blocks as
// files hold them, and behind them the format's grid, packed as gguf_grids.hpp has it. An element comes out of its
// block exactly, as a whole number that an int8 holds, a scale and a minimum:
//
//   W[k] = code scale - minimum      scale and minimum are the same for sixteen neighbours
//
// Products unpack some rows at a time to such codes and scales (linear/unpack.cuh), and multiply these.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/formats/stored.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::IVL_CUDA::detail {

namespace blocks {

struct Element {
  int code;
  float scale, minimum = 0;
};

/// The bytes of one block, which may lie at any address.
struct Bytes {
  const std::uint8_t* at;

  __device__ int operator[](int i) const { return at[i]; }
  __device__ std::uint32_t word(int i) const {
    return std::uint32_t(at[i]) | std::uint32_t(at[i + 1]) << 8 | std::uint32_t(at[i + 2]) << 16 |
           std::uint32_t(at[i + 3]) << 24;
  }
  __device__ float scalar(int i) const { return prim::widen(half{std::uint16_t(at[i] | at[i + 1] << 8)}); }
  /// Four bits, low ones first.
  __device__ int nibble(int i, int number) const { return at[i + number / 2] >> 4 * (number % 2) & 15; }
};

/// Value `number` of a row of a grid, as the number of its letter.
template <int letter_bits>
__device__ inline int letter(const std::uint16_t* grid, int row, int number) {
  return grid[row] >> letter_bits * number & ((1 << letter_bits) - 1);
}
/// 8, 25 or 43.
__device__ inline int iq2_value(const std::uint16_t* grid, int row, int number) {
  const int at = letter<2>(grid, row, number);
  return 8 + 17 * at + at / 2;
}
/// Bit `number` of signs of which seven are stored, an even number of eight being set.
__device__ inline int signed_by_seven(std::uint32_t signs, int number, int value) {
  const std::uint32_t all = (signs & 127) | (__popc(signs & 127) & 1u) << 7;
  return all >> number & 1 ? -value : value;
}

/// Element k of a block; one overload a format.
__device__ inline Element element(Q2K, Bytes b, int k, const std::uint16_t*) {
  const int steps = b[k / 16];
  return {b[16 + k / 128 * 32 + k % 32] >> k % 128 / 32 * 2 & 3, b.scalar(80) * float(steps & 15),
          b.scalar(82) * float(steps >> 4)};
}
__device__ inline Element element(Q3K, Bytes b, int k, const std::uint16_t*) {
  const int run = k / 16, low = b[32 + k / 128 * 32 + k % 32] >> k % 128 / 32 * 2 & 3;
  const int low_step = run < 8 ? b[96 + run] & 15 : b[96 + run - 8] >> 4, high_step = b[104 + run % 4] >> run / 4 * 2;
  return {low - (b[k % 32] >> k / 32 & 1 ? 0 : 4), b.scalar(108) * float((low_step | (high_step & 3) << 4) - 32)};
}
__device__ inline Element element(Iq2Xxs, Bytes b, int k, const std::uint16_t* grid) {
  const int run = 2 + k / 32 * 8, row = k % 32 / 8;
  const std::uint32_t bits = b.word(run + 4);
  return {signed_by_seven(bits >> 7 * row, k % 8, iq2_value(grid, b[run + row], k % 8)),
          b.scalar(0) * (0.5f + float(bits >> 28)) * 0.25f};
}
__device__ inline Element element(Iq2Xs, Bytes b, int k, const std::uint16_t* grid) {
  const int row = k / 8, bits = b[2 + 2 * row] | b[3 + 2 * row] << 8;
  return {signed_by_seven(std::uint32_t(bits >> 9), k % 8, iq2_value(grid, bits & 511, k % 8)),
          b.scalar(0) * (0.5f + float(b.nibble(66, row / 2))) * 0.25f};
}
__device__ inline Element element(Iq2S, Bytes b, int k, const std::uint16_t* grid) {
  const int row = k / 8, value = iq2_value(grid, b[2 + row] | (b[66 + row / 4] >> row % 4 * 2 & 3) << 8, k % 8);
  return {b[34 + row] >> k % 8 & 1 ? -value : value, b.scalar(0) * (0.5f + float(b.nibble(74, row / 2))) * 0.25f};
}
__device__ inline Element element(Iq3Xxs, Bytes b, int k, const std::uint16_t* grid) {
  const std::uint32_t bits = b.word(66 + k / 32 * 4);
  const int at = letter<4>(grid, b[2 + k / 4], k % 4), value = 4 + 8 * at + (at == 7 ? 2 : 0);
  return {signed_by_seven(bits >> k % 32 / 8 * 7, k % 8, value), b.scalar(0) * (0.5f + float(bits >> 28)) * 0.5f};
}
__device__ inline Element element(Iq3S, Bytes b, int k, const std::uint16_t* grid) {
  const int row = k / 4, number = b[2 + row] | (b[66 + row / 8] >> row % 8 & 1) << 8;
  const int value = 1 + 2 * letter<4>(grid, number, k % 4);
  return {b[74 + k / 8] >> k % 8 & 1 ? -value : value, b.scalar(0) * float(1 + 2 * b.nibble(106, k / 32))};
}
/// Eighths: a value of -1, 0 or 1, and an eighth up or down.
__device__ inline int iq1_code(const std::uint16_t* grid, int row, int number, bool down) {
  return 8 * (letter<2>(grid, row, number) - 1) + (down ? -1 : 1);
}
__device__ inline Element element(Iq1S, Bytes b, int k, const std::uint16_t* grid) {
  const int row = k / 8, high = b[34 + k / 32 * 2] | b[35 + k / 32 * 2] << 8;
  return {iq1_code(grid, b[2 + row] | (high >> row % 4 * 3 & 7) << 8, k % 8, (high & 0x8000) != 0),
          b.scalar(0) * float(2 * (high >> 12 & 7) + 1) * 0.125f};
}
__device__ inline Element element(Iq1M, Bytes b, int k, const std::uint16_t* grid) {
  const int row = k / 8, high = b.nibble(32, row), steps = b[48 + k / 64 * 2] | b[49 + k / 64 * 2] << 8;
  const int d = b[49] >> 4 | (b[51] >> 4) << 4 | (b[53] >> 4) << 8 | (b[55] >> 4) << 12;
  return {iq1_code(grid, b[row] | (high & 7) << 8, k % 8, (high & 8) != 0),
          prim::widen(half{std::uint16_t(d)}) * float(2 * (steps >> k % 64 / 16 * 3 & 7) + 1) * 0.125f};
}

/// Packed, and empty where a format has none.
template <class F>
inline constexpr std::span<const std::uint16_t> grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq1S> = ivl::detail::packed_iq1_s_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq1M> = ivl::detail::packed_iq1_s_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq2Xxs> = ivl::detail::packed_iq2_xxs_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq2Xs> = ivl::detail::packed_iq2_xs_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq2S> = ivl::detail::packed_iq2_s_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq3Xxs> = ivl::detail::packed_iq3_xxs_grid;
template <>
inline constexpr std::span<const std::uint16_t> grid<Iq3S> = ivl::detail::packed_iq3_s_grid;

}  // namespace blocks

template <class F>
concept IsBlocks = requires(blocks::Bytes bytes) { blocks::element(F{}, bytes, 0, nullptr); };

template <IsBlocks F>
struct Stored<F> {
  static constexpr int planes = 1;
  static constexpr int block_bytes = F::planes[0].bytes;
  static constexpr std::int64_t row_bytes(int, std::int64_t in) { return in / F::block * block_bytes; }
  static void fill_row(int, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    const BlockCells cells = part.cells<F>(row, 0);
    const std::byte* from = cells.at[0];
    for (std::int64_t k = 0; k < part.in; k += F::block, from += cells.to_next_input[0], to += block_bytes)
      std::memcpy(to, from, std::size_t(block_bytes));
  }
  /// Where the grid begins: rows of blocks are whole halves.
  static constexpr std::span<const std::uint16_t> tail() { return blocks::grid<F>; }

  static __device__ blocks::Element element(const std::byte* data, int out, int in, std::int64_t row, int k) {
    const std::int64_t bytes = in / F::block * std::int64_t(block_bytes);
    const auto* const grid = reinterpret_cast<const std::uint16_t*>(data + out * bytes);
    const auto* const block = reinterpret_cast<const std::uint8_t*>(data + row * bytes) + k / F::block * block_bytes;
    return blocks::element(F{}, blocks::Bytes{block}, k % F::block, grid);
  }
};

/// One element as its code, scale and minimum. The format is the same for all threads.
__device__ inline blocks::Element block_element(Format format, const std::byte* data, int out, int in, std::int64_t row,
                                                int k) {
  switch (format) {
    case Format::q2_k:
      return Stored<Q2K>::element(data, out, in, row, k);
    case Format::q3_k:
      return Stored<Q3K>::element(data, out, in, row, k);
    case Format::iq1_s:
      return Stored<Iq1S>::element(data, out, in, row, k);
    case Format::iq1_m:
      return Stored<Iq1M>::element(data, out, in, row, k);
    case Format::iq2_xxs:
      return Stored<Iq2Xxs>::element(data, out, in, row, k);
    case Format::iq2_xs:
      return Stored<Iq2Xs>::element(data, out, in, row, k);
    case Format::iq2_s:
      return Stored<Iq2S>::element(data, out, in, row, k);
    case Format::iq3_xxs:
      return Stored<Iq3Xxs>::element(data, out, in, row, k);
    case Format::iq3_s:
      return Stored<Iq3S>::element(data, out, in, row, k);
    default:
      return {};
  }
}

}  // namespace ivl::IVL_CUDA::detail
