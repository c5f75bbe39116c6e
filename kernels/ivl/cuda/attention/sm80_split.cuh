// Attention of few rows of a sequence, with its keys split over blocks: decode. See attention.cuh for the contract.
//
// A block of four warps has up to 16 rows of one KV head and one chunk of 256 keys, so all heads that share a key or
// value read it at once. Two blocks of 64 keys and their values are under way at any time. Warp w scores keys 16 w ...
// of a block and sums dims w head_dim / 4 ...; maxima and probabilities pass through shared memory. Blocks leave their
// parts in scratch, and the last one of a tile joins them in order.
//
// Registers at most 168 a thread, no spills.
#pragma once
#include <algorithm>
#include <bit>

#include "ivl/cuda/attention/choose.hpp"
#include "ivl/cuda/attention/sm80_tile.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::detail::split {

using namespace attention;  // sm80_tile.cuh

/// Which rows a launch serves, and where its blocks meet.
struct Work {
  int block_rows;  // 0: all rows of the batch, a token a tile; else what sm80_prefill.cuh left over
  int tiles_per_token;
  int rows;            // that a part has room for
  float *outs, *ends;  // [tile, kv_head, chunk][rows, head_dim] and [rows, {max, sum}]; null if one chunk is all
  unsigned* arrived;   // [tile, kv_head], zero before and after
};

template <int HeadDim, int Stages>
struct Shared {
  static constexpr int stage_scalars = block_keys * HeadDim;
  bf16 *keys, *values;  // [stage][block_keys, HeadDim], swizzled
  bf16* probabilities;  // [tile_rows, block_keys], swizzled
  float* highest;       // [warp, tile_rows]
  bool* last;

  __host__ __device__ explicit Shared(SharedCarver& memory)
      : keys(memory.take<bf16>(Stages * stage_scalars, tile_alignment)),
        values(memory.take<bf16>(Stages * stage_scalars, tile_alignment)),
        probabilities(memory.take<bf16>(tile_rows * block_keys, tile_alignment)),
        highest(memory.take<float>(threads / 32 * tile_rows)),
        last(memory.take<bool>(1)) {}
};

/// The rows of tile `index` of a launch; no rows where there is no such tile.
template <class Scalar>
__device__ inline RowTile tile_of(const Call<Scalar>& call, const Work& work, int index) {
  const Batch& batch = call.batch;
  RowTile tile;
  if (work.block_rows > 0) {
    tile.sequence = index;
    tile.rows = rows_over((batch.row_begin[index + 1] - batch.row_begin[index]) * call.group, work.block_rows);
    return tile;
  }
  const int batch_row = index / work.tiles_per_token, part = index % work.tiles_per_token;
  if (batch_row >= batch.row_begin[batch.sequences]) return tile;
  tile.sequence = batch.sequence_of[batch_row];
  tile.first = (batch_row - batch.row_begin[tile.sequence]) * call.group + part * tile_rows;
  tile.rows = min(tile_rows, call.group - part * tile_rows);
  return tile;
}

/// Of the warp's dims the first that is the lane's.
template <int HeadDim>
__device__ inline int own_column() {
  constexpr int dims = HeadDim / (threads / 32);
  return dims * (int(threadIdx.x) / 32) + int(threadIdx.x) % 4 * 2;
}

/// Adds the products of 16 queries with the 16 keys from `key` on of a block.
template <int HeadDim>
__device__ inline void add_scores(float (&scores)[2][4], const std::uint32_t (&queries)[HeadDim / 16][4],
                                  const bf16* keys, int key) {
#pragma unroll
  for (int k = 0; k < HeadDim / 16; ++k) {
    std::uint32_t even[2], odd[2];
    load_keys<HeadDim>(keys, key, k, even, odd);
    prim::mma_m16n8k16<bf16>(scores[0], queries[k], even);
    prim::mma_m16n8k16<bf16>(scores[1], queries[k], odd);
  }
}

/// The warp's 16 columns of the block's probabilities [tile_rows, block_keys], for all warps to read.
template <int Dims>
__device__ inline void store_probabilities(bf16* probabilities, const Running<Dims>& running,
                                           const float (&scores)[2][4], float scale) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      bf16* to = probabilities + swizzled<block_keys>(lane / 4 + 8 * r, 2 * warp + n) + lane % 4 * 2;
      *reinterpret_cast<std::uint32_t*>(to) = prim::narrow_pair<bf16>(
          running.probability(r, scores[n][2 * r], scale), running.probability(r, scores[n][2 * r + 1], scale));
    }
  }
}

/// Adds the block's probabilities to the rows' sums, and their products with the warp's dims of the block's values.
template <int HeadDim, int Dims>
__device__ inline void add_values(Running<Dims>& running, const bf16* probabilities, const bf16* values) {
  const int lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int unit = 0; unit < block_keys / 16; ++unit) {
    std::uint32_t p[4];
    prim::ldmatrix(p, probabilities + swizzled<block_keys>(lane % 16, 2 * unit + lane / 16));
    running.add_sum(p);
    if constexpr (Dims == 8) {
      std::uint32_t v[2];
      prim::ldmatrix_transposed(v, values + 16 * unit * HeadDim);
      prim::mma_m16n8k16<bf16>(running.out[0], p, v);
    } else {
#pragma unroll
      for (int n = 0; n < Dims / 8; n += 2) {
        std::uint32_t even[2], odd[2];
        load_values<HeadDim>(values, 16 * unit, 8 * n, even, odd);
        prim::mma_m16n8k16<bf16>(running.out[n], p, even);
        prim::mma_m16n8k16<bf16>(running.out[n + 1], p, odd);
      }
    }
  }
}

/// The results of a tile with one chunk.
template <int HeadDim, int Dims>
__device__ inline void store_rows(const Call<bf16>& call, const RowTile& tile, const Running<Dims>& running) {
  const int lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (lane / 4 + 8 * r >= tile.rows) continue;
    const Row row = tile.row(call, lane / 4 + 8 * r);
    const float factor = final_factor(call, row.head, running.max[r], running.sum[2 * r]);
    bf16* y = call.y + row.batch_row * call.y_stride + row.head * HeadDim + own_column<HeadDim>();
#pragma unroll
    for (int n = 0; n < Dims / 8; ++n)
      *reinterpret_cast<std::uint32_t*>(y + 8 * n) =
          prim::narrow_pair<bf16>(running.out[n][2 * r] * factor, running.out[n][2 * r + 1] * factor);
  }
}

/// The parts of the block's tile and KV head.
struct Parts {
  int place, rows;
  float *outs, *ends;

  __device__ Parts(const Work& work, int head_dim)
      : place(int(blockIdx.z * gridDim.y + blockIdx.y)),
        rows(work.rows),
        outs(work.outs + std::int64_t(place) * gridDim.x * rows * head_dim),
        ends(work.ends + std::int64_t(place) * gridDim.x * rows * 2) {}
};

template <int HeadDim, int Dims>
__device__ inline void store_part(const Parts& parts, const RowTile& tile, int chunk, const Running<Dims>& running) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane / 4 + 8 * r;
    if (row >= tile.rows) continue;
    float* out = parts.outs + (std::int64_t(chunk) * parts.rows + row) * HeadDim + own_column<HeadDim>();
#pragma unroll
    for (int n = 0; n < Dims / 8; ++n)
      *reinterpret_cast<float2*>(out + 8 * n) = {running.out[n][2 * r], running.out[n][2 * r + 1]};
    if (warp == 0 && lane % 4 == 0)
      *reinterpret_cast<float2*>(parts.ends + (chunk * parts.rows + row) * 2) = {running.max[r], running.sum[2 * r]};
  }
}

/// The last block of the tile joins all parts in order, four dims a thread.
template <int HeadDim>
__device__ inline void join_parts(const Call<bf16>& call, const Parts& parts, const RowTile& tile, int chunks) {
  for (int i = int(threadIdx.x); i < tile.rows * (HeadDim / 4); i += threads) {
    const int r = i / (HeadDim / 4), dim = i % (HeadDim / 4) * 4;
    const float* out = parts.outs + r * HeadDim + dim;
    const float* end_of = parts.ends + 2 * r;
    float4 total = *reinterpret_cast<const float4*>(out);
    float2 total_end = *reinterpret_cast<const float2*>(end_of);
    for (int c = 1; c < chunks; ++c) {
      out += parts.rows * HeadDim, end_of += parts.rows * 2;
      const float4 part = *reinterpret_cast<const float4*>(out);
      const float2 part_end = *reinterpret_cast<const float2*>(end_of);
      const JoinFactors factors = join_factors(total_end.x, part_end.x);
      total_end.y = factors.join(total_end.y, part_end.y);
      total = {factors.join(total.x, part.x), factors.join(total.y, part.y), factors.join(total.z, part.z),
               factors.join(total.w, part.w)};
    }
    const Row row = tile.row(call, r);
    const float factor = final_factor(call, row.head, total_end.x, total_end.y);
    bf16* y = call.y + row.batch_row * call.y_stride + row.head * HeadDim + dim;
    *reinterpret_cast<uint2*>(y) = {prim::narrow_pair<bf16>(total.x * factor, total.y * factor),
                                    prim::narrow_pair<bf16>(total.z * factor, total.w * factor)};
  }
}

/// Whether all other chunks of the tile have stored their parts; the last one makes the counter ready for the next run.
__device__ inline bool arrives_last(unsigned* arrived, int chunks, bool* last) {
  __syncthreads();
  if (threadIdx.x == 0) *last = prim::add_acquire_release(arrived, 1) == unsigned(chunks) - 1;
  __syncthreads();
  if (*last && threadIdx.x == 0) *arrived = 0;
  return *last;
}

template <int HeadDim, class Policy>
__global__ void __launch_bounds__(threads, 3) attention_split_kernel(Call<bf16> call, Work work) {
  constexpr int stages = Policy::value.stages, warps = threads / 32, dims = HeadDim / warps;
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  RowTile tile = tile_of(call, work, int(blockIdx.z));
  if (tile.rows == 0) return;
  tile.kv_head = int(blockIdx.y);
  const int tile_begin = tile.row(call, 0).begin, tile_end = tile.row(call, tile.rows - 1).end;
  const int first_chunk = tile_begin / chunk_keys, chunks = (tile_end + chunk_keys - 1) / chunk_keys - first_chunk;
  const int chunk = int(blockIdx.x);
  if (chunk >= chunks) return;
  const int first_key = max((first_chunk + chunk) * chunk_keys, tile_begin / block_keys * block_keys);
  const int end_key = min((first_chunk + chunk + 1) * chunk_keys, tile_end);

  IVL_DYNAMIC_SHARED(memory);
  SharedCarver carver(memory);
  const Shared<HeadDim, stages> shared(carver);

  // Warp w copies keys 16 w ... of a block, and their values.
  const KvHead<const bf16> kv(call.shape, call.kv, tile.sequence, tile.kv_head);
  const auto copy_block = [&](int key, int stage) {
    const int at = key + kv_page_unit * warp, begin = tile_begin - at, end = end_key - at;
    const bool there = end > 0;
    const bf16* run = there ? kv.key(at) : reinterpret_cast<const bf16*>(call.kv.pages);
    if (key < end_key)
      load_run<HeadDim>(shared.keys + stage * shared.stage_scalars, kv_page_unit * warp, run, begin, end);
    prim::cp_async_commit();
    if (key < end_key)
      load_run<HeadDim>(shared.values + stage * shared.stage_scalars, kv_page_unit * warp,
                        there ? run + kv.to_values() : run, begin, end);
    prim::cp_async_commit();
  };
#pragma unroll
  for (int s = 0; s < stages; ++s) copy_block(first_key + s * block_keys, s);

  std::uint32_t queries[HeadDim / 16][4];
  load_queries<HeadDim>(call, tile, 0, queries);
  int begin[2], end[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const Row row = tile.row(call, lane / 4 + 8 * r);
    begin[r] = row.begin, end[r] = row.end;
  }

  // Offset in a tile of values of the lane's part of the warp's dims.
  const int own_values = swizzled<HeadDim>(lane % 16, dims / 8 * warp + (dims > 8 ? lane / 16 : 0));

  Running<dims> running;
  int stage = 0;
  for (int key = first_key; key < end_key; key += block_keys) {
    prim::cp_async_wait<2 * stages - 1>();
    __syncthreads();  // the keys are there
    const bf16* const keys = prim::opaque(lane_keys<HeadDim>(shared.keys + stage * shared.stage_scalars));
    const bf16* const values = prim::opaque(shared.values + stage * shared.stage_scalars + own_values);
    float scores[2][4] = {};
    add_scores<HeadDim>(scores, queries, keys, 16 * warp);
    hide_scores(scores, key + 16 * warp, begin, end);
    float highest[2];
    highest_scores(scores, highest);
    if (lane % 4 == 0) {
      shared.highest[warp * tile_rows + lane / 4] = highest[0];
      shared.highest[warp * tile_rows + lane / 4 + 8] = highest[1];
    }
    prim::cp_async_wait<2 * stages - 2>();
    __syncthreads();  // the values and all warps' maxima are there
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int w = 0; w < warps; ++w) highest[r] = fmaxf(highest[r], shared.highest[w * tile_rows + lane / 4 + 8 * r]);
      highest[r] *= call.scale;
    }
    running.raise(highest);
    store_probabilities(shared.probabilities, running, scores, call.scale);
    __syncthreads();  // all probabilities are there
    add_values<HeadDim>(running, shared.probabilities, values);
    __syncthreads();  // the stage is free
    copy_block(key + stages * block_keys, stage);
    stage = stage + 1 == stages ? 0 : stage + 1;
  }
  prim::cp_async_wait_all();

  if (chunks == 1) return store_rows<HeadDim>(call, tile, running);
  const Parts parts(work, HeadDim);
  store_part<HeadDim>(parts, tile, chunk, running);
  if (arrives_last(&work.arrived[parts.place], chunks, shared.last)) join_parts<HeadDim>(call, parts, tile, chunks);
}

/// `block_rows`: 0, or of the prefill::run beside which this runs.
template <int HeadDim, SplitPolicy P>
void run(Context& ctx, const Call<bf16>& call, int block_rows) {
  Work work = {};
  work.block_rows = block_rows;
  work.tiles_per_token = int(ceil_div(call.group, tile_rows));
  work.rows = block_rows > 0 ? tile_rows : std::min(call.group, tile_rows);
  const std::int64_t tiles =
      block_rows > 0 ? call.batch.sequences : std::int64_t(call.batch.rows) * work.tiles_per_token;
  std::int64_t chunks = ceil_div(call.batch.longest, chunk_keys);
  if (call.mask == Mask::causal && call.shape.window > 0) {
    const int tokens = block_rows > 0 ? tile_rows : 1;  // of a tile at most; keys that they see together:
    chunks = std::min(chunks, ceil_div(call.shape.window + tokens - 2, chunk_keys) + 1);
  }
  if (chunks > 1) {
    // Room doubles as sequences grow, so that they seldom make it allocate; never more than their pages may hold.
    const std::int64_t most = ceil_div(std::int64_t(call.kv.pages_per_sequence) * call.kv.page_tokens, chunk_keys);
    const std::int64_t room = std::max(chunks, std::min(most, std::int64_t(std::bit_ceil(std::uint64_t(chunks)))));
    const std::int64_t parts = tiles * call.shape.kv_heads * room * work.rows;
    work.outs = ctx.template scratch<float>(parts * (HeadDim + 2));
    work.ends = work.outs + parts * HeadDim;
    work.arrived = ctx.counters(tiles * call.shape.kv_heads);
  }
  SharedCarver carver;
  Shared<HeadDim, P.stages> measure(carver);
  launch(attention_split_kernel<HeadDim, Constant<P>>,
         {.grid = dim3(unsigned(chunks), unsigned(call.shape.kv_heads), unsigned(tiles)),
          .block = threads,
          .shared_bytes = carver.bytes(),
          .stream = ctx.stream},
         call, work);
}

}  // namespace ivl::IVL_CUDA::detail::split
