// y = epilogue(x W^T) for 1 to 8 rows: decode with weights that formats/coded.hpp lays, by one kernel for codes of
// eight bits and one for fewer.
//
//   x  [rows, in]    bf16            rows aligned to 16 bytes
//   W  [out, in]     as formats/coded.hpp lays it
//   y  [rows, out]   bf16 or float   or [rows, out / 2] after swi_glu
//
// Bytes: W once, as it is stored, and x once a block, out of the caches. docs/cuda.md has each format's.
//
// A block makes 16 columns of y for all rows. Its eight warps take turns over chunks of 128 of k (64 where a code is a
// byte), in which a lane copies sixteen bytes of two rows of W. Here W is the tall operand of mma.sync, so all of its
// lanes hold weights, even for one row of x: a step of 16 of k is one product, in which a lane has four weights of
// row `lane / 4` and of the row 8 below. Runs of 32 or 16 are summed on their own and join the sums with their scale
// and minimum, as in sm80_scaled_gemm.cuh; how often a minimum is taken off is one more product, of x with ones. The
// eight sums of an element are added in the order of the warps. So a row's bits depend on x, W and `in`, not on the
// rows beside it.
//
// Codes come by cp.async through a ring of each warp, where the sixteen bytes of a row's unit (a quarter of a chunk)
// lie so that neither copying nor reading them meets a bank twice. Scales and high bits of a unit are loaded by one of
// a row's four lanes, a chunk ahead, and the other three ask it.
//
// Registers at most 128 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/coded.cuh"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/sm80_gemv.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::coded_gemv {

inline constexpr int warps = gemv::warps, columns = 16, stages = 5;

/// What a warp takes at a time, of 16 rows of W: four units of 16 bytes each, a row.
template <bool Bytes>
struct Chunk {
  static constexpr int unit = Bytes ? 16 : 32, depth = 4 * unit, steps = depth / 16, steps_a_unit = unit / 16;
};

/// The scales and high bits of one row's unit, as they lie in memory.
template <bool Bytes>
struct Unit {
  static constexpr int steps = Chunk<Bytes>::steps_a_unit;
  CodedScale scales[steps];  // of runs of 32 only the first
  std::uint32_t high[steps] = {};

  Unit() = default;
  __device__ Unit(const CodedMatrix& w, std::int64_t row, int k) {
#pragma unroll
    for (int i = 0; i < steps; ++i) {
      if (i == 0 || w.short_runs) scales[i] = CodedScale(w, row, k + 16 * i);
      if constexpr (!Bytes) high[i] = high_bits_at(w, row, k + 16 * i);
    }
  }
};

/// A warp's part of sixteen columns: those of the lane's two rows of W, `lane / 4` and 8 below, and of two rows of x.
template <bool Bytes>
class WarpColumns {
 public:
  using Chunk = coded_gemv::Chunk<Bytes>;
  using Ring = uint4[stages][2][32];

  /// first_column: of the block.
  __device__ WarpColumns(const CodedMatrix& w, Ring& ring, int first_column, int out, int in)
      : w_(w), ring_(ring), row_(first_column + group()), out_(out), in_(in) {}

  /// Adds chunks warp, warp + 8, ... of the row. x_row: row lane / 4 of x, or null.
  __device__ void multiply(int warp, const bf16* x_row) {
    constexpr int turn = warps * Chunk::depth;
    const int first = warp * Chunk::depth;
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) fetch(first + i * turn, i);
    Unit<Bytes> next[2] = {load(first, 0), load(first, 1)};
    int slot = 0, emptied = stages - 1;  // emptied: the slot that was read last, which the next fetch fills
    for (int k = first; k < in_; k += turn) {
      take(next);
#pragma unroll
      for (int half = 0; half < 2; ++half) next[half] = load(k + turn, half);
      uint2 x[Chunk::steps];
#pragma unroll
      for (int step = 0; step < Chunk::steps; ++step) {
        const int at = k + 16 * step;
        x[step] =
            x_row != nullptr && at < in_ ? *reinterpret_cast<const uint2*>(x_row + at + 4 * place()) : uint2{0, 0};
      }
      prim::cp_async_wait<stages - 2>();
      __syncwarp();  // all lanes' copies are there, and nobody reads the emptied slot any more
      fetch(k + (stages - 1) * turn, emptied);
#pragma unroll
      for (int step = 0; step < Chunk::steps; ++step) multiply_step(slot, step, x[step]);
      emptied = slot;
      slot = slot + 1 < stages ? slot + 1 : 0;
    }
  }
  /// The sums as floats [8][16] in shared memory.
  __device__ void store(float (&to)[8][columns]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[2 * place() + i % 2][group() + i / 2 * 8] = sums_[i];
  }

 private:
  static __device__ int group() { return int(threadIdx.x) % 32 / 4; }
  static __device__ int place() { return int(threadIdx.x) % 4; }

  /// Where a unit of a row lies in its half of a slot: units of eight rows, and four units of two rows, are in
  /// different banks.
  static __device__ int ring_place(int row, int unit) { return 8 * unit + (row ^ 2 * unit); }

  /// The lane's unit of the chunk that begins at k is a row's `place()`-th.
  __device__ bool inside(int k, int half) const { return k < in_ && row_ + 8 * half < out_; }
  __device__ void fetch(int k, int slot) {
    const int own = k + place() * Chunk::unit;
    if (k < in_) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const bool there = inside(own, half);
        const std::int64_t at = there ? (row_ + 8 * half) * w_.row_codes + (Bytes ? own : own / 2) : 0;
        prim::cp_async<16>(&ring_[slot][half][ring_place(group(), place())], w_.codes + at, there ? 16 : 0);
      }
    }
    prim::cp_async_commit();
  }
  __device__ Unit<Bytes> load(int k, int half) const {
    const int own = k + place() * Chunk::unit;
    return inside(own, half) ? Unit<Bytes>(w_, row_ + 8 * half, own) : Unit<Bytes>();
  }
  /// What the lane has for the others: its unit of both rows.
  __device__ void take(const Unit<Bytes> (&units)[2]) {
    const CodedLayout& layout = w_.layout;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if constexpr (!Bytes) minus_zero_[half] = coded::minus_zero(units[half].scales[0].zero_of(layout));
#pragma unroll
      for (int i = 0; i < Chunk::steps_a_unit; ++i) {
        scale_[half][i] = units[half].scales[i].scale(layout) * layout.factor;
        if (layout.has_minimum) minimum_[half][i] = units[half].scales[i].minimum(layout);
        if constexpr (!Bytes) high_[half][i] = coded::two_halves(units[half].high[i], layout.high_bits);
      }
    }
  }
  /// A value of the lane of this row that took unit `unit`.
  template <class Value>
  static __device__ Value of_unit(Value value, int unit) {
    return __shfl_sync(whole_warp, value, unit, 4);
  }

  /// Step `step` of the chunk in `slot`; x: four neighbours of a row.
  __device__ void multiply_step(int slot, int step, uint2 x) {
    const int unit = step / Chunk::steps_a_unit, in_unit = step % Chunk::steps_a_unit;
    if (w_.short_runs || step % 2 == 0) {
#pragma unroll
      for (int i = 0; i < 4; ++i) run_[i] = x_sums_[i] = 0;
    }
    std::uint32_t pairs[2][2];  // [half]
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto* const words = reinterpret_cast<const std::uint32_t*>(&ring_[slot][half][ring_place(group(), unit)]);
      if constexpr (Bytes) {
        coded::byte_pairs(w_.layout.kind == CodeKind::e4m3, words[place()], pairs[half]);
      } else {
        nibble_pairs(words[2 * in_unit + place() / 2] >> 8 * (place() % 2), half, unit, in_unit, pairs[half]);
      }
    }
    const std::uint32_t a[4] = {pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]}, b[2] = {x.x, x.y};
    prim::mma_m16n8k16<bf16>(run_, a, b);
    if (w_.layout.has_minimum) {
      constexpr std::uint32_t one = 0x3f803f80u;
      const std::uint32_t ones[4] = {one, one, one, one};
      prim::mma_m16n8k16<bf16>(x_sums_, ones, b);
    }
    if (w_.short_runs) {
      join(unit, in_unit);
    } else if (step % 2 == 1) {  // of a run's first step: the second may be behind the end of the row
      join((step - 1) / Chunk::steps_a_unit, 0);
    }
  }
  /// word: codes 4 place() ... 4 place() + 3 of the step are its first two pairs.
  __device__ void nibble_pairs(std::uint32_t word, int half, int unit, int in_unit, std::uint32_t (&to)[2]) {
    const CodedLayout& layout = w_.layout;
    if (layout.kind == CodeKind::iq4) {
      std::uint32_t bytes[2];
      coded::iq4_bytes(word, bytes);
      return coded::byte_pairs(false, bytes[0], to);
    }
    const std::uint32_t minus_zero = layout.has_zeros ? of_unit(minus_zero_[half], unit) : minus_zero_[half];
    const std::uint32_t high = layout.high_bits == 0 ? 0 : of_unit(high_[half][in_unit], unit);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      to[i] = coded::int4_pair(word >> 4 * i, high, layout.high_bits, 2 * place() + i, minus_zero);
  }
  /// The run joins the sums.
  __device__ void join(int unit, int in_unit) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float scale = of_unit(scale_[half][in_unit], unit);
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) sums_[i] = fmaf(run_[i], scale, sums_[i]);
      if (w_.layout.has_minimum) {
        const float minimum = of_unit(minimum_[half][in_unit], unit);
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) sums_[i] = fmaf(-x_sums_[i], minimum, sums_[i]);
      }
    }
  }

  const CodedMatrix& w_;
  Ring& ring_;
  int row_, out_, in_;
  float sums_[4] = {}, run_[4], x_sums_[4];
  // Of the lane's unit of both rows.
  float scale_[2][Chunk::steps_a_unit], minimum_[2][Chunk::steps_a_unit];
  std::uint32_t minus_zero_[2], high_[2][Chunk::steps_a_unit];
};

template <bool Bytes, class Result>
__global__ void __launch_bounds__(32 * warps, 2)
    coded_gemv_kernel(const bf16* __restrict__ x, std::int64_t x_stride, int rows, CodedMatrix w, int out, int in,
                      EpilogueKind kind, epilogue::Terms terms, Result* y, std::int64_t y_stride) {
  using Warp = WarpColumns<Bytes>;
  IVL_SHARED(typename Warp::Ring[warps], rings);
  IVL_SHARED(float[warps][max_coded_gemv_rows][columns], partial);
  const int warp = int(threadIdx.x) / 32, group = int(threadIdx.x) % 32 / 4;
  const int first_column = int(blockIdx.x) * columns;
  Warp sums(w, rings[warp], first_column, out, in);
  sums.multiply(warp, group < rows ? x + group * x_stride : nullptr);
  sums.store(partial[warp]);
  __syncthreads();
  gemv::add_warps(partial, rows, [&](int row, int column, float2 total) {
    gemv::store_pair(kind, terms, first_column + column, out, total, y + row * y_stride);
  });
}

}  // namespace detail::coded_gemv

// ---- launchers --------------------------------------------------------------------------------------
/// x.count is at most max_coded_gemv_rows; w [out, x.width()], and rows of x are whole 16-byte copies: RequestError
/// otherwise.
template <class Result>
void coded_gemv(Context& ctx, Rows<const bf16> x, const detail::CodedMatrix& w, std::int64_t out,
                const Epilogue& epilogue, Rows<Result> y) {
  expect(x.count <= max_coded_gemv_rows && in_packs<8>(x), "coded_gemv on CUDA: expected at most ", max_coded_gemv_rows,
         " rows of x that start at multiples of 16 bytes, found ", x.count, " of ", x.width(), " scalars, ", x.stride,
         " from row to row");
  if (x.count == 0 || out == 0) return;
  const auto kernel = w.bytes ? detail::coded_gemv::coded_gemv_kernel<true, Result>
                              : detail::coded_gemv::coded_gemv_kernel<false, Result>;
  launch(kernel,
         {.grid = unsigned(ceil_div(out, detail::coded_gemv::columns)),
          .block = unsigned(32 * detail::coded_gemv::warps),
          .stream = ctx.stream},
         x.data, x.stride, int(x.count), w, int(out), int(x.width()), epilogue.kind, detail::epilogue::Terms(epilogue),
         y.data, y.stride);
}

}  // namespace ivl::IVL_CUDA
