// The matrices of experts on CUDA: how they are placed, and what kernels see of them (see ops/moe.hpp).
//
// Expert e begins at e * expert_bytes, a multiple of 256. Its matrix [out, in] is row-major in its file's scalar, or
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
#include "ivl/core/tensor.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/moe/mxfp4.cuh"
#include "ivl/cuda/prim/math.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/formats/mxfp4.hpp"
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
      : data(w.all.memory.data), expert_bytes(w.expert_bytes), out(int(w.all.out)), in(int(w.all.in)), bias(bias) {}

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

/// Rows [first, first + number) of the transpose of one expert [in, out], by all host threads.
template <class Word>
void transpose_rows(Context& ctx, const std::byte* expert, std::int64_t in, std::int64_t out, std::int64_t first,
                    std::int64_t number, std::byte* to) {
  constexpr std::int64_t block = 32;  // a line of the file at a time meets so many rows of the slot
  ctx.host_pool().run(ceil_div(number, block), [&](std::int64_t task) {
    const std::int64_t begin = task * block, end = std::min(number, begin + block);
    for (std::int64_t k = 0; k < in; ++k) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::memcpy(to + (r * in + k) * std::int64_t(sizeof(Word)),
                    expert + (k * out + first + r) * std::int64_t(sizeof(Word)), sizeof(Word));
      }
    }
  });
}

inline void place_separate(Context& ctx, Fusion fusion, std::span<const TensorView> parts, std::size_t row_bytes,
                           std::int64_t out, std::byte* to) {
  if (fusion == Fusion::stacked) return upload(ctx, to, parts[0].bytes.data(), parts[0].bytes.size());
  upload_rows(ctx, to, out, row_bytes, [&](std::int64_t row) {
    return parts[std::size_t(row % 2)].bytes.data() + std::size_t(row / 2) * row_bytes;
  });
}

inline void place_fused(Context& ctx, const std::byte* expert, const PlacedMatrix& all, int scalar_bytes,
                        std::byte* to) {
  const std::int64_t row_bytes = all.in * scalar_bytes,
                     rows_a_slot = std::int64_t(runtime::Staging::slot_bytes) / row_bytes;
  for (std::int64_t first = 0; first < all.out; first += rows_a_slot) {
    const std::int64_t number = std::min(rows_a_slot, all.out - first);
    std::byte* slot = ctx.staging().wait_for_slot();
    if (scalar_bytes == 2) {
      transpose_rows<std::uint16_t>(ctx, expert, all.in, all.out, first, number, slot);
    } else {
      transpose_rows<std::uint32_t>(ctx, expert, all.in, all.out, first, number, slot);
    }
    ctx.staging().send(to + first * row_bytes, std::size_t(number * row_bytes), ctx.stream);
  }
}

/// The codes of one expert, word by word, by all host threads.
inline void place_codes(Context& ctx, std::span<const std::byte> codes, std::byte* to) {
  constexpr std::size_t word_bytes = sizeof(std::uint32_t), chunk = std::size_t(64) << 10;
  static_assert(runtime::Staging::slot_bytes % chunk == 0);
  for (std::size_t done = 0; done < codes.size(); done += runtime::Staging::slot_bytes) {
    const std::size_t now = std::min(codes.size() - done, runtime::Staging::slot_bytes);
    std::byte* slot = ctx.staging().wait_for_slot();
    ctx.host_pool().run(ceil_div(std::int64_t(now), std::int64_t(chunk)), [&](std::int64_t task) {
      const std::size_t begin = std::size_t(task) * chunk, end = std::min(now, begin + chunk);
      for (std::size_t at = begin; at < end; at += word_bytes) {
        std::uint32_t word;
        std::memcpy(&word, codes.data() + done + at, word_bytes);
        word = mxfp4::word_of(word);
        std::memcpy(slot + at, &word, word_bytes);
      }
    });
    ctx.staging().send(to + done, now, ctx.stream);
  }
}

}  // namespace detail::experts

// ---- placing ----------------------------------------------------------------------------------------
/// Reads the parts once. Throws FileError for types that no expert has, and for scales that are NaN.
inline PlacedExperts place_experts(Context& ctx, ExpertLayout layout, int experts, Fusion fusion,
                                   std::span<const TensorView> parts) {
  PlacedExperts placed = outline_experts(layout, experts, fusion, parts);
  PlacedMatrix& all = placed.all;
  const std::size_t parts_of_each = parts_of_expert(fusion);
  const bool codes = layout == ExpertLayout::mxfp4;
  const std::int64_t scale_bytes = codes ? all.out * (all.in / mxfp4_block) : 0;  // of an expert, as is bytes
  const std::int64_t bytes =
      codes ? scale_bytes * (mxfp4_block_bytes + 1) : all.out * all.in * bytes_of(placeable(parts[0]));
  placed.expert_bytes = round_up(bytes, detail::experts::expert_alignment);
  all.memory = allocate(ctx, std::size_t(experts * placed.expert_bytes));

  for (int expert = 0; expert < experts; ++expert) {
    std::byte* to = all.memory.data + expert * placed.expert_bytes;
    switch (layout) {
      case ExpertLayout::separate:
        detail::experts::place_separate(ctx, fusion, parts.subspan(std::size_t(expert) * parts_of_each, parts_of_each),
                                        std::size_t(bytes / all.out), all.out, to);
        break;
      case ExpertLayout::fused:
        detail::experts::place_fused(ctx, parts[0].bytes.data() + expert * bytes, all, int(bytes / all.out / all.in),
                                     to);
        break;
      case ExpertLayout::mxfp4: {
        const std::int64_t block_bytes = bytes - scale_bytes;
        detail::experts::place_codes(
            ctx, parts[0].bytes.subspan(std::size_t(expert * block_bytes), std::size_t(block_bytes)), to);
        upload(ctx, to + block_bytes, parts[1].bytes.data() + expert * scale_bytes, std::size_t(scale_bytes));
        break;
      }
    }
  }
  return placed;
}

}  // namespace ivl::cuda
