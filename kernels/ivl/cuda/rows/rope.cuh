// Angles of the rotary embedding, once a step for all layers (see ops/rope.hpp for the frequencies f_i):
//
//   angles[r, i] = cos a,  angles[r, head_dim / 2 + i] = sin a,  a = position_r f_i rounded to float
//
//   positions, lengths  [rows]            in device memory
//   angles              [rows, head_dim]  float
//
// A thread an angle. Powers, sines and cosines are double precision, as on the CPU: a position of 2^18 leaves a float
// angle no digits to spare, and no compiler flag makes these functions fast and wrong. 8 bytes written an angle, and
// about 300 double operations: few rows, or little beside one layer's work.
//
// Registers at most 64 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/rows/choose.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/rope.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::rope {

/// The base for a row whose sequence has `length` tokens, each step rounded to float as transformers does.
__device__ inline float base_of(const RopeFacts& facts, int head_dim, std::int32_t length) {
  const float base = float(facts.base);
  if (facts.kind != RopeKind::dynamic_ntk || length <= facts.context) return base;
  const float growth = float(facts.factor) * float(length) / float(facts.context) - float(facts.factor - 1);
  return base * float(pow(double(growth), double(float(double(head_dim) / (head_dim - 2)))));
}

/// A product rounded to float, which no compiler fuses into a sum.
__device__ inline float rounded_product(float a, float b) { return float(double(a) * double(b)); }

/// f_i, each step rounded to float as transformers does.
__device__ inline float frequency_of(const RopeFacts& facts, const YarnRamp& ramp, float base, int head_dim, int i) {
  const float period = float(pow(double(base), double(float(2 * i) / float(head_dim))));
  if (facts.kind != RopeKind::yarn) return 1 / period;
  const float share = fminf(fmaxf((float(i) - ramp.begin) / ramp.length, 0.0f), 1.0f), kept = 1 - share;
  return rounded_product(1 / rounded_product(float(facts.factor), period), 1 - kept) +
         rounded_product(1 / period, kept);
}

template <class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    rope_angles_kernel(RopeFacts facts, YarnRamp ramp, const std::int32_t* __restrict__ positions,
                       const std::int32_t* __restrict__ lengths, int rows, int head_dim, float* angles,
                       std::int64_t stride) {
  const int half_dim = head_dim / 2, index = int(blockIdx.x * blockDim.x + threadIdx.x);
  const int row = index / half_dim, i = index % half_dim;
  if (row >= rows) return;
  const float frequency = frequency_of(facts, ramp, base_of(facts, head_dim, lengths[row]), head_dim, i);
  const float angle = float(positions[row]) * frequency;
  double sine, cosine;
  sincos(double(angle), &sine, &cosine);
  const float factor = facts.kind == RopeKind::yarn ? float(facts.attention_factor) : 1.0f;
  angles[row * stride + i] = float(cosine) * factor;
  angles[row * stride + half_dim + i] = float(sine) * factor;
}

}  // namespace detail::rope

// ---- launcher ---------------------------------------------------------------------------------------
template <RopePolicy P = RopePolicy{}>
void rope_angles(Context& ctx, const RopeFacts& facts, const std::int32_t* positions, const std::int32_t* rope_lengths,
                 Rows<float> angles) {
  static_assert(MultipleOf<P.threads_per_block, 32>, "RopePolicy: threads_per_block must be whole warps");
  const int head_dim = int(angles.width());
  expect(head_dim % 2 == 0, "rope_angles on CUDA: expected heads of pairs of scalars, found ", head_dim);
  if (angles.count == 0) return;
  launch(detail::rope::rope_angles_kernel<Constant<P>>,
         {.grid = unsigned(ceil_div(angles.count * (head_dim / 2), P.threads_per_block)),
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         facts, yarn_ramp(facts, head_dim), positions, rope_lengths, int(angles.count), head_dim, angles.data,
         angles.stride);
}

static_assert(RopeOp<Context>);

}  // namespace ivl::IVL_CUDA
