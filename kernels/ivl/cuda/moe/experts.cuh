// The matrices of experts on CUDA: how they are placed, and what kernels see of them (see ops/moe.hpp).
//
// Expert e begins at e * Strip::bytes, a multiple of 256. Its matrix [out, in] lies as any other (place.cuh);
// Fusion::interleaved lies as rows gate, up, gate, up, ...
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/formats/formats.cuh"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/prim/math.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::IVL_CUDA {

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

}  // namespace detail::experts

// ---- placing ----------------------------------------------------------------------------------------
/// Reads the parts once. Throws FileError for scales that are NaN.
inline PlacedExperts place_experts(Context& ctx, int experts, Fusion fusion, std::span<const SourceMatrix> parts) {
  constexpr std::int64_t alignment = 256;  // of an expert
  const MatrixOutline outline = outline_experts(experts, fusion, parts, [](Format format) { return format; });
  PlacedExperts placed{experts, detail::place::layout_of(outline)};
  if (!placed.all.uniform()) {  // no file mixes formats in stacked experts
    fail<FileError>("on CUDA: expected experts in one format, found ", formats_of(placed.all));
  }
  Strip& strip = placed.all.strips[0];
  strip.bytes = round_up(strip.bytes, alignment);
  strip.memory = allocate(ctx, std::size_t(experts * strip.bytes));
  const std::size_t of_each = parts.size() / std::size_t(experts);
  for (int expert = 0; expert < experts; ++expert)
    detail::place::place_strips(ctx, outline, placed.all, parts.subspan(std::size_t(expert) * of_each, of_each),
                                expert);
  return placed;
}

}  // namespace ivl::IVL_CUDA
