// rms_norm:   y = gain * x / sqrt(mean(x^2) + eps)
// layer_norm: y = gain * (x - mean(x)) / sqrt(variance(x) + eps) + bias     (population variance; see ops/norm.hpp)
//
//   x, y        [rows, width]   bf16, half or float; y may be x
//   gain, bias  [width]         float
//
// One block a row. The row is read once and stays in registers, so device memory moves 2 * rows * width *
// sizeof(Scalar) bytes, and gain and bias once. Sums are float, in an order that depends on the width alone: a row's
// bits do not depend on the others. Loads are 16 bytes wide if all rows, gain and bias start at multiples of that, else
// a scalar each.
//
// Registers at most 64 a thread, no spills. Share of the copy bandwidth: not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/rows/choose.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/norm.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::norm {

enum class Kind { rms, layer };

/// Warps that share a row. This and RowShare are the order of a row's sums, for all who must get the same bits.
__host__ __device__ constexpr int warps_of_row(int width, int values_per_thread) {
  return (width + 32 * values_per_thread - 1) / (32 * values_per_thread);
}

/// What thread `thread` of the `threads` that share a row holds of it: every threads-th pack of scalars.
template <class Scalar, int PackScalars, class Policy>
class RowShare {
 public:
  __device__ RowShare(const Scalar* x, int width, int thread, int threads)
      : width_(width), thread_(thread), threads_(threads) {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column(p) >= width) break;
      const Values loaded = *reinterpret_cast<const Values*>(x + column(p));
#pragma unroll
      for (int i = 0; i < PackScalars; ++i) values_[p][i] = prim::widen(loaded.values[i]);
    }
  }

  __device__ float sum() const {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
#pragma unroll
      for (int i = 0; i < PackScalars; ++i) sum += values_[p][i];
    }
    return sum;
  }
  __device__ float squares(float mean) const {
    float squares = 0;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column(p) >= width_) break;
#pragma unroll
      for (int i = 0; i < PackScalars; ++i) squares = fmaf(values_[p][i] - mean, values_[p][i] - mean, squares);
    }
    return squares;
  }
  /// y: the row's result.
  template <Kind K>
  __device__ void store(float mean, float factor, const float* __restrict__ gain, const float* __restrict__ bias,
                        Scalar* y) const {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column(p) >= width_) break;
      Values result;
      constexpr int floats = PackScalars < 4 ? PackScalars : 4;
      using Floats = Pack<float, floats>;
#pragma unroll
      for (int first = 0; first < PackScalars; first += floats) {
        const auto gains = *reinterpret_cast<const Floats*>(gain + column(p) + first);
        Floats biases;
        if constexpr (K == Kind::layer) biases = *reinterpret_cast<const Floats*>(bias + column(p) + first);
#pragma unroll
        for (int i = 0; i < floats; ++i) {
          const float scaled = (values_[p][first + i] - mean) * factor;
          if constexpr (K == Kind::layer) {
            result.values[first + i] = prim::narrow<Scalar>(fmaf(scaled, gains.values[i], biases.values[i]));
          } else {
            result.values[first + i] = prim::narrow<Scalar>(scaled * gains.values[i]);
          }
        }
      }
      *reinterpret_cast<Values*>(y + column(p)) = result;
    }
  }

 private:
  static constexpr int packs = Policy::value.values_per_thread / PackScalars;
  using Values = Pack<Scalar, PackScalars>;

  __device__ int column(int pack) const { return (pack * threads_ + thread_) * PackScalars; }

  int width_, thread_, threads_;
  float values_[packs][PackScalars] = {};
};

__device__ inline float factor_of(float squares, int width, float eps) {
  return 1 / sqrtf(squares / float(width) + eps);
}

template <Kind K, class Scalar, int PackScalars, class Policy>
__global__ void __launch_bounds__(1024)
    norm_kernel(const Scalar* x, std::int64_t x_stride, const float* __restrict__ gain, const float* __restrict__ bias,
                float eps, Scalar* y, std::int64_t y_stride, int width) {
  IVL_SHARED(float[32], partial);
  IVL_SHARED(float[32], partial_squares);
  const RowShare<Scalar, PackScalars, Policy> share(x + blockIdx.x * x_stride, width, int(threadIdx.x),
                                                    int(blockDim.x));
  float mean = 0;
  if constexpr (K == Kind::layer) mean = block_sum(share.sum(), partial) / float(width);
  const float factor = factor_of(block_sum(share.squares(mean), partial_squares), width, eps);
  share.template store<K>(mean, factor, gain, bias, y + blockIdx.x * y_stride);
}

inline void check_width(const NormPolicy& policy, std::int64_t width) {
  if (choose_norm(width, policy).fits) return;
  fail<RequestError>("norm on CUDA: expected rows of at most ", 1024 * policy.values_per_thread, " scalars, found ",
                     width);
}

template <Kind K, NormPolicy P, class Scalar>
void run(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y) {
  static_assert(MultipleOf<P.values_per_thread, 16>, "NormPolicy: values_per_thread must be whole loads of 16 bytes");
  expect(x.width() > 0 && y.width() == x.width() && y.count == x.count, "norm on CUDA: expected y [", x.count, ", ",
         x.width(), "] as x, and not empty rows; found [", y.count, ", ", y.width(), "]");
  check_width(P, x.width());
  if (x.count == 0) return;

  constexpr int wide = 16 / int(sizeof(Scalar));
  const bool vectors = in_packs<wide>(x) && in_packs<wide>(y) && aligned(gain, 16) && aligned(bias, 16);
  const auto kernel = vectors ? norm_kernel<K, Scalar, wide, Constant<P>> : norm_kernel<K, Scalar, 1, Constant<P>>;
  const auto threads = unsigned(choose_norm(x.width(), P).threads);
  launch(kernel, {.grid = unsigned(x.count), .block = threads, .stream = ctx.stream}, x.data, x.stride, gain, bias, eps,
         y.data, y.stride, int(x.width()));
}

}  // namespace detail::norm

// ---- launchers --------------------------------------------------------------------------------------
/// gain [width]. Throws RequestError if the rows are wider than a block can hold.
template <NormPolicy P = NormPolicy{}, class Scalar>
void rms_norm(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, Rows<Scalar> y) {
  detail::norm::run<detail::norm::Kind::rms, P>(ctx, x, gain, nullptr, eps, y);
}

/// gain, bias [width]. Throws RequestError if the rows are wider than a block can hold.
template <NormPolicy P = NormPolicy{}, class Scalar>
void layer_norm(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y) {
  detail::norm::run<detail::norm::Kind::layer, P>(ctx, x, gain, bias, eps, y);
}

static_assert(NormOps<Context, bf16> && NormOps<Context, float>);

}  // namespace ivl::IVL_CUDA
