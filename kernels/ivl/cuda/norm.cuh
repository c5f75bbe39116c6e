// rms_norm:   y = gain * x / sqrt(mean(x^2) + eps)
// layer_norm: y = gain * (x - mean(x)) / sqrt(variance(x) + eps) + bias     (population variance; see ops/norm.hpp)
//
//   x, y        [rows, width]   bf16, half or float; y may be x
//   gain, bias  [width]         float
//
// One block a row. The row is read once and stays in registers, so device memory moves 2 * rows * width *
// sizeof(Scalar) bytes, and gain and bias once. Sums are float, in an order that depends on the width alone: a row's
// bits do not depend on the others. Loads are 16 bytes wide if all rows start at a multiple of that, else a scalar
// each.
//
// Registers at most 64 a thread, no spills. Share of the copy bandwidth: not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cassert>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/context.cuh"
#include "ivl/cuda/launch.cuh"
#include "ivl/cuda/pack.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/reduce.cuh"
#include "ivl/cuda/shared_memory.cuh"
#include "ivl/ops/norm.hpp"

namespace ivl::cuda {

// ---- policy -----------------------------------------------------------------------------------------
struct NormPolicy {
  int values_per_thread = 16;  // of a row; its width is at most 1024 times that
};

// ---- device code ------------------------------------------------------------------------------------
namespace detail {

enum class Norm { rms, layer };

template <Norm Kind, class Scalar, int PackScalars, class Policy>
__global__ void __launch_bounds__(1024)
    norm_kernel(const Scalar* x, std::int64_t x_stride, const float* __restrict__ gain, const float* __restrict__ bias,
                float eps, Scalar* y, std::int64_t y_stride, int width) {
  constexpr int packs = Policy::value.values_per_thread / PackScalars;
  using Values = Pack<Scalar, PackScalars>;
  IVL_SHARED(float[32], partial);
  IVL_SHARED(float[32], partial_squares);
  x += blockIdx.x * x_stride;
  y += blockIdx.x * y_stride;
  const auto column_of = [](int pack) { return (pack * int(blockDim.x) + int(threadIdx.x)) * PackScalars; };

  float values[packs][PackScalars] = {};
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (column_of(p) >= width) break;
    const Values loaded = *reinterpret_cast<const Values*>(x + column_of(p));
#pragma unroll
    for (int i = 0; i < PackScalars; ++i) values[p][i] = prim::widen(loaded.values[i]);
  }

  float mean = 0;
  if constexpr (Kind == Norm::layer) {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
#pragma unroll
      for (int i = 0; i < PackScalars; ++i) sum += values[p][i];
    }
    mean = block_sum(sum, partial) / float(width);
  }
  float squares = 0;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (column_of(p) >= width) break;
#pragma unroll
    for (int i = 0; i < PackScalars; ++i) squares += (values[p][i] - mean) * (values[p][i] - mean);
  }
  const float factor = 1 / sqrtf(block_sum(squares, partial_squares) / float(width) + eps);

#pragma unroll
  for (int p = 0; p < packs; ++p) {
    const int column = column_of(p);
    if (column >= width) break;
    Values result;
#pragma unroll
    for (int i = 0; i < PackScalars; ++i) {
      const float scaled = (values[p][i] - mean) * factor;
      if constexpr (Kind == Norm::layer) {
        result.values[i] = prim::narrow<Scalar>(fmaf(scaled, gain[column + i], bias[column + i]));
      } else {
        result.values[i] = prim::narrow<Scalar>(scaled * gain[column + i]);
      }
    }
    *reinterpret_cast<Values*>(y + column) = result;
  }
}

template <Norm Kind, NormPolicy P, class Scalar>
void norm(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y) {
  static_assert(MultipleOf<P.values_per_thread, 16>, "NormPolicy: values_per_thread must be whole loads of 16 bytes");
  assert(x.width() > 0 && y.width() == x.width() && y.count == x.count);
  constexpr std::int64_t max_width = 1024 * P.values_per_thread;
  if (x.width() > max_width)
    fail<RequestError>("norm on CUDA: expected rows of at most ", max_width, " scalars, found ", x.width());
  if (x.count == 0) return;

  constexpr int wide = 16 / int(sizeof(Scalar));
  const auto whole = [](std::int64_t scalars) { return scalars % wide == 0; };
  const auto aligned = [](const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; };
  const bool vectors = whole(x.width()) && whole(x.stride) && whole(y.stride) && aligned(x.data) && aligned(y.data);
  const auto kernel =
      vectors ? norm_kernel<Kind, Scalar, wide, Constant<P>> : norm_kernel<Kind, Scalar, 1, Constant<P>>;
  const auto threads = unsigned(round_up(ceil_div(x.width(), P.values_per_thread), 32));
  launch(kernel, {.grid = unsigned(x.count), .block = threads, .stream = ctx.stream}, x.data, x.stride, gain, bias, eps,
         y.data, y.stride, int(x.width()));
}

}  // namespace detail

// ---- launchers --------------------------------------------------------------------------------------
/// gain [width]. Throws RequestError if the rows are wider than a block can hold.
template <NormPolicy P = NormPolicy{}, class Scalar>
void rms_norm(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, Rows<Scalar> y) {
  detail::norm<detail::Norm::rms, P>(ctx, x, gain, nullptr, eps, y);
}

/// gain, bias [width]. Throws RequestError if the rows are wider than a block can hold.
template <NormPolicy P = NormPolicy{}, class Scalar>
void layer_norm(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y) {
  detail::norm<detail::Norm::layer, P>(ctx, x, gain, bias, eps, y);
}

static_assert(NormOps<Context, bf16> && NormOps<Context, float>);

}  // namespace ivl::cuda
