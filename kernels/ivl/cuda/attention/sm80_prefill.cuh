// Attention of many rows of a sequence (FlashAttention-2, arXiv 2307.08691); see attention.cuh for the contract.
//
// A block of four warps has a tile of 64 or 128 rows of one KV head, a warp 16 or 32 of them. It walks the keys in
// blocks of 64: while scores are made the values arrive, and while those are summed the next keys. Under a causal mask
// the longest tiles come first, and what chunks before the current one gave waits in shared memory.
//
// Rows of a sequence that are over when it is cut into whole tiles, if they are 16 at most, are left to
// sm80_split.cuh: a picture's CLS row, and sequences that decode. They are the first ones.
//
// Registers at most 168 (head_dim 32 and 64) and 255 (128, or 32 rows a warp) a thread, no spills.
#pragma once
#include <algorithm>

#include "ivl/cuda/attention/choose.hpp"
#include "ivl/cuda/attention/sm80_tile.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::detail::prefill {

using namespace attention;  // sm80_tile.cuh

/// What registers are shared out for.
template <int HeadDim, int RowTiles>
inline constexpr int blocks_per_sm = RowTiles == 2 || HeadDim == 128 ? 2 : 3;

template <int HeadDim, Visible V, int RowTiles>
struct Shared {
  bf16 *keys, *values;  // [block_keys, HeadDim], swizzled
  float4* total;        // [row tile, HeadDim / 8][thread]: what earlier chunks gave

  __host__ __device__ explicit Shared(SharedCarver& memory)
      : keys(memory.take<bf16>(block_keys * HeadDim, tile_alignment)),
        values(memory.take<bf16>(block_keys * HeadDim, tile_alignment)),
        total(V == Visible::all ? nullptr : memory.take<float4>(RowTiles * HeadDim / 8 * threads)) {}
};

/// The rows of a warp. A block of keys joins their running softmax by `score`, then `sum`. If it is `Whole`, every row
/// sees all of its keys; else some row sees some of the first `units` times 16, and none sees the others.
template <int HeadDim, Visible V, int RowTiles>
struct WarpRows {
  const float scale;
  std::uint32_t queries[RowTiles][HeadDim / 16][4];
  int begin[RowTiles][2], end[RowTiles][2];
  Running<HeadDim> running[RowTiles];
  using Scores = float[RowTiles][block_keys / 8][4];

  __device__ explicit WarpRows(float scale) : scale(scale) {}

  template <bool Whole>
  __device__ void score(const bf16* tile, int units, Scores& scores) {
    const bf16* const keys = prim::opaque(tile);
#pragma unroll
    for (int k = 0; k < HeadDim / 16; ++k) {
#pragma unroll
      for (int unit = 0; unit < block_keys / 16; ++unit) {
        if (!Whole && unit >= units) continue;
        std::uint32_t even[2], odd[2];
        load_keys<HeadDim>(keys, 16 * unit, k, even, odd);
#pragma unroll
        for (int t = 0; t < RowTiles; ++t) {
          prim::mma_m16n8k16<bf16>(scores[t][2 * unit], queries[t][k], even);
          prim::mma_m16n8k16<bf16>(scores[t][2 * unit + 1], queries[t][k], odd);
        }
      }
    }
  }

  template <bool Whole>
  __device__ void sum(const bf16* tile, int key, int units, Scores& scores) {
    const bf16* const values = prim::opaque(tile);
    std::uint32_t p[RowTiles][block_keys / 16][4];
#pragma unroll
    for (int t = 0; t < RowTiles; ++t) {
      if (!Whole) hide_scores(scores[t], key, begin[t], end[t]);
      float highest[2];
      highest_scores(scores[t], highest);
      highest[0] *= scale, highest[1] *= scale;
      running[t].raise(highest);
#pragma unroll
      for (int n = 0; n < block_keys / 8; ++n) {
#pragma unroll
        for (int r = 0; r < 2; ++r)
          p[t][n / 2][n % 2 * 2 + r] =
              prim::narrow_pair<bf16>(running[t].probability(r, scores[t][n][2 * r], scale),
                                      running[t].probability(r, scores[t][n][2 * r + 1], scale));
      }
    }
#pragma unroll
    for (int unit = 0; unit < block_keys / 16; ++unit) {
      if (!Whole && unit >= units) continue;
#pragma unroll
      for (int t = 0; t < RowTiles; ++t) running[t].add_sum(p[t][unit]);
#pragma unroll
      for (int n = 0; n < HeadDim / 8; n += 2) {
        std::uint32_t even[2], odd[2];
        load_values<HeadDim>(values, 16 * unit, 8 * n, even, odd);
#pragma unroll
        for (int t = 0; t < RowTiles; ++t) {
          prim::mma_m16n8k16<bf16>(running[t].out[n], p[t][unit], even);
          prim::mma_m16n8k16<bf16>(running[t].out[n + 1], p[t][unit], odd);
        }
      }
    }
  }
};

template <int RowTiles>
inline constexpr int block_rows_of = threads / 32 * tile_rows * RowTiles;

/// The block's rows; false if no rows are left for it.
template <Visible V, int BlockRows>
__device__ inline bool find_block(const Call<bf16>& call, RowTile& tile) {
  const Batch& batch = call.batch;
  const auto rows_of = [&](int s) { return (batch.row_begin[s + 1] - batch.row_begin[s]) * call.group; };
  const auto tiles_of = [&](int s) {
    const int rows = rows_of(s);
    return (rows - rows_over(rows, BlockRows) + BlockRows - 1) / BlockRows;
  };
  tile.kv_head = int(blockIdx.x) % call.shape.kv_heads;
  int index = int(blockIdx.x) / call.shape.kv_heads;
  if (!find_tile(batch.sequences, tiles_of, index, tile.sequence)) return false;
  if (V != Visible::all) index = tiles_of(tile.sequence) - 1 - index;  // the longest tiles first
  const int all_rows = rows_of(tile.sequence);
  tile.first = rows_over(all_rows, BlockRows) + index * BlockRows;
  tile.rows = min(BlockRows, all_rows - tile.first);
  return true;
}

/// What the chunks before the current one gave: maxima and sums in registers, the rest in shared memory.
template <int HeadDim, int RowTiles>
class ChunkTotals {
 public:
  __device__ explicit ChunkTotals(float4* room) : room_(room) {}

  /// `running` becomes what all chunks so far give.
  __device__ void join(Running<HeadDim> (&running)[RowTiles]) {
    if (!any_) return;
#pragma unroll
    for (int t = 0; t < RowTiles; ++t) {
      Running<HeadDim>& part = running[t];
      JoinFactors factors[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        factors[r] = join_factors(max_[t][r], part.max[r]);
        part.max[r] = max_[t][r];
        part.sum[2 * r] = factors[r].join(sum_[t][r], part.sum[2 * r]);
      }
#pragma unroll
      for (int n = 0; n < HeadDim / 8; ++n) {
        const float4 total = at(t, n);
        part.out[n][0] = factors[0].join(total.x, part.out[n][0]);
        part.out[n][1] = factors[0].join(total.y, part.out[n][1]);
        part.out[n][2] = factors[1].join(total.z, part.out[n][2]);
        part.out[n][3] = factors[1].join(total.w, part.out[n][3]);
      }
    }
  }

  /// Takes over what `running` holds, which begins anew.
  __device__ void next(Running<HeadDim> (&running)[RowTiles]) {
    join(running);
    any_ = true;
#pragma unroll
    for (int t = 0; t < RowTiles; ++t) {
      Running<HeadDim>& part = running[t];
#pragma unroll
      for (int r = 0; r < 2; ++r) max_[t][r] = part.max[r], sum_[t][r] = part.sum[2 * r];
#pragma unroll
      for (int n = 0; n < HeadDim / 8; ++n) at(t, n) = {part.out[n][0], part.out[n][1], part.out[n][2], part.out[n][3]};
      part = Running<HeadDim>();
    }
  }

 private:
  __device__ float4& at(int t, int n) const { return room_[(t * (HeadDim / 8) + n) * threads + int(threadIdx.x)]; }

  float4* room_;  // [row tile, HeadDim / 8][thread]
  float max_[RowTiles][2], sum_[RowTiles][2];
  bool any_ = false;
};

/// The results of 16 rows of a warp; the first of them is the tile's row `first`.
template <int HeadDim>
__device__ inline void store_rows(const Call<bf16>& call, const RowTile& tile, int first,
                                  const Running<HeadDim>& total) {
  const int lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int own = first + lane / 4 + 8 * r;
    if (own >= tile.rows) continue;
    const Row row = tile.row(call, own);
    const float factor = final_factor(call, row.head, total.max[r], total.sum[2 * r]);
    bf16* y = call.y + row.batch_row * call.y_stride + row.head * HeadDim + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < HeadDim / 8; ++n)
      *reinterpret_cast<std::uint32_t*>(y + 8 * n) =
          prim::narrow_pair<bf16>(total.out[n][2 * r] * factor, total.out[n][2 * r + 1] * factor);
  }
}

template <int HeadDim, Visible V, int RowTiles>
__global__ void __launch_bounds__(threads, blocks_per_sm<HeadDim, RowTiles>) attention_prefill_kernel(Call<bf16> call) {
  constexpr int block_rows = block_rows_of<RowTiles>;
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  RowTile tile;
  if (!find_block<V, block_rows>(call, tile)) return;
  const auto begin_of = [](const Row& row) { return V == Visible::window ? row.begin : 0; };
  const int tile_begin = begin_of(tile.row(call, 0)), tile_end = tile.row(call, tile.rows - 1).end;

  IVL_DYNAMIC_SHARED(memory);
  SharedCarver carver(memory);
  const Shared<HeadDim, V, RowTiles> shared(carver);

  // The warp's rows.
  const int first = warp * tile_rows * RowTiles, last = first + tile_rows * RowTiles - 1;
  WarpRows<HeadDim, V, RowTiles> rows(call.scale);
#pragma unroll
  for (int t = 0; t < RowTiles; ++t) {
    load_queries<HeadDim>(call, tile, first + tile_rows * t, rows.queries[t]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const Row row = tile.row(call, first + tile_rows * t + lane / 4 + 8 * r);
      rows.begin[t][r] = begin_of(row), rows.end[t][r] = row.end;
    }
  }
  // All rows see [all_begin, all_end), and none sees what is not in [some_begin, some_end). A warp without rows sees
  // none.
  const Row top = tile.row(call, first), bottom = tile.row(call, last);
  const int some_begin = begin_of(top), all_begin = begin_of(bottom);
  const int some_end = first < tile.rows ? bottom.end : 0, all_end = first < tile.rows ? top.end : 0;

  // Warp w copies keys 16 w ... of a block, and their values.
  const KvHead<const bf16> kv(call.shape, call.kv, tile.sequence, tile.kv_head);
  const bf16* const nowhere = reinterpret_cast<const bf16*>(call.kv.pages);  // but aligned
  const bf16* run = nullptr;
  const auto copy_keys = [&](int key) {
    const int at = key + kv_page_unit * warp;
    run = at < tile_end ? kv.key(at) : nullptr;
    load_run<HeadDim>(shared.keys, kv_page_unit * warp, run ? run : nowhere, tile_begin - at, tile_end - at);
    prim::cp_async_commit();
  };
  const auto copy_values = [&](int key) {
    const int at = key + kv_page_unit * warp;
    load_run<HeadDim>(shared.values, kv_page_unit * warp, run ? run + kv.to_values() : nowhere, tile_begin - at,
                      tile_end - at);
    prim::cp_async_commit();
  };

  const bf16* const keys = lane_keys<HeadDim>(shared.keys);
  const bf16* const values = lane_values<HeadDim>(shared.values);

  ChunkTotals<HeadDim, RowTiles> totals(shared.total);
  const int first_key = tile_begin / block_keys * block_keys;
  copy_keys(first_key);
  for (int key = first_key; key < tile_end; key += block_keys) {
    const bool seen = key < some_end && key + block_keys > some_begin;
    const bool whole = key + block_keys <= all_end && key >= all_begin;
    const int units = min(block_keys, some_end - key + 15) / 16;
    prim::cp_async_wait<0>();
    __syncthreads();  // the keys are there, and the values before them are used
    copy_values(key);
    typename WarpRows<HeadDim, V, RowTiles>::Scores scores = {};
    if (whole) {
      rows.template score<true>(keys, 0, scores);
    } else if (seen) {
      rows.template score<false>(keys, units, scores);
    }
    prim::cp_async_wait<0>();
    __syncthreads();  // the values are there, and the keys are used
    if (key + block_keys < tile_end) copy_keys(key + block_keys);
    if (whole) {
      rows.template sum<true>(values, key, 0, scores);
    } else if (seen) {
      rows.template sum<false>(values, key, units, scores);
    }
    if (V != Visible::all && (key + block_keys) % chunk_keys == 0 && key + block_keys < tile_end)
      totals.next(rows.running);
  }
  if (V != Visible::all) totals.join(rows.running);

#pragma unroll
  for (int t = 0; t < RowTiles; ++t) store_rows(call, tile, first + tile_rows * t, rows.running[t]);
}

/// Returns the rows of a block, which the split kernel needs to know what is left to it.
template <int HeadDim, Visible V, PrefillPolicy P>
int run(Context& ctx, const Call<bf16>& call) {
  static_assert(P.row_tiles == 1 || P.row_tiles == 2, "PrefillPolicy: row_tiles must be 1 or 2");
  constexpr int block_rows = block_rows_of<P.row_tiles>;
  // A sequence has a tile for each block_rows rows, and one more if more than tile_rows are over.
  const std::int64_t rows = std::int64_t(call.batch.rows) * call.group;
  const std::int64_t tiles = std::min(
      (rows + std::int64_t(block_rows - tile_rows - 1) * call.batch.sequences) / block_rows, rows / (tile_rows + 1));
  SharedCarver carver;
  Shared<HeadDim, V, P.row_tiles> measure(carver);
  if (tiles > 0)
    launch(attention_prefill_kernel<HeadDim, V, P.row_tiles>,
           {.grid = unsigned(tiles * call.shape.kv_heads),
            .block = threads,
            .shared_bytes = carver.bytes(),
            .stream = ctx.stream},
           call);
  return block_rows;
}

}  // namespace ivl::IVL_CUDA::detail::prefill
