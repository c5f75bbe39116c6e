// argmax:  ids[r] = the lowest id whose logit is the largest of row r; -1 where one is NaN, or none is above -infinity
// draw:    ids[r] = the token drawn as draws[r] says: penalties, temperature, top-k, top-p, min-p, then the first
//          token, from the likeliest down, at which the sum of weights exceeds uniform * their total (in order of ids
//          where nothing is left out); weight = exp((logit - largest) / temperature). ops/sample.hpp in full
//
//   logits  [rows, width]   float; draw leaves the penalties in them
//   ids     [rows]          int32
//   draws   [rows]          what each row is drawn with, among it how many of its logits count
//   uses    [ids] each      int32 that draws point to, or null: a draw with them counts the id that it draws
//
// argmax is one launch. A block takes the largest of a slice of a row and leaves it in the context's working memory;
// the block that comes last to a row's counter takes the largest of the slices. Logit and id travel as one 64-bit key
// whose order is theirs, so the result depends on no order of blocks. Device memory moves 4 rows width bytes.
//
// draw is a block a row that sorts nothing. "The token at which a sum over tokens in order of their keys exceeds a
// target" is all that top-k (weights 1), top-p and the draw itself ask for. It is found by radix: a histogram of the
// sums for the highest 11 bits of the keys says which digit the token has; then the next bits, of those tokens alone.
// Weights are whole multiples of 2^-40 of the largest one: their sums are exact in any order, so nothing depends on how
// atomics fall. A question reads the row 3 times, 5 where the token has equals, from the second cache. Against the
// CPU's draw, whose weights are the same floats and sums doubles, this one differs where `uniform` falls within 1e-6 or
// so of the edge between two tokens.
//
// Registers at most 72 a thread, no spills. Goal: argmax 85 % of the copy bandwidth from 32 rows on, at one row little
// more than an empty launch; draw less than the copy of a row to the host. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/rows/choose.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::sample {

using Key = unsigned long long;

/// In the order of floats, zeros being equal.
__device__ inline unsigned ordered_bits(float x) {
  const unsigned bits = __float_as_uint(x == 0 ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// A larger logit has the larger key; of equal logits the lower id has it. A NaN has a larger key than all numbers.
__device__ inline Key key_of(float logit, int id) {
  const unsigned bits = logit == logit ? ordered_bits(logit) : ~0u;
  return Key(bits) << 32 | ~unsigned(id);
}

/// The id of the largest key of a row; -1 where it is that of a NaN or of -infinity.
__device__ inline int id_of(Key largest) {
  const unsigned bits = unsigned(largest >> 32);
  return bits == ~0u || bits == ordered_bits(__uint_as_float(0xff800000u)) ? -1 : int(~unsigned(largest));
}

__device__ inline Key larger(Key a, Key b) { return a > b ? a : b; }

/// Blocks (slice, row). `found` [rows, slices] and `arrived` [rows], all zero, are the context's.
template <int Number, class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    argmax_kernel(const float* __restrict__ logits, std::int64_t stride, int width, Key* found, unsigned* arrived,
                  std::int32_t* ids) {
  constexpr int threads = Policy::value.threads_per_block, packs = Policy::value.logits_per_thread / Number;
  IVL_SHARED(Key[32], partial);
  IVL_SHARED(unsigned, came_before);
  const int slice = int(blockIdx.x), slices = int(gridDim.x), row = int(blockIdx.y);
  logits += row * stride;

  // All loads first, so that they are under way together.
  Pack<float, Number> some[packs];
  const int begin = slice * threads * packs * Number + int(threadIdx.x) * Number;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    const int id = begin + p * threads * Number;
    if (id + Number <= width) {
      some[p] = *reinterpret_cast<const Pack<float, Number>*>(logits + id);
    } else {
#pragma unroll
      for (int i = 0; i < Number; ++i) {
        if (id + i < width) some[p].values[i] = logits[id + i];
      }
    }
  }
  Key largest = 0;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
#pragma unroll
    for (int i = 0; i < Number; ++i) {
      const int id = begin + p * threads * Number + i;
      if (id < width) largest = larger(largest, key_of(some[p].values[i], id));
    }
  }
  largest = block_reduce(largest, Key(0), partial, larger);

  if (threadIdx.x == 0) {
    found[row * slices + slice] = largest;
    came_before = prim::add_acquire_release(&arrived[row], 1);
  }
  __syncthreads();
  if (came_before + 1 != unsigned(slices)) return;
  largest = 0;
  for (int s = int(threadIdx.x); s < slices; s += threads) largest = larger(largest, found[row * slices + s]);
  largest = block_reduce(largest, Key(0), partial, larger);
  if (threadIdx.x == 0) {
    ids[row] = id_of(largest);
    arrived[row] = 0;
  }
}

// Keys of draw: 32 bits of the logit over 22 of the id, in digits from the top. Ascending ids have descending keys.
inline constexpr int id_bits = 22, digits = 5;
inline constexpr int max_bins = 1 << 11;
/// Bits below the digit.
__device__ inline int shift_of(int digit) {
  return digit == 0 ? 43 : digit == 1 ? 32 : digit == 2 ? id_bits : digit == 3 ? 11 : 0;
}

struct Histogram {
  unsigned long long weights[max_bins];
  unsigned counts[max_bins];  // and ids: of the digit that ends the logit
  unsigned ids[max_bins];
  int digit;
  unsigned long long before;  // weight of the digits above it
};

/// The block's view of one row.
struct DrawRow {
  const float* logits;
  int width;

  __device__ unsigned long long key(int id) const {
    return static_cast<unsigned long long>(ordered_bits(logits[id])) << id_bits | ((1u << id_bits) - 1 - unsigned(id));
  }
  template <class Visit>
  __device__ void each(const Visit& visit) const {
    for (int id = int(threadIdx.x); id < width; id += int(blockDim.x)) visit(id, key(id));
  }
};

/// The digit at which the weights of the histogram, from the highest digit down, first exceed `target`.
__device__ inline void find_digit(Histogram& histogram, int bins, unsigned long long target) {
  if (threadIdx.x >= 32) return;
  const int lane = int(threadIdx.x), share = bins / 32, top = bins - 1 - lane * share;
  unsigned long long sum = 0;
  for (int i = 0; i < share; ++i) sum += histogram.weights[top - i];
  unsigned long long until = sum;  // with the lanes before
  for (int distance = 1; distance < 32; distance *= 2) {
    const unsigned long long other = __shfl_up_sync(whole_warp, until, unsigned(distance));
    if (lane >= distance) until += other;
  }
  unsigned long long before = until - sum;
  if (before > target || until <= target) return;
  int digit = top;
  while (before + histogram.weights[digit] <= target) before += histogram.weights[digit--];
  histogram.digit = digit;
  histogram.before = before;
}

/// The key of the token at which the weights of tokens, in descending order of their keys, first exceed `target`, which
/// all of them together do. weight(id, key) is a whole number. Without `by_logit` the order is that of ids.
template <class Weight>
__device__ inline unsigned long long select(const DrawRow& row, bool by_logit, unsigned long long target,
                                            const Weight& weight, Histogram& histogram) {
  constexpr unsigned long long id_mask = (1u << id_bits) - 1;
  const unsigned long long mask = by_logit ? ~0ull : id_mask;
  unsigned long long prefix = 0;
  for (int digit = by_logit ? 0 : 3; digit < digits; ++digit) {
    const int shift = shift_of(digit), end = digit == 0 ? id_bits + 32 : shift_of(digit - 1);
    const int bins = 1 << (end - shift);
    for (int i = int(threadIdx.x); i < bins; i += int(blockDim.x)) {
      histogram.weights[i] = 0;
      histogram.counts[i] = 0;
      histogram.ids[i] = ~0u;
    }
    __syncthreads();
    row.each([&](int id, unsigned long long key) {
      if ((key & mask) >> end != prefix) return;
      const unsigned long long some = weight(id, key);
      if (some == 0) return;
      const int bin = int(key >> shift) & (bins - 1);
      atomicAdd(&histogram.weights[bin], some);
      if (digit == 2) {
        atomicAdd(&histogram.counts[bin], 1u);
        atomicMin(&histogram.ids[bin], unsigned(id));
      }
    });
    __syncthreads();
    find_digit(histogram, bins, target);
    __syncthreads();
    const int bin = histogram.digit;
    target -= histogram.before;
    prefix = prefix << (end - shift) | unsigned(bin);
    const bool alone = digit == 2 && histogram.counts[bin] == 1;
    const unsigned id = histogram.ids[bin];
    __syncthreads();
    if (alone) return prefix << id_bits | (id_mask - id);
  }
  return prefix;
}

/// A block a row. A multiprocessor has room for one: without the 1, registers are counted out for two and spill.
template <class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block, 1)
    draw_kernel(const Draw* __restrict__ draws, float* logits, std::int64_t stride, std::int32_t* ids) {
  using Whole = unsigned long long;
  IVL_SHARED(Key[32], partial);
  IVL_SHARED(Histogram, histogram);
  const Draw draw = draws[blockIdx.x];
  const int width = draw.ids;
  logits += blockIdx.x * stride;
  const auto sum = [](Whole a, Whole b) { return a + b; };

  Key best = 0;
  for (int id = int(threadIdx.x); id < width; id += int(blockDim.x)) {
    float logit = logits[id];
    if (draw.uses && draw.uses[id] != 0) {
      logit = logit > 0 ? logit / draw.repetition_penalty : logit * draw.repetition_penalty;
      const int of_answer = draw.uses[id] - 1;
      if (of_answer > 0) logit = fmaf(-draw.frequency_penalty, float(of_answer), logit) - draw.presence_penalty;
      logits[id] = logit;
    }
    best = larger(best, key_of(logit, id));
  }
  best = block_reduce(best, Key(0), partial, larger);
  const int best_id = id_of(best);
  if (best_id < 0) {
    if (threadIdx.x == 0) ids[blockIdx.x] = -1;
    return;
  }
  const float largest = logits[best_id], temperature = draw.temperature;

  const DrawRow row{logits, width};
  Whole least = 0, total = 0;  // the key from which on tokens are kept, the sum of their weights
  const auto weight = [&](int id, Whole key) -> Whole {
    const float w = expf((logits[id] - largest) / temperature);
    return key >= least && w > 0 ? Whole(w * 0x1p40f) : 0;
  };
  const auto likely_weight = [&](int id, Whole key) -> Whole {
    const float w = expf((logits[id] - largest) / temperature);
    return key >= least && w > 0 && w >= draw.min_p ? Whole(w * 0x1p40f) : 0;
  };
  const auto add_up = [&](const auto& weights) {
    Whole some = 0;
    row.each([&](int id, Whole key) { some += weights(id, key); });
    return block_reduce(some, Whole(0), partial, sum);
  };

  const auto take = [&](int id) {
    if (threadIdx.x != 0) return;
    ids[blockIdx.x] = id;
    if (draw.uses) draw.uses[id] += draw.uses[id] == 0 ? 2 : 1;
  };
  if (temperature > 0) {
    const bool fewer = draw.top_k > 0 && draw.top_k < width;
    if (fewer) {
      least = select(
          row, true, Whole(draw.top_k - 1), [](int, Whole) { return Whole(1); }, histogram);
      least &= ~Whole((1u << id_bits) - 1);  // its equals too
    }
    if (draw.top_p < 1) {
      total = add_up(weight);
      const double wanted = ceil(double(draw.top_p) * double(total));
      if (total > 0) least = select(row, true, wanted < 1 ? 0 : Whole(wanted) - 1, weight, histogram);
    }
    total = add_up(likely_weight);
    if (total > 0) {
      const Whole target = min(Whole(draw.uniform * double(total)), total - 1);
      const bool in_order = fewer || draw.top_p < 1 || draw.min_p > 0;
      const Whole key = select(row, in_order, target, likely_weight, histogram);
      return take(int((1u << id_bits) - 1 - (unsigned(key) & ((1u << id_bits) - 1))));
    }
  }
  take(best_id);  // greedy, or nothing has a weight: the largest is infinite
}

}  // namespace detail::sample

// ---- launchers --------------------------------------------------------------------------------------
template <ArgmaxPolicy P = ArgmaxPolicy{}>
void argmax(Context& ctx, Rows<const float> logits, std::int32_t* ids) {
  static_assert(MultipleOf<P.threads_per_block, 32>, "ArgmaxPolicy: threads_per_block must be whole warps");
  static_assert(MultipleOf<P.logits_per_thread, 4>, "ArgmaxPolicy: logits_per_thread must be whole loads of 16 bytes");
  expect(logits.width() > 0, "argmax on CUDA: expected logits, found rows of none");
  if (logits.count == 0) return;
  const std::int64_t slices = choose_argmax_slices(logits.width(), P);
  const bool packs = logits.stride % 4 == 0 && aligned(logits.data, 16);
  const auto kernel =
      packs ? detail::sample::argmax_kernel<4, Constant<P>> : detail::sample::argmax_kernel<1, Constant<P>>;
  launch(kernel,
         {.grid = {unsigned(slices), unsigned(logits.count)},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         logits.data, logits.stride, int(logits.width()), ctx.scratch<detail::sample::Key>(logits.count * slices),
         ctx.counters(logits.count), ids);
}

/// Throws RequestError for rows of more than 2^22.
template <DrawPolicy P = DrawPolicy{}>
void draw(Context& ctx, const Draw* draws, Rows<float> logits, std::int32_t* ids) {
  static_assert(MultipleOf<P.threads_per_block, 32>, "DrawPolicy: threads_per_block must be whole warps");
  expect(logits.width() > 0 && logits.width() <= 1 << detail::sample::id_bits, "draw on CUDA: expected rows of 1 to ",
         1 << detail::sample::id_bits, " logits, found ", logits.width());
  if (logits.count == 0) return;
  launch(detail::sample::draw_kernel<Constant<P>>,
         {.grid = unsigned(logits.count), .block = unsigned(P.threads_per_block), .stream = ctx.stream}, draws,
         logits.data, logits.stride, ids);
}

static_assert(SampleOps<Context>);

}  // namespace ivl::IVL_CUDA
