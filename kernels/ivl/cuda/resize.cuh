// Pictures on the device: decoded RGB to the tiles of its grid, and tiles to the patches that the vision tower embeds.
//
//   resize_to_tiles  bicubic, equal to Pillow's and image/resize.hpp's in every byte: bytes times weights in units of
//                    2^-22, summed in 32 bits (in any order: no sum overflows), plus 2^21, shifted, clipped to a byte;
//                    first across, then down
//   unfold_pixels    patches = (level / 255 - mean) / deviation in float, two IEEE divisions as in torchvision (no
//                    -use_fast_math), rounded to Scalar; equal to image/normalise.hpp's, laid out by ops/move.hpp's
//                    unfold_patches
//
//   picture  [height, width, 3]                                  bytes, without padding
//   tiles    [rows columns of the grid, tile_px, tile_px, 3]     bytes, row by row of the grid, 4-byte aligned
//   patches  [tiles side^2, 3 patch_px^2]                        bf16 or float; side = tile_px / patch_px
//
// The weights are doubles at first, so the host makes them (image/resize.hpp's bicubic_axis) and uploads them as they
// are. Of a picture the host then uploads its 3 width height bytes and no tiles: a 448-pixel tile is 1.2 MB as bf16.
// An engine can call resize_to_tiles for the grid, once more for the thumbnail (a grid of one, its tile behind the
// others), and unfold_pixels into the tower's patches in the place of unfold_patches.
//
// Across: a thread makes one pixel of `rows_per_thread` rows, so that a weight is loaded once for them; down: 4 bytes
// of a row. Device memory moves the picture, twice the rows in between (3 height target_width bytes), the tiles; bytes
// of neighbouring taps come from the first cache. 3 (height target_width taps_across + tiles' pixels taps_down)
// products. unfold_pixels reads 3 bytes and writes 3 scalars a pixel.
//
// Registers at most 48 a thread, no spills. Goal: unfold_pixels 80 % of the copy bandwidth, a picture of 12 megapixels
// resized in less time than its upload. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cassert>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cuda/context.cuh"
#include "ivl/cuda/launch.cuh"
#include "ivl/cuda/pack.cuh"
#include "ivl/cuda/prim/convert.cuh"

namespace ivl::cuda {

/// Weights of one axis in device memory, as a BicubicAxis of image/resize.hpp holds them: target pixel t is the sum
/// over i of source[first[t] + i] * weights[begin[t] + i], i below begin[t + 1] - begin[t].
struct ResizeAxis {
  int source_px = 0, target_px = 0;
  const std::int32_t* first = nullptr;    ///< [target_px]
  const std::int32_t* begin = nullptr;    ///< [target_px + 1]
  const std::int32_t* weights = nullptr;  ///< [begin[target_px]]
};

/// image_mean and image_std of preprocessor_config.json, of levels scaled to [0, 1].
struct PixelScale {
  float mean[3], deviation[3];
};

// ---- policy -----------------------------------------------------------------------------------------
struct ResizePolicy {
  int threads_per_block = 128;
  int rows_per_thread = 4;  // of the pass across
  int patches_per_block = 8;
};

// ---- device code ------------------------------------------------------------------------------------
namespace detail {

inline constexpr int weight_bits = 22;
inline constexpr std::int32_t one_half = std::int32_t(1) << (weight_bits - 1);

__device__ inline std::uint8_t level_of(std::int32_t sum) { return std::uint8_t(min(max(sum >> weight_bits, 0), 255)); }

/// Blocks (part of the target's width, group of rows). between [height, row_bytes].
template <class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    resize_across_kernel(ResizeAxis axis, int height, const std::uint8_t* __restrict__ picture, std::uint8_t* between,
                         std::int64_t row_bytes) {
  constexpr int rows = Policy::value.rows_per_thread;
  const int x = int(blockIdx.x) * Policy::value.threads_per_block + int(threadIdx.x), top = int(blockIdx.y) * rows;
  if (x >= axis.target_px) return;
  const std::uint8_t* from[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r)  // beyond the last row: the last again, not written
    from[r] = picture + (std::int64_t(min(top + r, height - 1)) * axis.source_px + axis.first[x]) * 3;
  std::int32_t sums[rows][3];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int colour = 0; colour < 3; ++colour) sums[r][colour] = one_half;
  }
  const int begin = axis.begin[x], taps = axis.begin[x + 1] - begin;
  for (int i = 0; i < taps; ++i) {
    const std::int32_t weight = axis.weights[begin + i];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int colour = 0; colour < 3; ++colour) sums[r][colour] += weight * from[r][3 * i + colour];
    }
  }
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    if (top + r >= height) break;
#pragma unroll
    for (int colour = 0; colour < 3; ++colour)
      between[(top + r) * row_bytes + 3 * x + colour] = level_of(sums[r][colour]);
  }
}

/// Blocks (part of a tile's row, row of the target, column of the grid).
template <int Number, class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    resize_down_kernel(ResizeAxis axis, int tile_px, const std::uint8_t* __restrict__ between, std::int64_t row_bytes,
                       std::uint8_t* tiles) {
  using Bytes = Pack<std::uint8_t, Number>;
  const int at = (int(blockIdx.x) * Policy::value.threads_per_block + int(threadIdx.x)) * Number;
  const int y = int(blockIdx.y), column = int(blockIdx.z), columns = int(gridDim.z);
  if (at >= 3 * tile_px) return;
  std::int32_t sums[Number];
#pragma unroll
  for (int i = 0; i < Number; ++i) sums[i] = one_half;
  const int begin = axis.begin[y], taps = axis.begin[y + 1] - begin;
  const std::uint8_t* from = between + axis.first[y] * row_bytes + column * 3 * tile_px + at;
  for (int tap = 0; tap < taps; ++tap, from += row_bytes) {
    const std::int32_t weight = axis.weights[begin + tap];
    const Bytes some = *reinterpret_cast<const Bytes*>(from);
#pragma unroll
    for (int i = 0; i < Number; ++i) sums[i] += weight * some.values[i];
  }
  Bytes result;
#pragma unroll
  for (int i = 0; i < Number; ++i) result.values[i] = level_of(sums[i]);
  const std::int64_t tile = y / tile_px * columns + column;
  *reinterpret_cast<Bytes*>(tiles + (tile * tile_px + y % tile_px) * 3 * tile_px + at) = result;
}

/// A warp a patch; a thread `Number` neighbouring pixels of it at a time, in all three colours.
template <class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    unfold_pixels_kernel(int tile_px, int patch_px, PixelScale scale, const std::uint8_t* __restrict__ tiles,
                         std::int64_t number, Scalar* patches, std::int64_t patches_stride) {
  const std::int64_t patch = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (patch >= number) return;
  const int side = tile_px / patch_px, place = int(patch % (side * side));
  const std::uint8_t* from =
      tiles + (patch / (side * side) * tile_px * tile_px + (place / side * tile_px + place % side) * patch_px) * 3;
  const int packs_per_row = patch_px / Number;
  for (int pack = int(threadIdx.x); pack < patch_px * packs_per_row; pack += 32) {
    const int row = pack / packs_per_row, column = pack % packs_per_row * Number;
    const std::uint8_t* pixels = from + (row * tile_px + column) * 3;
#pragma unroll
    for (int colour = 0; colour < 3; ++colour) {
      Pack<Scalar, Number> result;
#pragma unroll
      for (int i = 0; i < Number; ++i) {
        const float level = float(pixels[3 * i + colour]) / 255.0f;
        result.values[i] = prim::narrow<Scalar>((level - scale.mean[colour]) / scale.deviation[colour]);
      }
      Scalar* to = patches + patch * patches_stride + (colour * patch_px + row) * patch_px + column;
      *reinterpret_cast<Pack<Scalar, Number>*>(to) = result;
    }
  }
}

}  // namespace detail

// ---- launchers --------------------------------------------------------------------------------------
/// The picture, across.source_px wide and down.source_px high, as tiles of tile_px, of which both targets are
/// multiples.
template <ResizePolicy P = ResizePolicy{}>
void resize_to_tiles(Context& ctx, const ResizeAxis& across, const ResizeAxis& down, int tile_px,
                     const std::uint8_t* picture, std::uint8_t* tiles) {
  assert(across.source_px > 0 && down.source_px > 0 && across.target_px > 0 && down.target_px > 0);
  assert(across.target_px % tile_px == 0 && down.target_px % tile_px == 0 && aligned(tiles, 4));
  const int height = down.source_px;
  const std::int64_t row_bytes = round_up(3 * std::int64_t(across.target_px), 16);
  auto* between = ctx.scratch<std::uint8_t>(height * row_bytes);
  launch(detail::resize_across_kernel<Constant<P>>,
         {.grid = {unsigned(ceil_div(across.target_px, P.threads_per_block)),
                   unsigned(ceil_div(height, P.rows_per_thread))},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         across, height, picture, between, row_bytes);
  const int number = tile_px % 4 == 0 ? 4 : 1;
  const auto kernel =
      number == 4 ? detail::resize_down_kernel<4, Constant<P>> : detail::resize_down_kernel<1, Constant<P>>;
  launch(kernel,
         {.grid = {unsigned(ceil_div(3 * tile_px / number, P.threads_per_block)), unsigned(down.target_px),
                   unsigned(across.target_px / tile_px)},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         down, tile_px, between, row_bytes, tiles);
}

/// tiles [count, tile_px, tile_px, 3].
template <ResizePolicy P = ResizePolicy{}, class Scalar>
void unfold_pixels(Context& ctx, int tile_px, int patch_px, const PixelScale& scale, const std::uint8_t* tiles,
                   std::int64_t count, Rows<Scalar> patches) {
  const std::int64_t side = tile_px / patch_px, number = count * side * side;
  assert(tile_px % patch_px == 0 && patches.count >= number && patches.width() == 3 * patch_px * patch_px);
  if (number == 0) return;
  const bool pairs = patch_px % 2 == 0 && in_packs<2>(patches);
  const auto kernel = pairs ? detail::unfold_pixels_kernel<Scalar, 2> : detail::unfold_pixels_kernel<Scalar, 1>;
  launch(kernel,
         {.grid = unsigned(ceil_div(number, P.patches_per_block)),
          .block = {32, unsigned(P.patches_per_block)},
          .stream = ctx.stream},
         tile_px, patch_px, scale, tiles, number, patches.data, patches.stride);
}

}  // namespace ivl::cuda
