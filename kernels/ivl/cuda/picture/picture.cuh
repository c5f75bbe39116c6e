// Pictures on the device: a decoded picture to the normalised patches that the vision tower embeds (see
// ops/picture.hpp for the contract).
//
//   resize         bicubic, equal to Pillow's and image/resize.hpp's in every byte: bytes times weights in units of
//                  2^-22, summed in 32 bits (in any order: no sum overflows), plus 2^21, shifted, clipped to a byte;
//                  first across, then down; to the grid, and once more to the thumbnail, a grid of one
//   unfold_pixels  patches = (level / 255 - mean) / deviation in float, two IEEE divisions as in torchvision (no
//                  -use_fast_math), rounded to Scalar; equal to image/normalise.hpp's
//
//   picture  [height, width, 3]             bytes, without padding
//   tiles    [tiles, tile_px, tile_px, 3]   bytes; cells of the grid row by row, then the thumbnail
//   patches  [tiles side^2, 3 patch_px^2]   bf16 or float; side = tile_px / patch_px
//
// The weights are doubles at first, so the host makes them (image/resize.hpp's bicubic_axis) and uploads them as they
// are. Of a picture the host uploads its 3 width height bytes and no tiles: a 448-pixel tile is 1.2 MB as bf16. They go
// in bands of rows, as many as one slot of pinned memory holds: the device resizes a band across while the host fills
// the next slot.
//
// Working memory: the weights, one band (4 MiB, or one row), the rows in between (3 height target_width bytes, for the
// grid and for the thumbnail) and the tiles. With 12 tiles of 448 pixels that is 31 MiB for a picture of 12 megapixels,
// and less than 90 MiB for the largest that decode.hpp reads.
//
// Across: a thread makes one pixel of `rows_per_thread` rows, so that a weight is loaded once for them; down: 4 bytes
// of a row. Device memory moves the picture, twice the rows in between, the tiles; bytes of neighbouring taps come from
// the first cache. 3 (height target_width taps_across + tiles' pixels taps_down) products. unfold_pixels reads 3 bytes
// and writes 3 scalars a pixel.
//
// Registers at most 48 a thread, no spills. Goal: unfold_pixels 80 % of the copy bandwidth, a picture of 12 megapixels
// in less than twice the time of its upload. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cuda/picture/choose.hpp"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/image/resize.hpp"
#include "ivl/ops/picture.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::picture {

/// Weights of one axis in device memory: first, begin and weights of a BicubicAxis of image/resize.hpp, one behind the
/// other. Target pixel t is the sum over i of source[first(t) + i] * weights(t)[i], i below taps(t).
struct ResizeAxis {
  int source_px = 0, target_px = 0;
  const std::int32_t* table = nullptr;  // [target_px], [target_px + 1], [begin[target_px]]

  __device__ std::int32_t first(int t) const { return table[t]; }
  __device__ std::int32_t taps(int t) const { return begin()[t + 1] - begin()[t]; }
  __device__ const std::int32_t* weights(int t) const { return begin() + target_px + 1 + begin()[t]; }

 private:
  __device__ const std::int32_t* begin() const { return table + target_px; }
};

inline constexpr int weight_bits = BicubicAxis::fraction_bits;
inline constexpr std::int32_t one_half = std::int32_t(1) << (weight_bits - 1);

__device__ inline std::uint8_t level_of(std::int32_t sum) { return std::uint8_t(min(max(sum >> weight_bits, 0), 255)); }

/// Blocks (part of the target's width, group of rows). between [rows of the picture, row_bytes].
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
    from[r] = picture + (std::int64_t(min(top + r, height - 1)) * axis.source_px + axis.first(x)) * 3;
  std::int32_t sums[rows][3];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int colour = 0; colour < 3; ++colour) sums[r][colour] = one_half;
  }
  const std::int32_t* weights = axis.weights(x);
  const int taps = axis.taps(x);
  for (int i = 0; i < taps; ++i) {
    const std::int32_t weight = weights[i];
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

/// Blocks (row of the target, part of a tile's row, column of the grid).
template <int Number, class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    resize_down_kernel(ResizeAxis axis, int tile_px, const std::uint8_t* __restrict__ between, std::int64_t row_bytes,
                       std::uint8_t* tiles) {
  using Bytes = Pack<std::uint8_t, Number>;
  const int at = (int(blockIdx.y) * Policy::value.threads_per_block + int(threadIdx.x)) * Number;
  const int y = int(blockIdx.x), column = int(blockIdx.z), columns = int(gridDim.z);
  if (at >= 3 * tile_px) return;
  std::int32_t sums[Number];
#pragma unroll
  for (int i = 0; i < Number; ++i) sums[i] = one_half;
  const std::int32_t* weights = axis.weights(y);
  const int taps = axis.taps(y);
  const std::uint8_t* from = between + axis.first(y) * row_bytes + column * 3 * tile_px + at;
  for (int tap = 0; tap < taps; ++tap, from += row_bytes) {
    const std::int32_t weight = weights[tap];
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
    unfold_pixels_kernel(int tile_px, int patch_px, PixelStatistics statistics, const std::uint8_t* __restrict__ tiles,
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
        result.values[i] = prim::narrow<Scalar>((level - statistics.mean[colour]) / statistics.deviation[colour]);
      }
      Scalar* to = patches + patch * patches_stride + (colour * patch_px + row) * patch_px + column;
      *reinterpret_cast<Pack<Scalar, Number>*>(to) = result;
    }
  }
}

/// `rows` rows of the picture to as many of `between`.
template <PicturePolicy P>
void resize_across(Context& ctx, const ResizeAxis& axis, int rows, const std::uint8_t* picture, std::uint8_t* between,
                   std::int64_t row_bytes) {
  launch(
      resize_across_kernel<Constant<P>>,
      {.grid = {unsigned(ceil_div(axis.target_px, P.threads_per_block)), unsigned(ceil_div(rows, P.rows_per_thread))},
       .block = unsigned(P.threads_per_block),
       .stream = ctx.stream},
      axis, rows, picture, between, row_bytes);
}

/// `number` bytes a thread, 4 or 1.
template <PicturePolicy P>
void resize_down(Context& ctx, const ResizeAxis& axis, int number, int tile_px, int columns,
                 const std::uint8_t* between, std::int64_t row_bytes, std::uint8_t* tiles) {
  const auto kernel = number == 4 ? resize_down_kernel<4, Constant<P>> : resize_down_kernel<1, Constant<P>>;
  launch(kernel,
         {.grid = {unsigned(axis.target_px), unsigned(ceil_div(3 * tile_px / number, P.threads_per_block)),
                   unsigned(columns)},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         axis, tile_px, between, row_bytes, tiles);
}

/// Appends the weights of an axis as a ResizeAxis reads them; returns where they begin.
inline std::size_t append_axis(int source_px, int target_px, std::vector<std::int32_t>& tables) {
  const BicubicAxis axis = bicubic_axis(source_px, target_px);
  const std::size_t begin = tables.size();
  tables.insert(tables.end(), axis.first.begin(), axis.first.end());
  tables.insert(tables.end(), axis.begin.begin(), axis.begin.end());
  tables.insert(tables.end(), axis.weights.begin(), axis.weights.end());
  return begin;
}

/// What a picture is resized to: its grid, or the thumbnail, a grid of one.
struct ResizeTarget {
  TileGrid grid;
  std::size_t across_begin, down_begin;  // in the tables
  ResizeAxis across, down;
  std::int64_t row_bytes;  // of what lies between the passes
  std::uint8_t* between = nullptr;

  ResizeTarget(const Image& picture, TileGrid grid, int tile_px, std::vector<std::int32_t>& tables)
      : grid(grid),
        across_begin(append_axis(picture.width, grid.columns * tile_px, tables)),
        down_begin(append_axis(picture.height, grid.rows * tile_px, tables)),
        across{picture.width, grid.columns * tile_px},
        down{picture.height, grid.rows * tile_px},
        row_bytes(round_up(std::int64_t(3) * across.target_px, 16)) {}
};

}  // namespace detail::picture

// ---- launchers --------------------------------------------------------------------------------------
/// tiles [count, tile_px, tile_px, 3].
template <PicturePolicy P = PicturePolicy{}, class Scalar>
void unfold_pixels(Context& ctx, int tile_px, int patch_px, const PixelStatistics& statistics,
                   const std::uint8_t* tiles, std::int64_t count, Rows<Scalar> patches) {
  expect(patch_px > 0 && tile_px % patch_px == 0, "unfold_pixels on CUDA: expected tiles of whole patches, found ",
         tile_px, " and ", patch_px, " pixels");
  const std::int64_t side = tile_px / patch_px, number = count * side * side;
  expect(patches.count >= number && patches.width() == 3 * patch_px * patch_px,
         "unfold_pixels on CUDA: expected patches [", number, ", ", 3 * patch_px * patch_px, "], found [",
         patches.count, ", ", patches.width(), "]");
  if (number == 0) return;
  const bool pairs = patch_px % 2 == 0 && in_packs<2>(patches);
  const auto kernel =
      pairs ? detail::picture::unfold_pixels_kernel<Scalar, 2> : detail::picture::unfold_pixels_kernel<Scalar, 1>;
  launch(kernel,
         {.grid = unsigned(ceil_div(number, P.patches_per_block)),
          .block = {32, unsigned(P.patches_per_block)},
          .stream = ctx.stream},
         tile_px, patch_px, statistics, tiles, number, patches.data, patches.stride);
}

template <PicturePolicy P = PicturePolicy{}, class Scalar>
void unfold_picture(Context& ctx, const Picture& from, const PixelStatistics& statistics, int patch_px,
                    Rows<Scalar> patches) {
  check_statistics(statistics);
  const std::shared_ptr<const Image> image = from.image();
  const Image& picture = *image;
  const TileGrid grid = from.grid();
  const int tile_px = from.rules().tile_px, count = from.tiles();
  const std::int64_t tile_bytes = std::int64_t(3) * tile_px * tile_px, row_bytes = std::int64_t(3) * picture.width;
  const PictureChoice choice = choose_picture(picture.width, picture.height, tile_px, P);
  const int band_rows = choice.band_rows;

  std::vector<std::int32_t> tables;
  std::vector<detail::picture::ResizeTarget> targets;
  targets.emplace_back(picture, grid, tile_px, tables);
  if (grid.has_thumbnail(from.rules())) targets.emplace_back(picture, TileGrid{}, tile_px, tables);

  std::int32_t* weights = nullptr;
  std::uint8_t *band = nullptr, *tiles = nullptr;
  const auto lay_out = [&](Carver& carver) {
    weights = carver.take<std::int32_t>(std::int64_t(tables.size()));
    band = carver.take<std::uint8_t>(band_rows * row_bytes);
    tiles = carver.take<std::uint8_t>(count * tile_bytes);
    for (auto& target : targets) target.between = carver.take<std::uint8_t>(picture.height * target.row_bytes);
  };
  Carver measure;
  lay_out(measure);
  Carver place(ctx.scratch<std::byte>(std::int64_t(measure.used())));
  lay_out(place);

  upload(ctx, weights, tables.data(), tables.size() * sizeof(std::int32_t));
  for (auto& target : targets) {
    target.across.table = weights + target.across_begin;
    target.down.table = weights + target.down_begin;
  }
  for (int top = 0; top < picture.height; top += band_rows) {
    const int rows = std::min(band_rows, picture.height - top);
    upload(ctx, band, picture.row(top), std::size_t(rows * row_bytes));
    for (const auto& target : targets) {
      detail::picture::resize_across<P>(ctx, target.across, rows, band, target.between + top * target.row_bytes,
                                        target.row_bytes);
    }
  }
  std::uint8_t* next = tiles;
  for (const auto& target : targets) {
    detail::picture::resize_down<P>(ctx, target.down, choice.down_bytes, tile_px, target.grid.columns, target.between,
                                    target.row_bytes, next);
    next += target.grid.cells() * tile_bytes;
  }
  unfold_pixels<P>(ctx, tile_px, patch_px, statistics, tiles, count, patches);
}

static_assert(PicturePolicy{}.band_bytes == std::int64_t(detail::runtime::Staging::slot_bytes),
              "PicturePolicy: a band should be a slot of pinned memory");
static_assert(PictureOp<Context, bf16> && PictureOp<Context, float>);

}  // namespace ivl::IVL_CUDA
