// The sparse mixture of experts (see ops/moe.hpp for the contract).
//
//   logits [rows, experts] float      experts, weights [rows, active], active at most 32; a row's experts are distinct
//   x, y   [rows, hidden]             gate_up [experts, 2 mlp_hidden, hidden], rows gate, up, gate, up, ...
//   inner  [rows active, mlp_hidden]  down    [experts, hidden, mlp_hidden]
//
// A pair is a row and one of its experts, numbered as in `experts`. Matrices lie as experts.cuh says.
//
// choose.hpp says which kernels run: sm80_few.cuh, sm80_grouped.cuh or `plain`, below. In each the order of a sum
// depends on the matrix alone: an expert's answer to a row does not depend on the other rows.
//
// Bytes of route: logits, and 8 a pair. Registers at most 128 a thread, no spills.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/formats/mxfp4.cuh"
#include "ivl/cuda/moe/choose.hpp"
#include "ivl/cuda/moe/experts.cuh"
#include "ivl/cuda/moe/sm80_few.cuh"
#include "ivl/cuda/moe/sm80_grouped.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/moe.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::route {

// ---- routes -------------------------------------------------------------------------
inline constexpr int warps = 4;
inline constexpr int max_active = 32;  // experts of a row: a lane each

/// Orders logits: the larger has the larger key, and the lower number among equals. There is a next smaller key as long
/// as experts are left, even if logits are NaN.
__device__ inline std::uint64_t key_of(float logit, int expert) {
  const unsigned bits = __float_as_uint(logit + 0.0f);  // -0 becomes 0, its equal
  const unsigned rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return std::uint64_t(rising) << 32 | (0xffffffffu - unsigned(expert));
}

/// A warp a row.
template <class = void>
__global__ void __launch_bounds__(32 * warps)
    route_kernel(const float* logits, std::int64_t stride, int rows, int experts, int active, std::int32_t* chosen,
                 float* weights) {
  const int row = int(blockIdx.x) * warps + int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  if (row >= rows) return;
  logits += row * stride;
  std::uint64_t last = ~std::uint64_t(0);
  int mine = 0;
  for (int i = 0; i < active; ++i) {
    std::uint64_t best = 0;
    for (int expert = lane; expert < experts; expert += 32) {
      const std::uint64_t key = key_of(logits[expert], expert);
      if (key < last && key > best) best = key;
    }
    last = warp_reduce(best, [](std::uint64_t a, std::uint64_t b) { return a > b ? a : b; });
    if (lane == i) mine = int(0xffffffffu - unsigned(last));
  }
  const float logit = logits[mine], largest = __shfl_sync(whole_warp, logit, 0);
  const float power = lane < active ? expf(logit - largest) : 0.0f;
  const float total = warp_sum(power);
  if (lane < active) {
    chosen[std::int64_t(row) * active + lane] = mine;
    weights[std::int64_t(row) * active + lane] = power / total;
  }
}

}  // namespace detail::route

namespace detail::plain_experts {

// ---- plain --------------------------------------------------------------------------
inline constexpr int warps = 8;

/// Matrices of any format.
struct Matrices : experts::Matrices {
  AnyMatrix first;  // of expert 0

  Matrices(const PlacedExperts& w, const float* bias)
      : experts::Matrices(w, bias), first(w.all.format(), data, w.all.out, w.all.in) {}
};

/// The product of a row of x and one of an expert's matrix, by one warp; all lanes get it.
template <class Scalar>
__device__ inline float row_product(const Scalar* x, const Matrices& w, int expert, int column) {
  const AnyMatrix matrix = w.first.behind(expert * w.expert_bytes);
  float sum = 0;
  for (int k = int(threadIdx.x) % 32; k < w.in; k += 32) sum = fmaf(prim::widen(x[k]), matrix.at(column, k), sum);
  return warp_sum(sum);
}

/// inner = act(gate_up x), a warp an element.
template <class Scalar>
__global__ void __launch_bounds__(32 * warps, 1)
    plain_gate_up_kernel(const Scalar* x, std::int64_t x_stride, Matrices w, ExpertActivation activation,
                         const std::int32_t* experts, std::int64_t pairs, int active, Scalar* inner,
                         std::int64_t inner_stride) {
  const std::int64_t element = std::int64_t(blockIdx.x) * warps + threadIdx.x / 32, width = w.out / 2;
  if (element >= pairs * width) return;
  const std::int64_t pair = element / width;
  const int column = int(element % width), expert = experts[pair];
  const Scalar* row = x + pair / active * x_stride;
  const float gate = row_product(row, w, expert, 2 * column) + w.bias_of(expert, 2 * column);
  const float up = row_product(row, w, expert, 2 * column + 1) + w.bias_of(expert, 2 * column + 1);
  if (threadIdx.x % 32 == 0)
    inner[pair * inner_stride + column] = prim::narrow<Scalar>(experts::activate(activation, gate, up));
}

/// y += sum over the row's experts of weight (down inner + bias), a warp an element.
template <class Scalar>
__global__ void __launch_bounds__(32 * warps, 1)
    plain_down_kernel(const Scalar* inner, std::int64_t inner_stride, Matrices w, const std::int32_t* experts,
                      const float* weights, std::int64_t rows, int active, Scalar* y, std::int64_t y_stride) {
  const std::int64_t element = std::int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  if (element >= rows * w.out) return;
  const std::int64_t row = element / w.out;
  const int column = int(element % w.out);
  float total = 0;
  for (std::int64_t pair = row * active; pair < (row + 1) * active; ++pair) {
    const int expert = experts[pair];
    const float product = row_product(inner + pair * inner_stride, w, expert, column);
    total = fmaf(weights[pair], product + w.bias_of(expert, column), total);
  }
  if (threadIdx.x % 32 != 0) return;
  Scalar& result = y[row * y_stride + column];
  result = prim::narrow<Scalar>(prim::widen(result) + total);
}

template <class Scalar>
void run(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
         Rows<Scalar> y) {
  const Matrices gate_up(*mlp.gate_up, mlp.gate_up_bias), down(*mlp.down, mlp.down_bias);
  const std::int64_t pairs = x.count * routes.active;
  const auto blocks = [](std::int64_t elements) { return dim3(unsigned(ceil_div(elements, warps))); };
  launch(plain_gate_up_kernel<Scalar>,
         {.grid = blocks(pairs * gate_up.out / 2), .block = 32 * warps, .stream = ctx.stream}, x.data, x.stride,
         gate_up, mlp.activation, routes.experts, pairs, routes.active, inner.data, inner.stride);
  launch(plain_down_kernel<Scalar>, {.grid = blocks(x.count * down.out), .block = 32 * warps, .stream = ctx.stream},
         inner.data, inner.stride, down, routes.experts, routes.weights, x.count, routes.active, y.data, y.stride);
}

}  // namespace detail::plain_experts

// ---- launchers --------------------------------------------------------------------------------------
/// Throws RequestError if a row goes to more experts than a warp has lanes.
inline void route(Context& ctx, Rows<const float> logits, const Routes& routes) {
  const int experts = int(logits.width());
  expect(routes.active > 0 && routes.active <= experts, "route on CUDA: expected 1 to ", experts,
         " experts a row, found ", routes.active);
  if (routes.active > detail::route::max_active)
    fail<RequestError>("route on CUDA: expected at most ", detail::route::max_active, " experts a row, found ",
                       routes.active);
  if (logits.count == 0) return;
  launch(detail::route::route_kernel<>,
         {.grid = unsigned(ceil_div(logits.count, detail::route::warps)),
          .block = 32 * detail::route::warps,
          .stream = ctx.stream},
         logits.data, logits.stride, int(logits.count), experts, routes.active, routes.experts, routes.weights);
}

/// All experts of the layer are here: ranks that share them need kernels that leave pairs out, which are not written
/// yet.
template <class Scalar>
void expert_mlp(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                Rows<Scalar> y) {
  const PlacedMatrix &gate_up = mlp.gate_up->all, &down = mlp.down->all;
  expect(gate_up.fusion == Fusion::interleaved && down.fusion == Fusion::stacked,
         "experts on CUDA: expected gate and up in turns, and down as it is");
  expect(mlp.gate_up->experts == mlp.down->experts, "experts on CUDA: expected as many in down as in gate and up, ",
         mlp.gate_up->experts, ", found ", mlp.down->experts);
  if (mlp.result != EpilogueKind::add || mlp.gate_up->first != 0)
    fail<RequestError>("experts on CUDA: expected all experts of a layer, found those of one rank");
  expect(gate_up.out == 2 * down.in, "experts on CUDA: expected gate and up of ", 2 * down.in,
         " columns, twice what down takes, found ", gate_up.out);
  const std::int64_t pairs = x.count * routes.active;
  expect(x.width() == gate_up.in && inner.width() == down.in && y.width() == down.out && inner.count >= pairs &&
             y.count == x.count,
         "experts on CUDA: expected x [", x.count, ", ", gate_up.in, "], inner [", pairs, ", ", down.in, "] and y [",
         x.count, ", ", down.out, "], found x [", x.count, ", ", x.width(), "], inner [", inner.count, ", ",
         inner.width(), "] and y [", y.count, ", ", y.width(), "]");
  if (x.count == 0) return;
  using Codes = detail::mxfp4::Codes;
  if constexpr (std::is_same_v<Scalar, bf16>) {
    const bool whole_packs = gate_up.in % 16 == 0 && down.in % 16 == 0 && in_packs<8>(x) && in_packs<8>(inner);
    const ExpertsProblem problem{x.count,          mlp.gate_up->experts, routes.active, ScalarKind::bf16,
                                 gate_up.format(), down.format(),        whole_packs};
    const ExpertsChoice choice = choose_experts(ctx.device.compute_capability, problem, ctx.order);
    if (choice.kernel == ExpertsKernel::few) {
      if (detail::is_mxfp4(gate_up.format())) return detail::few::run<Codes>(ctx, mlp, x, routes, inner, y);
      return detail::few::run<bf16>(ctx, mlp, x, routes, inner, y);
    }
    if (choice.kernel == ExpertsKernel::grouped)
      return detail::grouped::run(ctx, choice.order, mlp, x, routes, inner, y);
  }
  detail::plain_experts::run(ctx, mlp, x, routes, inner, y);
}

static_assert(MoeOps<Context, bf16> && MoeOps<Context, float>);

}  // namespace ivl::IVL_CUDA
