// y = epilogue(x W^T) on tensor cores for the formats of formats/blocks.cuh and MXFP4: some rows of W at a time become
// codes of eight bits with a scale of sixteen neighbours each, exactly, in working memory, and sm80_scaled_gemm.cuh
// multiplies these.
//
// Bytes: W as it is in its file, and of each row 1.25 in (q2_k: 1.5 in) written and read, in pieces of 16 MiB that the
// second cache holds. A thread unpacks one weight, in 20 to 40 instructions: right, and not fast.
//
// Registers at most 40 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/formats.cuh"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/sm80_scaled_gemm.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::unpack {

inline constexpr int threads = 256;
inline constexpr std::int64_t most_bytes = std::int64_t(16) << 20;  // of working memory

/// `rows` rows from `first` on become `to`, a thread a weight.
template <class = void>
__global__ void __launch_bounds__(threads)
    unpack_kernel(Format format, const std::byte* data, int out, int in, std::int64_t first, int rows, CodedMatrix to) {
  const int number = int(blockIdx.x) * threads + int(threadIdx.x);
  const std::int64_t row = number / in;
  const int k = number % in;
  if (row >= rows) return;
  const blocks::Element element = unpacked_element(format, data, out, in, first + row, k);
  auto* const codes = reinterpret_cast<std::int8_t*>(const_cast<std::byte*>(to.codes)) + row * to.row_codes;
  const int in_word = k % 4;
  codes[k - in_word + (in_word == 1 || in_word == 2 ? 3 - in_word : in_word)] = std::int8_t(element.code);
  if (k % 16 != 0) return;
  auto* const scales = reinterpret_cast<float*>(const_cast<std::byte*>(to.scales) + row * to.row_scales);
  if (to.layout.has_minimum) {
    scales[k / 16 * 2] = element.scale;
    scales[k / 16 * 2 + 1] = element.minimum;
  } else {
    scales[k / 16] = element.scale;
  }
}

}  // namespace detail::unpack

// ---- launchers --------------------------------------------------------------------------------------
/// With a policy that choose_linear gave; w's format is_unpacked, and rows of x are whole 16-byte
/// copies. At least 128 rows of W are unpacked at once, and more as far as they take no more than `most_bytes`.
template <class Result>
void unpacked_gemm(Context& ctx, const GemmPolicy& policy, Rows<const bf16> x, const PlacedMatrix& w,
                   const Epilogue& epilogue, Rows<Result> y, std::int64_t most_bytes = detail::unpack::most_bytes) {
  if (x.count == 0 || w.out == 0) return;
  const detail::CodedLayout layout = detail::unpacked_layout(w.format());
  const std::int64_t row_bytes = layout.codes_bytes(w.in) + layout.scales_bytes(w.in);
  const std::int64_t most_rows = std::max<std::int64_t>(most_bytes / row_bytes / 128 * 128, 128);
  const std::int64_t rows = std::min(most_rows, w.out);
  auto* const room = ctx.scratch<std::byte>(rows * row_bytes);
  const std::int64_t step = epilogue.kind == EpilogueKind::swi_glu ? 2 : 1;  // rows of W for a column of y
  for (std::int64_t first = 0; first < w.out; first += rows) {
    const std::int64_t number = std::min(rows, w.out - first);
    const detail::CodedMatrix some(layout, room, number, w.in);
    launch(detail::unpack::unpack_kernel<>,
           {.grid = unsigned(ceil_div(number * w.in, detail::unpack::threads)),
            .block = unsigned(detail::unpack::threads),
            .stream = ctx.stream},
           w.format(), w.memory().data, int(w.out), int(w.in), first, int(number), some);
    const auto from = [&](const float* terms) { return terms ? terms + first : nullptr; };
    scaled_gemm(ctx, policy, x, some, number, Epilogue{epilogue.kind, from(epilogue.bias), from(epilogue.scale)},
                Rows<Result>(y.data + first / step, y.count, number / step, y.stride));
  }
}

}  // namespace ivl::IVL_CUDA
