// Moving rows (see ops/move.hpp for the shapes):
//
//   embed           y[r] = table[s] for s = sources[r] >= 0, else images[-1 - s]
//   gather_rows     y[r] = x[indices[r]]
//   unfold_patches  tiles in (channel, row, column) order into rows of patches
//   add_positions   class token first, then patch + position
//   pixel_shuffle   blocks of scale x scale patches into one row
//
// Rows are bf16 or float; embed's table has any format.
//
// A thread moves 16 bytes where addresses and widths are multiples of that, else one scalar; a block at most 256 such
// pieces of one row. A patch's rows are patch_px scalars, so unfold_patches moves 4 bytes at a time; a warp writes one
// patch. Nothing is read or written twice: device memory moves the bytes of y, and as many of the sources (and the
// floats of `positions`, which stay in the second cache from tile to tile).
//
// Registers at most 40 a thread, no spills. Goal: 85 % of the copy bandwidth; not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/formats.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/rows/choose.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/move.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::move {

/// The thread's first scalar in the row that its block moves: blockIdx.x is the row, blockIdx.y the part of it.
template <int Number>
__device__ inline int first_column() {
  return (int(blockIdx.y) * int(blockDim.x) + int(threadIdx.x)) * Number;
}

template <class Stored, class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    embed_kernel(const std::int32_t* __restrict__ sources, const Stored* __restrict__ table,
                 const Scalar* __restrict__ images, std::int64_t images_stride, Scalar* y, std::int64_t y_stride,
                 int width) {
  const int column = first_column<Number>();
  if (column >= width) return;
  const std::int64_t source = sources[blockIdx.x];
  Pack<Scalar, Number> result;
  if (source >= 0) {
    const auto stored = *reinterpret_cast<const Pack<Stored, Number>*>(table + source * width + column);
    if constexpr (std::is_same_v<Stored, Scalar>) {
      result = stored;
    } else {
#pragma unroll
      for (int i = 0; i < Number; ++i) result.values[i] = prim::narrow<Scalar>(prim::widen(stored.values[i]));
    }
  } else {
    result = *reinterpret_cast<const Pack<Scalar, Number>*>(images + (-1 - source) * images_stride + column);
  }
  *reinterpret_cast<Pack<Scalar, Number>*>(y + blockIdx.x * y_stride + column) = result;
}

/// A scalar a thread, of tables in other formats.
template <class Scalar>
__global__ void __launch_bounds__(1024)
    embed_any_kernel(const std::int32_t* __restrict__ sources, AnyMatrix table, const Scalar* __restrict__ images,
                     std::int64_t images_stride, Scalar* y, std::int64_t y_stride, int width) {
  const int column = first_column<1>();
  if (column >= width) return;
  const std::int64_t source = sources[blockIdx.x];
  Scalar& result = y[blockIdx.x * y_stride + column];
  result =
      source >= 0 ? prim::narrow<Scalar>(table.at(source, column)) : images[(-1 - source) * images_stride + column];
}

template <class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    gather_kernel(const std::int32_t* __restrict__ indices, const Scalar* __restrict__ x, std::int64_t x_stride,
                  Scalar* y, std::int64_t y_stride, int width) {
  using Values = Pack<Scalar, Number>;
  const int column = first_column<Number>();
  if (column >= width) return;
  *reinterpret_cast<Values*>(y + blockIdx.x * y_stride + column) =
      *reinterpret_cast<const Values*>(x + indices[blockIdx.x] * x_stride + column);
}

/// blockIdx.x counts tokens of y, and in a token its blocks: one patch each.
template <class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    pixel_shuffle_kernel(int side, int scale, ShuffleOrder order, const Scalar* __restrict__ x, std::int64_t x_stride,
                         Scalar* y, std::int64_t y_stride, int width) {
  using Values = Pack<Scalar, Number>;
  const int column = first_column<Number>();
  if (column >= width) return;
  const int grid = side / scale, block = int(blockIdx.x) % (scale * scale), token = int(blockIdx.x) / (scale * scale);
  const int major = token / grid % grid, minor = token % grid;
  const int row = (order == ShuffleOrder::v2 ? major : minor) * scale + block / scale;
  const int patch = row * side + (order == ShuffleOrder::v2 ? minor : major) * scale + block % scale;
  const std::int64_t from = token / (grid * grid) * (1 + std::int64_t(side) * side) + 1 + patch;
  *reinterpret_cast<Values*>(y + token * y_stride + block * width + column) =
      *reinterpret_cast<const Values*>(x + from * x_stride + column);
}

template <class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    add_positions_kernel(int tokens, const Scalar* __restrict__ patches, std::int64_t patches_stride,
                         const float* __restrict__ class_token, const float* __restrict__ positions, Scalar* x,
                         std::int64_t x_stride, int width) {
  const int column = first_column<Number>();
  if (column >= width) return;
  const int tile = int(blockIdx.x) / tokens, token = int(blockIdx.x) % tokens;
  // Loads of at most 16 bytes: class token and positions are floats.
  using Floats = Pack < float, Number<4 ? Number : 4>;
  constexpr int floats = int(sizeof(Floats) / sizeof(float));
  float sum[Number];
  if (token == 0) {
#pragma unroll
    for (int i = 0; i < Number; i += floats) {
      const auto some = *reinterpret_cast<const Floats*>(class_token + column + i);
#pragma unroll
      for (int k = 0; k < floats; ++k) sum[i + k] = some.values[k];
    }
  } else {
    const std::int64_t patch = std::int64_t(tile) * (tokens - 1) + token - 1;
    const auto some = *reinterpret_cast<const Pack<Scalar, Number>*>(patches + patch * patches_stride + column);
#pragma unroll
    for (int i = 0; i < Number; ++i) sum[i] = prim::widen(some.values[i]);
  }
  Pack<Scalar, Number> result;
#pragma unroll
  for (int i = 0; i < Number; i += floats) {
    const auto some = *reinterpret_cast<const Floats*>(positions + std::int64_t(token) * width + column + i);
#pragma unroll
    for (int k = 0; k < floats; ++k) result.values[i + k] = prim::narrow<Scalar>(sum[i + k] + some.values[k]);
  }
  *reinterpret_cast<Pack<Scalar, Number>*>(x + blockIdx.x * x_stride + column) = result;
}

/// A warp a patch; a run is one of its rows in one channel.
template <class Scalar, int Number>
__global__ void __launch_bounds__(1024)
    unfold_kernel(int tile_px, int patch_px, const Scalar* __restrict__ pixels, std::int64_t pixels_stride,
                  std::int64_t number, Scalar* patches, std::int64_t patches_stride) {
  using Values = Pack<Scalar, Number>;
  const std::int64_t patch = std::int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (patch >= number) return;
  const int side = tile_px / patch_px, place = int(patch % (side * side));
  const Scalar* from =
      pixels + patch / (side * side) * pixels_stride + (place / side * tile_px + place % side) * std::int64_t(patch_px);
  Scalar* to = patches + patch * patches_stride;
  const int packs_per_run = patch_px / Number;
  for (int pack = int(threadIdx.x); pack < 3 * patch_px * packs_per_run; pack += 32) {
    const int run = pack / packs_per_run, channel = run / patch_px, row = run % patch_px;
    const int column = pack % packs_per_run * Number;
    *reinterpret_cast<Values*>(to + run * patch_px + column) =
        *reinterpret_cast<const Values*>(from + (channel * tile_px + row) * std::int64_t(tile_px) + column);
  }
}

/// A block for each row and each `max_threads` pieces of `Number` scalars of it.
template <MovePolicy P, int Number, class... Parameters, class... Arguments>
void launch_rows(Context& ctx, std::int64_t rows, std::int64_t width, void (*kernel)(Parameters...),
                 const Arguments&... arguments) {
  if (rows == 0 || width == 0) return;
  const MoveChoice choice = choose_move(width / Number, P);
  launch(kernel,
         {.grid = {unsigned(rows), unsigned(choice.parts)}, .block = unsigned(choice.threads), .stream = ctx.stream},
         arguments..., int(width));
}

/// Calls visitor(Constant<Number>{}) where everything is whole packs, else visitor(Constant<1>{}).
template <int Number, class Visitor>
void with_pack(bool packs, const Visitor& visitor) {
  if (packs) return visitor(Constant<Number>{});
  visitor(Constant<1>{});
}

template <class Scalar>
inline constexpr int scalars_in_16_bytes = 16 / int(sizeof(Scalar));

template <MovePolicy P, class Stored, class Scalar>
void launch_embed(Context& ctx, const std::int32_t* sources, const Stored* table, Rows<const Scalar> images,
                  Rows<Scalar> y) {
  constexpr int wide = std::min(scalars_in_16_bytes<Stored>, scalars_in_16_bytes<Scalar>);
  const bool packs =
      in_packs<wide>(y) && aligned(table, wide * sizeof(Stored)) && (images.count == 0 || in_packs<wide>(images));
  with_pack<wide>(packs, [&](auto number) {
    launch_rows<P, number.value>(ctx, y.count, y.width(), embed_kernel<Stored, Scalar, number.value>, sources, table,
                                 images.data, images.stride, y.data, y.stride);
  });
}

}  // namespace detail::move

// ---- launchers --------------------------------------------------------------------------------------
template <MovePolicy P = MovePolicy{}, class Scalar>
void embed(Context& ctx, const std::int32_t* sources, const PlacedTable& table, Rows<const Scalar> images,
           Rows<Scalar> y) {
  expect(table.width == y.width() && (images.count == 0 || images.width() == y.width()),
         "embed on CUDA: expected y as wide as the table and the images, ", table.width, " and ", images.width(),
         " scalars, found ", y.width());
  const std::byte* memory = table.memory.data;
  switch (table.format) {
    case Format::f32:
      return detail::move::launch_embed<P>(ctx, sources, reinterpret_cast<const float*>(memory), images, y);
    case Format::bf16:
      return detail::move::launch_embed<P>(ctx, sources, reinterpret_cast<const bf16*>(memory), images, y);
    case Format::f16:
      return detail::move::launch_embed<P>(ctx, sources, reinterpret_cast<const half*>(memory), images, y);
    default:
      return detail::move::launch_rows<P, 1>(ctx, y.count, y.width(), detail::move::embed_any_kernel<Scalar>, sources,
                                             detail::AnyMatrix(table.format, memory, table.rows, table.width),
                                             images.data, images.stride, y.data, y.stride);
  }
}

template <MovePolicy P = MovePolicy{}, class Scalar>
void gather_rows(Context& ctx, const std::int32_t* indices, Rows<const Scalar> x, Rows<Scalar> y) {
  expect(x.width() == y.width(), "gather_rows on CUDA: expected y of ", x.width(), " scalars a row, found ", y.width());
  constexpr int wide = detail::move::scalars_in_16_bytes<Scalar>;
  detail::move::with_pack<wide>(in_packs<wide>(x) && in_packs<wide>(y), [&](auto number) {
    detail::move::launch_rows<P, number.value>(ctx, y.count, y.width(),
                                               detail::move::gather_kernel<Scalar, number.value>, indices, x.data,
                                               x.stride, y.data, y.stride);
  });
}

template <MovePolicy P = MovePolicy{}, class Scalar>
void unfold_patches(Context& ctx, int tile_px, int patch_px, Rows<const Scalar> pixels, Rows<Scalar> patches) {
  expect(patch_px > 0 && tile_px % patch_px == 0, "unfold_patches on CUDA: expected tiles of whole patches, found ",
         tile_px, " and ", patch_px, " pixels");
  const std::int64_t side = tile_px / patch_px, number = pixels.count * side * side;
  expect(
      pixels.width() == 3 * tile_px * tile_px && patches.count >= number && patches.width() == 3 * patch_px * patch_px,
      "unfold_patches on CUDA: expected pixels of ", 3 * tile_px * tile_px, " scalars a row and patches [", number,
      ", ", 3 * patch_px * patch_px, "], found ", pixels.width(), " and [", patches.count, ", ", patches.width(), "]");
  if (number == 0) return;
  constexpr int wide = 4 / int(sizeof(Scalar));
  const bool packs = patch_px % wide == 0 && in_packs<wide>(pixels) && in_packs<wide>(patches);
  const auto kernel = packs ? detail::move::unfold_kernel<Scalar, wide> : detail::move::unfold_kernel<Scalar, 1>;
  launch(kernel,
         {.grid = unsigned(ceil_div(number, P.patches_per_block)),
          .block = {32, unsigned(P.patches_per_block)},
          .stream = ctx.stream},
         tile_px, patch_px, pixels.data, pixels.stride, number, patches.data, patches.stride);
}

template <MovePolicy P = MovePolicy{}, class Scalar>
void add_positions(Context& ctx, int side, Rows<const Scalar> patches, const float* class_token, const float* positions,
                   Rows<Scalar> x) {
  constexpr int wide = detail::move::scalars_in_16_bytes<Scalar>;
  const std::int64_t tokens = 1 + side * side, tiles = x.count / tokens;
  expect(x.count % tokens == 0 && x.width() == patches.width() && patches.count >= tiles * (tokens - 1),
         "add_positions on CUDA: expected x of whole tiles of ", tokens, " rows, and patches [", tiles * (tokens - 1),
         ", ", x.width(), "]; found ", x.count, " rows, and [", patches.count, ", ", patches.width(), "]");
  const bool packs = in_packs<wide>(patches) && in_packs<wide>(x) && aligned(class_token, 16) && aligned(positions, 16);
  detail::move::with_pack<wide>(packs, [&](auto number) {
    detail::move::launch_rows<P, number.value>(
        ctx, x.count, x.width(), detail::move::add_positions_kernel<Scalar, number.value>, 1 + side * side,
        patches.data, patches.stride, class_token, positions, x.data, x.stride);
  });
}

template <MovePolicy P = MovePolicy{}, class Scalar>
void pixel_shuffle(Context& ctx, int side, int scale, ShuffleOrder order, Rows<const Scalar> x, Rows<Scalar> y) {
  constexpr int wide = detail::move::scalars_in_16_bytes<Scalar>;
  expect(scale > 0 && side % scale == 0 && y.width() == scale * scale * x.width(),
         "pixel_shuffle on CUDA: expected a side of whole squares of ", scale, " patches, and y of ",
         scale * scale * x.width(), " scalars a row; found a side of ", side, ", and ", y.width());
  detail::move::with_pack<wide>(in_packs<wide>(x) && in_packs<wide>(y), [&](auto number) {
    detail::move::launch_rows<P, number.value>(ctx, y.count * scale * scale, x.width(),
                                               detail::move::pixel_shuffle_kernel<Scalar, number.value>, side, scale,
                                               order, x.data, x.stride, y.data, y.stride);
  });
}

static_assert(RowOps<Context, bf16> && RowOps<Context, float>);

}  // namespace ivl::IVL_CUDA
