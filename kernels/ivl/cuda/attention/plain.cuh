// Attention without tensor cores: float activations, and head_dims that the other kernels do not have. For tests and
// small models; see attention.cuh for the contract.
//
// A warp a row and head. Lane i scores key i of 32 that begin at a multiple of 32, one step of the online softmax; then
// it sums dims i, i + 32, ... of their values, key by key. No rounding of probabilities.
//
// Registers at most 72 a thread, no spills.
#pragma once
#include "ivl/cuda/attention/sm80_tile.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::detail::plain_attention {

using namespace attention;  // sm80_tile.cuh

inline constexpr int warps = 4;
inline constexpr int max_head_dim = 256;

template <class Scalar>
__global__ void __launch_bounds__(32 * warps) attention_plain_kernel(Call<Scalar> call) {
  IVL_SHARED(float[warps][32], all_weights);
  float* const weights = all_weights[threadIdx.x / 32];  // of the block's keys
  const int lane = int(threadIdx.x) % 32, head_dim = call.shape.head_dim;
  const int pair = int(blockIdx.x) * warps + int(threadIdx.x) / 32;
  const int batch_row = pair / call.shape.heads, head = pair % call.shape.heads;
  if (batch_row >= call.batch.row_begin[call.batch.sequences]) return;
  const int sequence = call.batch.sequence_of[batch_row];
  const int token = batch_row - call.batch.row_begin[sequence];
  const RowTile tile = {sequence, head / call.group, token * call.group + head % call.group, 1};
  const Row row = tile.row(call, 0);
  const KvHead<const Scalar> kv(call.shape, call.kv, sequence, tile.kv_head);
  const Scalar* query = call.queries + batch_row * call.query_stride + head * head_dim;

  float highest = minus_infinity, sum = 0, out[max_head_dim / 32] = {};
  for (int block = row.begin / 32 * 32; block < row.end; block += 32) {
    const bool seen = block + lane >= row.begin && block + lane < row.end;
    float score = minus_infinity;
    if (seen) {
      const Scalar* key = kv.key(block + lane);
      float product = 0;
      for (int i = 0; i < head_dim; ++i) product = fmaf(prim::widen(query[i]), prim::widen(key[i]), product);
      score = product * call.scale;
    }
    const float raised = fmaxf(highest, warp_max(score)), fade = exp2f(highest - raised), p = exp2f(score - raised);
    highest = raised;
    sum = fmaf(sum, fade, warp_sum(p));
    for (float& x : out) x *= fade;
    weights[lane] = p;
    __syncwarp();
    for (int key = max(block, row.begin); key < min(block + 32, row.end); ++key) {
      const float weight = weights[key - block];
      const Scalar* value = kv.key(key) + kv.to_values();
#pragma unroll
      for (int i = 0; i < max_head_dim / 32; ++i) {
        const int dim = 32 * i + lane;
        if (dim < head_dim) out[i] = fmaf(weight, prim::widen(value[dim]), out[i]);
      }
    }
    __syncwarp();
  }
  const float factor = final_factor(call, head, highest, sum);
  Scalar* y = call.y + batch_row * call.y_stride + head * head_dim;
#pragma unroll
  for (int i = 0; i < max_head_dim / 32; ++i) {
    const int dim = 32 * i + lane;
    if (dim < head_dim) y[dim] = prim::narrow<Scalar>(out[i] * factor);
  }
}

template <class Scalar>
void run(Context& ctx, const Call<Scalar>& call) {
  const auto blocks = unsigned(ceil_div(std::int64_t(call.batch.rows) * call.shape.heads, warps));
  launch(attention_plain_kernel<Scalar>, {.grid = blocks, .block = 32 * warps, .stream = ctx.stream}, call);
}

}  // namespace ivl::IVL_CUDA::detail::plain_attention
