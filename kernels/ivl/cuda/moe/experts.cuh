// The matrices of experts on CUDA: how they are placed, and what kernels see of them (see ops/moe.hpp).
//
// Expert e begins at e * Strip::bytes, a multiple of 256. Its matrix [out, in] is row-major in its file's scalar, or
// codes and scales (mxfp4.cuh); Fusion::interleaved lies as rows gate, up, gate, up, ...
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/moe/mxfp4.cuh"
#include "ivl/cuda/prim/math.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::cuda {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::experts {

/// A kernel's parameter: the matrices [out, in] of all experts.
struct Matrices {
  const std::byte* data;
  std::int64_t expert_bytes;
  int out, in;
  const float* bias;  // [experts, out] or null

  Matrices(const PlacedExperts& w, const float* bias)
      : data(w.all.memory().data),
        expert_bytes(w.all.strips[0].bytes),
        out(int(w.all.out)),
        in(int(w.all.in)),
        bias(bias) {}

  /// Where row `row` of an expert's matrix begins.
  template <class Stored>
  __device__ const Stored* row(int expert, int row) const {
    const auto* first = reinterpret_cast<const Stored*>(data + expert * expert_bytes);
    return first + row * std::int64_t(std::is_same_v<Stored, mxfp4::Codes> ? in / 2 : in);
  }
  __device__ const std::uint8_t* scales(int expert, int row) const {
    const auto* first = reinterpret_cast<const std::uint8_t*>(data + expert * expert_bytes);
    return first + out * std::int64_t(in / 2) + row * std::int64_t(in / mxfp4_block);
  }
  __device__ float bias_of(int expert, int column) const {
    return bias ? bias[expert * std::int64_t(out) + column] : 0.0f;
  }
};

/// What becomes of an expert's gate and up.
__device__ inline float activate(ExpertActivation activation, float gate, float up) {
  if (activation == ExpertActivation::swi_glu) return epilogue::silu(gate) * up;
  const float limit = 7;  // comparisons, so that NaN stays NaN
  gate = gate > limit ? limit : gate;
  up = up > limit ? limit : up < -limit ? -limit : up;
  return gate * prim::reciprocal_approx(1 + expf(-1.702f * gate)) * (up + 1);
}

// ---- placing, on the host ------------------------------------------------------------
inline constexpr std::int64_t expert_alignment = 256;

/// Codes of the rows of gate and up in turns, or of one part, word by word, by all host threads.
inline void place_codes(Context& ctx, std::span<const SourceMatrix> parts, std::byte* to) {
  const std::int64_t row_bytes = parts[0].in / 2, turns = std::int64_t(parts.size()), rows = turns * parts[0].out;
  constexpr std::int64_t word_bytes = sizeof(std::uint32_t);
  const std::int64_t rows_a_slot = std::int64_t(runtime::Staging::slot_bytes) / row_bytes,
                     rows_a_task = ceil_div(std::int64_t(64) << 10, row_bytes);
  for (std::int64_t first = 0; first < rows; first += rows_a_slot) {
    const std::int64_t number = std::min(rows_a_slot, rows - first);
    std::byte* slot = ctx.staging().wait_for_slot();
    ctx.host_pool().run(ceil_div(number, rows_a_task), [&](std::int64_t task) {
      for (std::int64_t r = task * rows_a_task; r < std::min(number, (task + 1) * rows_a_task); ++r) {
        const std::int64_t row = first + r;
        const std::byte* from = parts[std::size_t(row % turns)].cells<Mxfp4>(row / turns, 0).at[0];
        for (std::int64_t at = 0; at < row_bytes; at += word_bytes) {
          std::uint32_t word;
          std::memcpy(&word, from + at, word_bytes);
          word = mxfp4::word_of(word);
          std::memcpy(slot + r * row_bytes + at, &word, word_bytes);
        }
      }
    });
    ctx.staging().send(to + first * row_bytes, std::size_t(number * row_bytes), ctx.stream);
  }
}

inline void place_scales(Context& ctx, std::span<const SourceMatrix> parts, std::byte* to) {
  const std::int64_t turns = std::int64_t(parts.size());
  place::upload_rows(ctx, to, turns * parts[0].out, std::size_t(parts[0].in / mxfp4_block), [&](std::int64_t row) {
    return parts[std::size_t(row % turns)].cells<Mxfp4>(row / turns, 0).at[1];
  });
}

}  // namespace detail::experts

// ---- placing ----------------------------------------------------------------------------------------
/// Reads the parts once. Throws FileError for formats other than f32, bf16, f16 and MXFP4, and for scales that are NaN.
inline PlacedExperts place_experts(Context& ctx, int experts, Fusion fusion, std::span<const SourceMatrix> parts) {
  const MatrixOutline outline = outline_experts(experts, fusion, parts);
  PlacedExperts placed{experts, outline.placed};
  PlacedMatrix& all = placed.all;
  const bool codes = all.uniform() && all.format() == Format::mxfp4;
  const int scalar_bytes = all.uniform() ? detail::place::scalar_bytes(all.format()) : 0;
  if (!codes && scalar_bytes == 0)
    fail<FileError>("on CUDA: expected experts in one format, f32, bf16, f16 or mxfp4, found ", formats_of(all));
  const std::size_t of_each = parts.size() / std::size_t(experts);
  const std::int64_t code_bytes = all.out * all.in / 2, scale_bytes = all.out * all.in / mxfp4_block;
  Strip& strip = all.strips[0];
  strip.bytes =
      round_up(codes ? code_bytes + scale_bytes : all.out * all.in * scalar_bytes, detail::experts::expert_alignment);
  strip.memory = allocate(ctx, std::size_t(experts * strip.bytes));
  for (int expert = 0; expert < experts; ++expert) {
    std::byte* to = strip.memory.data + expert * strip.bytes;
    const auto of_expert = parts.subspan(std::size_t(expert) * of_each, of_each);
    if (codes) {
      assert(of_each == 1 || fusion == Fusion::interleaved);
      detail::experts::place_codes(ctx, of_expert, to);
      detail::experts::place_scales(ctx, of_expert, to + code_bytes);
    } else {
      detail::place::place_scalars(ctx, of_expert, fusion, to);
    }
  }
  return placed;
}

}  // namespace ivl::cuda
