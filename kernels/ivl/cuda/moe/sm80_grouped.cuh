// Experts for many rows: prefill. Part of moe.cuh, which says what is computed.
//
//   order    sorts the pairs by expert and cuts each expert's into jobs of at most `rows` pairs: one block that counts,
//            or, where there are many pairs, a sort of the whole device and a block that cuts
//   gate_up  inner [pair] = act(gate_up x + bias)     a block a job and a tile of columns
//   down     outer [pair] = down inner + bias          likewise; outer is float, in working memory
//   combine  y += sum over a row's pairs of weight outer, in the order of `experts`, rounded once
//
// gate_up and down are sm80_gemm.cuh's main loop; only the loaders differ: rows are gathered on their way to shared
// memory, and codes wait in registers for a stage and become bf16 as they are stored there: those of MXFP4 with their
// scales, those of formats/coded.hpp as sm80_scaled_gemm.cuh has them, beside their scales. No number leaves the
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
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/mxfp4.cuh"
#include "ivl/cuda/linear/sm80_gemm.cuh"
#include "ivl/cuda/linear/sm80_scaled_gemm.cuh"
#include "ivl/cuda/moe/choose.hpp"
#include "ivl/cuda/moe/experts.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/bf16_pairs.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/device_wide.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/moe.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::grouped {

/// Pairs of one expert: sorted[first] ... sorted[first + number - 1].
struct Job {
  std::int32_t expert, first, number;
};

/// The pairs in the order of their experts.
struct JobList {
  std::int32_t* sorted;  // [pairs]
  Job* jobs;             // [most_jobs]
  std::int32_t* job_count;

  static std::int64_t most_jobs(std::int64_t pairs, int experts, int job_rows) {
    return std::min<std::int64_t>(pairs, experts) + pairs / job_rows;
  }
};

inline constexpr int order_threads = 1024;
static_assert(max_grouped_experts == order_threads, "grouped: a block that counts has an expert a thread");

/// Cuts the pairs of the thread's expert, of which there are `number`, into jobs; returns where they begin. All threads
/// of the block call it.
template <int JobRows>
__device__ inline int cut_jobs(int number, const JobList& list, std::uint64_t (&warp_totals)[32]) {
  const int expert = int(threadIdx.x), lane = expert % 32, warp = expert / 32;
  // What lies before an expert: jobs in the high half, pairs in the low one.
  const int jobs = (number + JobRows - 1) / JobRows;
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
  for (int job = 0; job < jobs; ++job)
    list.jobs[first_job + job] = {expert, first + job * JobRows, min(JobRows, number - job * JobRows)};
  if (expert == order_threads - 1) *list.job_count = first_job + jobs;
  return first;
}

/// One block, which counts. Within an expert the pairs lie as their threads come, which changes no result.
template <int JobRows>
__global__ void __launch_bounds__(order_threads)
    order_pairs_kernel(const std::int32_t* __restrict__ pair_experts, int pairs, JobList list) {
  IVL_SHARED(int[max_grouped_experts], next);  // an expert's number of pairs, then where its next one goes
  IVL_SHARED(std::uint64_t[32], warp_totals);
  const int expert = int(threadIdx.x);
  next[expert] = 0;
  __syncthreads();
  for (int pair = int(threadIdx.x); pair < pairs; pair += order_threads) atomicAdd(&next[pair_experts[pair]], 1);
  __syncthreads();
  next[expert] = cut_jobs<JobRows>(next[expert], list, warp_totals);
  __syncthreads();
  for (int pair = int(threadIdx.x); pair < pairs; pair += order_threads)
    list.sorted[atomicAdd(&next[pair_experts[pair]], 1)] = pair;
}

/// One block, which cuts what a sort put in order.
template <int JobRows>
__global__ void __launch_bounds__(order_threads)
    cut_sorted_pairs_kernel(const std::int32_t* __restrict__ sorted_experts, int pairs, JobList list) {
  IVL_SHARED(std::uint64_t[32], warp_totals);
  const int expert = int(threadIdx.x);
  const auto pairs_below = [&](int limit) {  // of experts below it
    int begin = 0, end = pairs;
    while (begin < end) {
      const int middle = begin + (end - begin) / 2;
      if (sorted_experts[middle] < limit) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  };
  cut_jobs<JobRows>(pairs_below(expert + 1) - pairs_below(expert), list, warp_totals);
}

/// The interface of gemm::StageLoader for rows that lie apart: those of the pairs `pairs[0]` ... `pairs[number - 1]`.
/// `shared_by` pairs are one row.
template <int TileRows, int Threads>
class GatherLoader {
 public:
  static constexpr int scalars = 8, rows_at_once = Threads * scalars / gemm::stage_depth,
                       copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0,
                "GatherLoader: the swizzle must be every copy's");

  __device__ GatherLoader(const bf16* matrix, std::int64_t stride, const std::int32_t* pairs, int number, int shared_by,
                          int depth) {
    const int row = int(threadIdx.x) * scalars / gemm::stage_depth,
              column = int(threadIdx.x) * scalars % gemm::stage_depth;
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      const int at = row + i * rows_at_once;
      inside_[i] = at < number;
      from_[i] = matrix + (inside_[i] ? pairs[at] / shared_by * stride : 0) + column;
    }
    depth_ = depth - column;
    to_ = gemm::chunk_offset(row, column / 8);
  }
  __device__ void copy(bf16* stage, int number) const {
    prim::cp_async<16>(stage + to_ + number * rows_at_once * gemm::stage_depth, from_[number],
                       inside_[number] && depth_ > 0 ? 16 : 0);
  }
  __device__ void advance() {
#pragma unroll
    for (int i = 0; i < copies; ++i) from_[i] += gemm::stage_depth;
    depth_ -= gemm::stage_depth;
  }

 private:
  const bf16* from_[copies];
  bool inside_[copies];
  int depth_, to_;
};

/// The interface of gemm::StageLoader for codes of MXFP4, which become bf16 on their way: a copy stores what was loaded
/// a stage before, and loads what the next stage needs.
template <int TileRows, int Threads>
class CodesLoader {
 public:
  static constexpr int blocks_a_row = gemm::stage_depth / mxfp4_block, rows_at_once = Threads / blocks_a_row;
  static constexpr int copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0, "CodesLoader: the swizzle must be every copy's");

  /// Of the matrix, which begins at the tile's first row, there are `rows` rows.
  __device__ CodesLoader(const mxfp4::Codes* codes, const std::uint8_t* scales, int rows, int depth)
      : row_(int(threadIdx.x) / blocks_a_row), block_(int(threadIdx.x) % blocks_a_row), blocks_(depth / mxfp4_block) {
    codes_ = codes + (row_ * std::int64_t(blocks_) + block_) * mxfp4_block_bytes;
    scales_ = scales + row_ * std::int64_t(blocks_) + block_;
    rows_ = rows - row_;
#pragma unroll
    for (int i = 0; i < copies; ++i) load(i);
    step();
  }
  __device__ void copy(bf16* stage, int number) {
    const mxfp4::Scale scale{next_scales_[number]};
    const std::uint32_t factor = scale.factor();
    const uint4& next = next_[number];
    const std::uint32_t words[4] = {next.x, next.y, next.z, next.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::uint32_t pairs[4];
      mxfp4::dequantise_word(words[i], factor, pairs);
      if (scale.large()) {
        for (std::uint32_t& pair : pairs) pair = prim::multiply_bf16_pairs(pair, scale.rest());
      }
      const int row = row_ + number * rows_at_once, chunk = int(threadIdx.x) % blocks_a_row * 4 + i;
      *reinterpret_cast<uint4*>(stage + gemm::chunk_offset(row, chunk)) = {pairs[0], pairs[1], pairs[2], pairs[3]};
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

  const mxfp4::Codes* codes_;
  const std::uint8_t* scales_;
  int row_, block_, blocks_, rows_;  // block_: of the next load
  uint4 next_[copies];
  std::uint8_t next_scales_[copies];
};

/// The stored scalar of matrices that formats/coded.hpp lays.
template <bool Bytes>
struct Coded {};
template <class Stored>
inline constexpr bool is_coded = false;
template <bool Bytes>
inline constexpr bool is_coded<Coded<Bytes>> = true;

template <class Stored, class Policy>
using TileOf = gemm::Tile<std::conditional_t<is_coded<Stored>, gemm::Scaled, bf16>, Policy>;

/// Calls visit(stored, policy) with the stored scalar of a format that choose_experts groups, as a type, and with its
/// policy.
template <class Visit>
void with_stored(Format format, const Visit& visit) {
  if (format == Format::bf16) return visit(std::type_identity<bf16>{}, Constant<grouped_gemm>{});
  if (is_mxfp4(format)) return visit(std::type_identity<mxfp4::Codes>{}, Constant<grouped_gemm>{});
  if (coded_layout(format).bytes()) return visit(std::type_identity<Coded<true>>{}, Constant<grouped_scaled_gemm>{});
  visit(std::type_identity<Coded<false>>{}, Constant<grouped_scaled_gemm>{});
}

/// What a job's products become.
enum class Product { gate_up, down };

struct Operands {
  const bf16* x;  // rows of x, or inner
  std::int64_t x_stride;
  int shared_by;  // pairs that are one row of x
  experts::Matrices w;
  CodedMatrix coded;  // expert 0, where that is its format
  ExpertActivation activation;
  JobList list;
  void* y;  // inner, or outer
  std::int64_t y_stride;
};

/// Four results of the tile's sums at a time.
template <Product P, class Tile>
__device__ inline void finish_job(const float* sums, const Operands& operands, const Job& job,
                                  const std::int32_t* pairs, int first_column) {
  constexpr int results = 4, step = P == Product::gate_up ? 2 : 1, columns = results * step;
  constexpr int threads_a_row = Tile::p.columns / columns;
  static_assert(Tile::threads % threads_a_row == 0, "finish_job: rows must be whole threads'");
  using Result = std::conditional_t<P == Product::gate_up, bf16, float>;
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
      if constexpr (P == Product::gate_up) {
        const float gate = from[2 * i] + bias[2 * i], up = from[2 * i + 1] + bias[2 * i + 1];
        result.values[i] = prim::narrow<bf16>(experts::activate(operands.activation, gate, up));
      } else {
        result.values[i] = from[i] + bias[i];
      }
    }
    Result* const to = static_cast<Result*>(operands.y) + pairs[row] * operands.y_stride + column / step;
    *reinterpret_cast<Pack<Result, results>*>(to) = result;
  }
}

template <Product P, class Stored, class Policy>
__global__ void __launch_bounds__(TileOf<Stored, Policy>::threads, Policy::value.blocks_per_sm)
    grouped_experts_kernel(Operands operands) {
  using Tile = TileOf<Stored, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);
  auto& shared = *reinterpret_cast<typename Tile::Shared*>(memory);
  const experts::Matrices& w = operands.w;
  const int tile_columns = (w.out + p.columns - 1) / p.columns;
  const int number = int(blockIdx.x) / tile_columns, first_column = int(blockIdx.x) % tile_columns * p.columns;
  if (number >= *operands.list.job_count) return;
  const Job job = operands.list.jobs[number];
  const std::int32_t* pairs = operands.list.sorted + job.first;
  GatherLoader<p.rows, Tile::threads> x(operands.x, operands.x_stride, pairs, job.number, operands.shared_by, w.in);
  if constexpr (is_coded<Stored>) {
    const CodedMatrix matrix = operands.coded.behind(job.expert * w.expert_bytes);
    scaled_gemm::CodesLoader<std::is_same_v<Stored, Coded<true>>, p.columns, Tile::threads> codes(matrix, w.out, w.in,
                                                                                                  first_column);
    gemm::multiply_tile<Tile>(shared, x, codes, w.in, {matrix.short_runs, matrix.layout.has_minimum});
  } else if constexpr (std::is_same_v<Stored, mxfp4::Codes>) {
    CodesLoader<p.columns, Tile::threads> codes(w.row<Stored>(job.expert, first_column),
                                                w.scales(job.expert, first_column), w.out - first_column, w.in);
    gemm::multiply_tile<Tile>(shared, x, codes, w.in);
  } else {
    gemm::StageLoader<bf16, p.columns, Tile::threads, 16> numbers(w.row<Stored>(job.expert, first_column), w.in,
                                                                  w.out - first_column, w.in);
    gemm::multiply_tile<Tile>(shared, x, numbers, w.in);
  }
  finish_job<P, Tile>(shared.sums, operands, job, pairs, first_column);
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

/// What lies in working memory.
struct Room {
  float* outer;  // [pairs, hidden]
  JobList list;
  std::int32_t* sorted_experts = nullptr;  // [pairs], with what sort_indices needs, where the device sorts
  std::byte* sorting = nullptr;

  std::int64_t carve(Carver carver, std::int64_t pairs, std::int64_t hidden, std::int64_t most_jobs,
                     std::size_t sorting_bytes) {
    outer = carver.take<float>(pairs * hidden);
    list.sorted = carver.take<std::int32_t>(pairs);
    list.jobs = carver.take<Job>(most_jobs);
    list.job_count = carver.take<std::int32_t>(1);
    if (sorting_bytes > 0) {
      sorted_experts = carver.take<std::int32_t>(pairs);
      sorting = carver.take<std::byte>(std::int64_t(sorting_bytes));
    }
    return std::int64_t(carver.used());
  }
};

template <int JobRows>
void order_pairs(Context& ctx, PairOrder order, const std::int32_t* pair_experts, int pairs, int key_bits,
                 const Room& room) {
  const LaunchConfig one_block{.grid = 1, .block = order_threads, .stream = ctx.stream};
  if (order == PairOrder::by_block)
    return launch(order_pairs_kernel<JobRows>, one_block, pair_experts, pairs, room.list);
  sort_indices(ctx, pair_experts, pairs, key_bits, room.sorting, room.sorted_experts, room.list.sorted);
  launch(cut_sorted_pairs_kernel<JobRows>, one_block, room.sorted_experts, pairs, room.list);
}

inline void run(Context& ctx, PairOrder order, const ExpertMlp& mlp, Rows<const bf16> x, const Routes& routes,
                Rows<bf16> inner, Rows<bf16> y) {
  constexpr int job_rows = grouped_gemm.rows;
  static_assert(grouped_scaled_gemm.rows == job_rows, "grouped: one list of jobs serves both products");
  const experts::Matrices gate_up(*mlp.gate_up, mlp.gate_up_bias), down(*mlp.down, mlp.down_bias);
  const std::int64_t pairs = x.count * routes.active;
  const std::int64_t most_jobs = JobList::most_jobs(pairs, mlp.gate_up->experts, job_rows);
  const int key_bits = std::max(1, int(std::bit_width(unsigned(mlp.gate_up->experts - 1))));
  const std::size_t sorting = order == PairOrder::by_device ? sort_indices_bytes(int(pairs), key_bits) : 0;
  Room room;
  const std::int64_t bytes = room.carve(Carver(), pairs, down.out, most_jobs, sorting);
  room.carve(Carver(ctx.scratch<std::byte>(bytes)), pairs, down.out, most_jobs, sorting);

  const auto multiply = [&](auto product, Format format, const Operands& operands) {
    with_stored(format, [&](auto stored, auto policy) {
      using Stored = typename decltype(stored)::type;
      using Tile = TileOf<Stored, decltype(policy)>;
      const std::int64_t blocks = most_jobs * ceil_div(operands.w.out, Tile::p.columns);
      launch(grouped_experts_kernel<decltype(product)::value, Stored, decltype(policy)>,
             {.grid = unsigned(blocks),
              .block = unsigned(Tile::threads),
              .shared_bytes = int(sizeof(typename Tile::Shared)),
              .stream = ctx.stream},
             operands);
    });
  };
  order_pairs<job_rows>(ctx, order, routes.experts, int(pairs), key_bits, room);
  const PlacedMatrix &of_gate_up = mlp.gate_up->all, &of_down = mlp.down->all;
  multiply(Constant<Product::gate_up>{}, of_gate_up.format(),
           Operands{x.data, x.stride, routes.active, gate_up, coded_matrix(of_gate_up), mlp.activation, room.list,
                    inner.data, inner.stride});
  multiply(Constant<Product::down>{}, of_down.format(),
           Operands{inner.data, inner.stride, 1, down, coded_matrix(of_down), mlp.activation, room.list, room.outer,
                    down.out});
  launch(combine_experts_kernel<>,
         {.grid = dim3(unsigned(x.count), unsigned(ceil_div(down.out, 4 * combine_threads))),
          .block = combine_threads,
          .stream = ctx.stream},
         room.outer, down.out, routes.weights, routes.active, y.data, y.stride);
}

}  // namespace detail::grouped

}  // namespace ivl::IVL_CUDA
