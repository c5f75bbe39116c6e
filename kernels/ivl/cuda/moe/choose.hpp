// Which kernels run a mixture's experts, and with which policies: plain C++, so that a host tests it and a tuner prints
// what wins.
//
//   x, y    experts              rows       kernels
//   bf16    bf16, mxfp4          up to 16   sm80_few.cuh, under Order::fastest
//   bf16    bf16, mxfp4, coded   any        sm80_grouped.cuh, where gate and up may have one format and down another
//   any     any                  any        plain, in moe.cuh: right, and not fast
//
// The first two add in different orders, as gemv and gemm do (linear/choose.hpp says why that is so): a row among few
// may differ in its last bit from the same row among many, and Order::invariant leaves the first one out.
#pragma once
#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/layouts.hpp"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/runtime/order.hpp"
#include "ivl/cuda/runtime/policy_text.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::IVL_CUDA {

// ---- policies ---------------------------------------------------------------------------------------
inline constexpr GemvPolicy few_gate_up{.rows = 16, .tiles = 2, .stages = 4, .blocks_per_sm = 2};
inline constexpr GemvPolicy few_down{.rows = 8, .tiles = 1, .stages = 8, .blocks_per_sm = 3};
/// With codes, instructions are what is short: two tiles share those around the products.
inline constexpr GemvPolicy few_down_codes{.rows = 8, .tiles = 2, .stages = 5, .blocks_per_sm = 2};

/// Half of an expert's last job is empty on average: low tiles waste less.
inline constexpr GemmPolicy grouped_gemm{
    .rows = 64, .columns = 128, .warp_rows = 32, .warp_columns = 64, .stages = 3, .blocks_per_sm = 2};
/// Of weights with scales.
inline constexpr GemmPolicy grouped_scaled_gemm = scaled_gemm_policy;

/// What one block counts for: an expert a thread.
inline constexpr int max_grouped_experts = 1024;
/// Pairs that one block orders in one launch. CUB's sort is five launches from about as many on, 10 us in all; the
/// block needs about 0.7 us a thousand pairs. On paper, not yet measured.
inline constexpr int max_pairs_of_block = 8192;

// ---- the choice -------------------------------------------------------------------------------------
enum class ExpertsKernel : std::uint8_t { plain, few, grouped };

/// How the pairs of `grouped` get into the order of their experts.
enum class PairOrder : std::uint8_t { by_block, by_device };

struct ExpertsProblem {
  std::int64_t rows;
  int experts, active;
  ScalarKind scalar = ScalarKind::bf16;  ///< of x
  Format gate_up = Format::bf16, down = Format::bf16;
  bool whole_packs = true;  ///< rows of x and `inner` are whole packs of 8, those of matrices of 16
};

struct ExpertsChoice {
  ExpertsKernel kernel;
  GemvPolicy gate_up, down;  ///< of `few`
  PairOrder order;           ///< of `grouped`
};

constexpr PairOrder choose_pair_order(std::int64_t pairs) {
  return pairs <= max_pairs_of_block ? PairOrder::by_block : PairOrder::by_device;
}

/// The kernels are those of sm_80, which run on every architecture that Context opens.
constexpr ExpertsChoice choose_experts(int /*compute_capability*/, const ExpertsProblem& p, Order order) {
  const auto few = [](Format format) { return format == Format::bf16 || detail::is_mxfp4(format); };
  const auto grouped = [&](Format format) { return few(format) || detail::is_coded(format); };
  ExpertsChoice choice{ExpertsKernel::plain, few_gate_up, detail::is_mxfp4(p.down) ? few_down_codes : few_down,
                       choose_pair_order(p.rows * p.active)};
  if (p.scalar != ScalarKind::bf16 || !grouped(p.gate_up) || !grouped(p.down)) return choice;
  if (!p.whole_packs || p.experts > max_grouped_experts) return choice;
  const bool few_rows = p.rows <= max_gemv_rows && order == Order::fastest;
  choice.kernel = few_rows && few(p.gate_up) && p.down == p.gate_up ? ExpertsKernel::few : ExpertsKernel::grouped;
  return choice;
}

}  // namespace ivl::IVL_CUDA
