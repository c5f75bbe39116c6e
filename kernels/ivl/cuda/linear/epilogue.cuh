// What becomes of the float sums of a matrix product: the device side of ops/linear.hpp's Epilogue.
//
//   u = scale * (sum + bias)      store: y = u     gelu: y = u Phi(u)     add: y += u     swi_glu: y = silu(gate) up
//
// The kind is a template argument of kernels; bias and scale [out] come at run time, and null leaves their term out.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/math.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA::detail::epilogue {

/// How many columns of W's product make one of y.
template <EpilogueKind Kind>
inline constexpr int columns_per_result = Kind == EpilogueKind::swi_glu ? 2 : 1;

/// Of one column of the product. Without bias and scale they change no bit (but that of the sign of a zero).
struct ColumnTerms {
  float bias = 0, scale = 1;
  __device__ float operator()(float sum) const { return (sum + bias) * scale; }
};

/// A kernel's parameter.
struct Terms {
  const float *bias, *scale;  // [out] or null

  explicit Terms(const Epilogue& epilogue) : bias(epilogue.bias), scale(epilogue.scale) {}
  __device__ ColumnTerms at(int column) const {
    ColumnTerms terms;
    if (bias) terms.bias = bias[column];
    if (scale) terms.scale = scale[column];
    return terms;
  }
};

/// u Phi(u) = u erfc(-u / sqrt 2) / 2: the tail is a product, so it keeps its relative precision where 1 + erf would
/// cancel.
__device__ inline float gelu(float u) { return 0.5f * u * erfcf(-0.70710678f * u); }

/// u / (1 + e^-u); 0 where e^-u overflows.
__device__ inline float silu(float u) { return u * prim::reciprocal_approx(1 + expf(-u)); }

/// y of one column, before its one rounding. `before` is what y was, which only `add` needs.
template <EpilogueKind Kind>
__device__ inline float finish_column(const ColumnTerms& terms, float sum, float before) {
  static_assert(Kind != EpilogueKind::swi_glu, "finish_column: swi_glu needs two columns, see finish_pair");
  if constexpr (Kind == EpilogueKind::add) {
    return fmaf(sum + terms.bias, terms.scale, before);
  } else if constexpr (Kind == EpilogueKind::gelu) {
    return gelu(terms(sum));
  } else {
    return terms(sum);
  }
}

/// y of the columns 2j and 2j + 1 under swi_glu.
__device__ inline float finish_pair(const ColumnTerms& gate_terms, float gate, const ColumnTerms& up_terms, float up) {
  return silu(gate_terms(gate)) * up_terms(up);
}

/// Where the results of a product's tiles go; a kernel's parameter where the kind is known at run time only.
template <class Result>
struct Target {
  EpilogueKind kind;
  Terms terms;
  Result* y;  // [rows, out], or [rows, out / 2] under swi_glu
  std::int64_t y_stride;
  bool y_in_packs;  // every row of y is whole, aligned packs of 4
  int rows, out;

  Target(const Epilogue& epilogue, Rows<Result> y, int out)
      : kind(epilogue.kind),
        terms(epilogue),
        y(y.data),
        y_stride(y.stride),
        y_in_packs(in_packs<4>(y)),
        rows(int(y.count)),
        out(out) {}
};

/// The block's share of finish_tile, one kind of it.
template <EpilogueKind Kind, int TileRows, int TileColumns, int Pitch, int Threads, class Result>
__device__ inline void finish_tile_of(const float* sums, int first_row, int first_column,
                                      const Target<Result>& target) {
  constexpr int step = columns_per_result<Kind>, results = 4, columns = step * results;  // of a thread at once
  constexpr int threads_a_row = TileColumns / columns, rows_at_once = Threads / threads_a_row;
  static_assert(Threads % threads_a_row == 0 && Pitch % 4 == 0,
                "finish_tile: a tile's rows must be whole packs, and whole shares of the block's threads");
  using Results = Pack<Result, results>;
  using Sums = Pack<float, 4>;

  const int at_column = int(threadIdx.x) % threads_a_row * columns, column = first_column + at_column;
  if (column >= target.out) return;
  const int wanted = min(results, (target.out - column) / step);
  const bool pack = target.y_in_packs;  // then every share of a row is whole
  ColumnTerms terms[columns];
#pragma unroll
  for (int i = 0; i < columns; ++i) {
    if (i < wanted * step) terms[i] = target.terms.at(column + i);
  }
  Result* y = target.y + column / step;
  const int rows = min(TileRows, target.rows - first_row);
  // `add` waits until y's old values are loaded: for several rows at once.
  constexpr int together = Kind == EpilogueKind::add ? 8 : 1;
  for (int first = int(threadIdx.x) / threads_a_row; first < rows; first += together * rows_at_once) {
    Results before[together];
    if constexpr (Kind == EpilogueKind::add) {
#pragma unroll
      for (int t = 0; t < together; ++t) {
        const int row = first + t * rows_at_once;
        const Result* const from = y + (first_row + row) * target.y_stride;
        if (row >= rows) continue;
        if (pack) {
          before[t] = *reinterpret_cast<const Results*>(from);
        } else {
#pragma unroll
          for (int i = 0; i < results; ++i) before[t].values[i] = i < wanted ? from[i] : Result{};
        }
      }
    }
#pragma unroll
    for (int t = 0; t < together; ++t) {
      const int row = first + t * rows_at_once;
      if (row >= rows) continue;
      Sums sum[step];
#pragma unroll
      for (int i = 0; i < step; ++i) sum[i] = *reinterpret_cast<const Sums*>(sums + row * Pitch + at_column + 4 * i);
      Results result;
#pragma unroll
      for (int i = 0; i < results; ++i) {
        float value;
        if constexpr (Kind == EpilogueKind::swi_glu) {
          const float* const pair = sum[i / 2].values + i % 2 * 2;
          value = finish_pair(terms[2 * i], pair[0], terms[2 * i + 1], pair[1]);
        } else {
          const float old = Kind == EpilogueKind::add ? prim::widen(before[t].values[i]) : 0.0f;
          value = finish_column<Kind>(terms[i], sum[0].values[i], old);
        }
        result.values[i] = prim::narrow<Result>(value);
      }
      Result* const to = y + (first_row + row) * target.y_stride;
      if (pack) {
        *reinterpret_cast<Results*>(to) = result;
      } else {
#pragma unroll
        for (int i = 0; i < results; ++i) {
          if (i < wanted) to[i] = result.values[i];
        }
      }
    }
  }
}

/// A tile of float sums in shared memory, [TileRows][Pitch], becomes rows and columns of y. All threads of the block
/// call it, after a barrier behind the writes of `sums`. Loads and stores are packs of four results where y allows.
template <int TileRows, int TileColumns, int Pitch, int Threads, class Result>
__device__ inline void finish_tile(const float* sums, int first_row, int first_column, const Target<Result>& target) {
  const auto finish = [&](auto kind) {
    finish_tile_of<decltype(kind)::value, TileRows, TileColumns, Pitch, Threads>(sums, first_row, first_column, target);
  };
  switch (target.kind) {
    case EpilogueKind::store:
      return finish(Constant<EpilogueKind::store>{});
    case EpilogueKind::gelu:
      return finish(Constant<EpilogueKind::gelu>{});
    case EpilogueKind::add:
      return finish(Constant<EpilogueKind::add>{});
    case EpilogueKind::swi_glu:
      return finish(Constant<EpilogueKind::swi_glu>{});
  }
}

}  // namespace ivl::IVL_CUDA::detail::epilogue
