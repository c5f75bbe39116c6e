// Experts for many rows: prefill. Part of moe.cuh, which says what is computed.
//
//   order    sorts the pairs by expert, by counting, and cuts each expert's into jobs of at most `rows` pairs
//   gate_up  inner [pair] = act(gate_up x + bias)     a block a job and a tile of columns
//   down     outer [pair] = down inner + bias          likewise; outer is float, in working memory
//   combine  y += sum over a row's pairs of weight outer, in the order of `experts`, rounded once
//
// gate_up and down are gemm.cuh's main loop; only the loaders differ: rows are gathered on their way to shared memory,
// and codes of MXFP4 wait in registers for a stage and become bf16 as they are stored there. No number leaves the
// device: as many blocks are launched as the worst routes need, and those without a job leave.
//
// Flops 6 pairs hidden mlp_hidden; device memory moves the experts once for each of their jobs that the second cache
// does not see, and outer twice. Working memory: 4 hidden + 4 bytes a pair, and the jobs.
//
// The sum of a pair runs over `in` in order, whatever is beside it, so what an expert makes of a row depends neither on
// the other rows nor on their number.
//
// Registers at most 255 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/cuda/linear/gemm.cuh"
#include "ivl/cuda/moe/experts.cuh"
#include "ivl/cuda/moe/mxfp4.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/bf16_pairs.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/moe.hpp"

namespace ivl::cuda {

// ---- policy -----------------------------------------------------------------------------------------
/// Half of an expert's last job is empty on average: low tiles waste less.
inline constexpr GemmPolicy grouped_gemm{
    .rows = 64, .columns = 128, .warp_rows = 32, .warp_columns = 64, .stages = 3, .blocks_per_sm = 2};

// ---- device code ------------------------------------------------------------------------------------
namespace detail {

/// Pairs of one expert: sorted[first] ... sorted[first + number - 1].
struct ExpertJob {
  std::int32_t expert, first, number;
};

/// The pairs in the order of their experts.
struct ExpertOrder {
  std::int32_t* sorted;  // [pairs]
  ExpertJob* jobs;       // [most_jobs]
  std::int32_t* job_count;

  static std::int64_t most_jobs(std::int64_t pairs, int experts, int job_rows) {
    return std::min<std::int64_t>(pairs, experts) + pairs / job_rows;
  }
};

inline constexpr int order_threads = 1024;
inline constexpr int max_experts = order_threads;

/// One block. Within an expert the pairs lie as their threads come, which changes no result.
template <int JobRows>
__global__ void __launch_bounds__(order_threads)
    order_pairs_kernel(const std::int32_t* __restrict__ pair_experts, int pairs, ExpertOrder order) {
  IVL_SHARED(int[max_experts], next);  // an expert's number of pairs, then where its next one goes
  IVL_SHARED(std::uint64_t[32], warp_totals);
  const int expert = int(threadIdx.x), lane = expert % 32, warp = expert / 32;
  next[expert] = 0;
  __syncthreads();
  for (int pair = int(threadIdx.x); pair < pairs; pair += order_threads) atomicAdd(&next[pair_experts[pair]], 1);
  __syncthreads();

  // What lies before an expert: jobs in the high half, pairs in the low one.
  const int number = next[expert], jobs = (number + JobRows - 1) / JobRows;
  const std::uint64_t own = std::uint64_t(jobs) << 32 | std::uint64_t(number);
  std::uint64_t sum = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const std::uint64_t before = __shfl_up_sync(whole_warp, sum, unsigned(distance));
    if (lane >= distance) sum += before;
  }
  if (lane == 31) warp_totals[warp] = sum;
  __syncthreads();
  for (int i = 0; i < warp; ++i) sum += warp_totals[i];
  const std::uint64_t before = sum - own;
  const int first = int(before & 0xffffffffu), first_job = int(before >> 32);
  next[expert] = first;
  for (int job = 0; job < jobs; ++job)
    order.jobs[first_job + job] = {expert, first + job * JobRows, min(JobRows, number - job * JobRows)};
  if (expert == order_threads - 1) *order.job_count = first_job + jobs;
  __syncthreads();
  for (int pair = int(threadIdx.x); pair < pairs; pair += order_threads)
    order.sorted[atomicAdd(&next[pair_experts[pair]], 1)] = pair;
}

/// StageLoader's interface for rows that lie apart: those of the pairs `pairs[0]` ... `pairs[number - 1]`, `shared_by`
/// pairs of which are one row.
template <int TileRows, int Threads>
class GatherLoader {
 public:
  static constexpr int scalars = 8, rows_at_once = Threads * scalars / stage_depth, copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0,
                "GatherLoader: the swizzle must be every copy's");

  __device__ GatherLoader(const bf16* matrix, std::int64_t stride, const std::int32_t* pairs, int number, int shared_by,
                          int depth) {
    const int row = int(threadIdx.x) * scalars / stage_depth, column = int(threadIdx.x) * scalars % stage_depth;
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      const int at = row + i * rows_at_once;
      inside_[i] = at < number;
      from_[i] = matrix + (inside_[i] ? pairs[at] / shared_by * stride : 0) + column;
    }
    depth_ = depth - column;
    to_ = chunk_offset(row, column / 8);
  }
  __device__ void copy(bf16* stage, int number) const {
    prim::cp_async<16>(stage + to_ + number * rows_at_once * stage_depth, from_[number],
                       inside_[number] && depth_ > 0 ? 16 : 0);
  }
  __device__ void advance() {
#pragma unroll
    for (int i = 0; i < copies; ++i) from_[i] += stage_depth;
    depth_ -= stage_depth;
  }

 private:
  const bf16* from_[copies];
  bool inside_[copies];
  int depth_, to_;
};

/// StageLoader's interface for codes of MXFP4, which become bf16 on their way: a copy stores what was loaded a stage
/// before, and loads what the next stage needs.
template <int TileRows, int Threads>
class CodesLoader {
 public:
  static constexpr int blocks_a_row = stage_depth / mxfp4_block, rows_at_once = Threads / blocks_a_row;
  static constexpr int copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0, "CodesLoader: the swizzle must be every copy's");

  /// Of the matrix, which begins at the tile's first row, there are `rows` rows.
  __device__ CodesLoader(const Mxfp4* codes, const std::uint8_t* scales, int rows, int depth)
      : row_(int(threadIdx.x) / blocks_a_row), block_(int(threadIdx.x) % blocks_a_row), blocks_(depth / mxfp4_block) {
    codes_ = codes + (row_ * std::int64_t(blocks_) + block_) * mxfp4_block_bytes;
    scales_ = scales + row_ * std::int64_t(blocks_) + block_;
    rows_ = rows - row_;
#pragma unroll
    for (int i = 0; i < copies; ++i) load(i);
    step();
  }
  __device__ void copy(bf16* stage, int number) {
    const Mxfp4Scale scale{next_scales_[number]};
    const std::uint32_t factor = scale.factor();
    const uint4& next = next_[number];
    const std::uint32_t words[4] = {next.x, next.y, next.z, next.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::uint32_t pairs[4];
      dequantise_word(words[i], factor, pairs);
      if (scale.large()) {
        for (std::uint32_t& pair : pairs) pair = prim::multiply_bf16_pairs(pair, scale.rest());
      }
      const int row = row_ + number * rows_at_once, chunk = int(threadIdx.x) % blocks_a_row * 4 + i;
      *reinterpret_cast<uint4*>(stage + chunk_offset(row, chunk)) = {pairs[0], pairs[1], pairs[2], pairs[3]};
    }
    load(number);
  }
  __device__ void advance() { step(); }

 private:
  __device__ void load(int number) {
    const std::int64_t below = number * rows_at_once * std::int64_t(blocks_);
    const bool inside = number * rows_at_once < rows_ && block_ < blocks_;
    next_[number] = inside ? prim::load_read_only(codes_ + below * mxfp4_block_bytes) : uint4{0, 0, 0, 0};
    next_scales_[number] = inside ? scales_[below] : std::uint8_t(0);
  }
  __device__ void step() {
    codes_ += blocks_a_row * mxfp4_block_bytes;
    scales_ += blocks_a_row;
    block_ += blocks_a_row;
  }

  const Mxfp4* codes_;
  const std::uint8_t* scales_;
  int row_, block_, blocks_, rows_;  // block_: of the next load
  uint4 next_[copies];
  std::uint8_t next_scales_[copies];
};

/// What a job's products become.
enum class ExpertProduct { gate_up, down };

struct GroupedOperands {
  const bf16* x;  // rows of x, or inner
  std::int64_t x_stride;
  int shared_by;  // pairs that are one row of x
  ExpertMatrices w;
  ExpertActivation activation;
  ExpertOrder order;
  void* y;  // inner, or outer
  std::int64_t y_stride;
};

/// Four results of the tile's sums at a time.
template <ExpertProduct Product, class Tile>
__device__ inline void finish_job(const float* sums, const GroupedOperands& operands, const ExpertJob& job,
                                  const std::int32_t* pairs, int first_column) {
  constexpr int results = 4, step = Product == ExpertProduct::gate_up ? 2 : 1, columns = results * step;
  constexpr int threads_a_row = Tile::p.columns / columns;
  static_assert(Tile::threads % threads_a_row == 0, "finish_job: rows must be whole threads'");
  using Result = std::conditional_t<Product == ExpertProduct::gate_up, bf16, float>;
  const int at = int(threadIdx.x) % threads_a_row * columns, column = first_column + at;
  if (column >= operands.w.out) return;
  float bias[columns];
#pragma unroll
  for (int i = 0; i < columns; ++i) bias[i] = operands.w.bias_of(job.expert, column + i);
  for (int row = int(threadIdx.x) / threads_a_row; row < job.number; row += Tile::threads / threads_a_row) {
    const float* const from = sums + row * Tile::sums_pitch + at;
    Pack<Result, results> result;
#pragma unroll
    for (int i = 0; i < results; ++i) {
      if constexpr (Product == ExpertProduct::gate_up) {
        const float gate = from[2 * i] + bias[2 * i], up = from[2 * i + 1] + bias[2 * i + 1];
        result.values[i] = prim::narrow<bf16>(activate(operands.activation, gate, up));
      } else {
        result.values[i] = from[i] + bias[i];
      }
    }
    Result* const to = static_cast<Result*>(operands.y) + pairs[row] * operands.y_stride + column / step;
    *reinterpret_cast<Pack<Result, results>*>(to) = result;
  }
}

template <ExpertProduct Product, class Stored, class Policy>
__global__ void __launch_bounds__(GemmTile<bf16, Policy>::threads, Policy::value.blocks_per_sm)
    grouped_experts_kernel(GroupedOperands operands) {
  using Tile = GemmTile<bf16, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);
  const ExpertMatrices& w = operands.w;
  const int tile_columns = (w.out + p.columns - 1) / p.columns;
  const int number = int(blockIdx.x) / tile_columns, first_column = int(blockIdx.x) % tile_columns * p.columns;
  if (number >= *operands.order.job_count) return;
  const ExpertJob job = operands.order.jobs[number];
  const std::int32_t* pairs = operands.order.sorted + job.first;
  GatherLoader<p.rows, Tile::threads> x(operands.x, operands.x_stride, pairs, job.number, operands.shared_by, w.in);
  const Stored* first_row = w.row<Stored>(job.expert, first_column);
  if constexpr (std::is_same_v<Stored, Mxfp4>) {
    CodesLoader<p.columns, Tile::threads> codes(first_row, w.scales(job.expert, first_column), w.out - first_column,
                                                w.in);
    multiply_tile<Tile>(memory, x, codes, w.in);
  } else {
    StageLoader<bf16, p.columns, Tile::threads, 16> numbers(first_row, w.in, w.out - first_column, w.in);
    multiply_tile<Tile>(memory, x, numbers, w.in);
  }
  finish_job<Product, Tile>(reinterpret_cast<const float*>(memory), operands, job, pairs, first_column);
}

inline constexpr int combine_threads = 128;

/// Four columns of a row a thread.
template <class = void>
__global__ void __launch_bounds__(combine_threads)
    combine_experts_kernel(const float* __restrict__ outer, int width, const float* __restrict__ weights, int active,
                           bf16* y, std::int64_t y_stride) {
  using Sums = Pack<float, 4>;
  const int column = (int(blockIdx.y) * combine_threads + int(threadIdx.x)) * 4;
  if (column >= width) return;
  const std::int64_t row = blockIdx.x;
  Sums total = {};
  for (std::int64_t pair = row * active; pair < (row + 1) * active; ++pair) {
    const Sums part = *reinterpret_cast<const Sums*>(outer + pair * width + column);
    const float weight = weights[pair];
#pragma unroll
    for (int i = 0; i < 4; ++i) total.values[i] = fmaf(weight, part.values[i], total.values[i]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    bf16& result = y[row * y_stride + column + i];
    result = prim::narrow<bf16>(prim::widen(result) + total.values[i]);
  }
}

template <class Stored>
void grouped_experts(Context& ctx, const ExpertMlp& mlp, Rows<const bf16> x, const Routes& routes, Rows<bf16> inner,
                     Rows<bf16> y) {
  constexpr GemmPolicy p = grouped_gemm;
  using Tile = GemmTile<bf16, Constant<p>>;
  const ExpertMatrices gate_up(*mlp.gate_up, mlp.gate_up_bias), down(*mlp.down, mlp.down_bias);
  const std::int64_t pairs = x.count * routes.active;
  const std::int64_t most_jobs = ExpertOrder::most_jobs(pairs, mlp.gate_up->experts, p.rows);
  ExpertOrder order;
  float* outer;
  const auto carve = [&](Carver carver) {
    outer = carver.take<float>(pairs * down.out);
    order.sorted = carver.take<std::int32_t>(pairs);
    order.jobs = carver.take<ExpertJob>(most_jobs);
    order.job_count = carver.take<std::int32_t>(1);
    return std::int64_t(carver.used());
  };
  carve(Carver(ctx.scratch<std::byte>(carve(Carver()))));

  const auto run = [&](auto product, const GroupedOperands& operands) {
    const std::int64_t blocks = most_jobs * ceil_div(operands.w.out, p.columns);
    launch(grouped_experts_kernel<decltype(product)::value, Stored, Constant<p>>,
           {.grid = unsigned(blocks),
            .block = unsigned(Tile::threads),
            .shared_bytes = Tile::shared_bytes,
            .stream = ctx.stream},
           operands);
  };
  launch(order_pairs_kernel<p.rows>, {.grid = 1, .block = order_threads, .stream = ctx.stream}, routes.experts,
         int(pairs), order);
  run(Constant<ExpertProduct::gate_up>{},
      GroupedOperands{x.data, x.stride, routes.active, gate_up, mlp.activation, order, inner.data, inner.stride});
  run(Constant<ExpertProduct::down>{},
      GroupedOperands{inner.data, inner.stride, 1, down, mlp.activation, order, outer, down.out});
  launch(combine_experts_kernel<>,
         {.grid = dim3(unsigned(x.count), unsigned(ceil_div(down.out, 4 * combine_threads))),
          .block = combine_threads,
          .stream = ctx.stream},
         outer, down.out, routes.weights, routes.active, y.data, y.stride);
}

}  // namespace detail

}  // namespace ivl::cuda
