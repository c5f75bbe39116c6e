// Which kernels run attention, and with which policies: plain C++, so that a host tests it and a tuner prints what
// wins.
//
//   scalar   head_dim            rows of the step   kernels
//   bf16     32, 64, 128         as sequences       split: a token a tile
//   bf16     32, 64, 128         more               prefill, and split for the few rows that are over
//   any      multiples of 16     any                plain
//
// A window with head_dim 128, which no checkpoint has, goes to plain too. The order of sums is the same in prefill and
// in split (sm80_tile.cuh), so Order has no say.
#pragma once
#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/runtime/policy_text.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/attention.hpp"

namespace ivl::IVL_CUDA {

// ---- policies ---------------------------------------------------------------------------------------
struct PrefillPolicy {
  static constexpr const char* name = "PrefillPolicy";
  int row_tiles = 1;  // of 16 rows, a warp: 1 or 2
  bool operator==(const PrefillPolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("row_tiles", row_tiles); }
};

struct SplitPolicy {
  static constexpr const char* name = "SplitPolicy";
  int stages = 2;  // blocks of 64 keys and values under way
  bool operator==(const SplitPolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("stages", stages); }
};

struct AttentionPolicy {
  static constexpr const char* name = "AttentionPolicy";
  PrefillPolicy picture = {.row_tiles = 2};  // Mask::full, head_dim up to 64
  PrefillPolicy prefill = {.row_tiles = 1};
  SplitPolicy split;
  bool operator==(const AttentionPolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("picture", picture), visit("prefill", prefill), visit("split", split);
  }
};

struct KvWritePolicy {
  static constexpr const char* name = "KvWritePolicy";
  int threads_per_block = 128;
  bool operator==(const KvWritePolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("threads_per_block", threads_per_block); }
};

// ---- the choice -------------------------------------------------------------------------------------
enum class AttentionKernel : std::uint8_t { plain, split, prefill_and_split };

/// Which keys a row sees: a template argument of the prefill kernel.
enum class Visible : std::uint8_t { all, causal, window };

struct AttentionProblem {
  AttentionShape shape;
  Mask mask = Mask::causal;
  std::int64_t rows = 0, sequences = 0;  ///< of the step
  ScalarKind scalar = ScalarKind::bf16;
};

struct AttentionChoice {
  AttentionKernel kernel;
  Visible visible;
  PrefillPolicy prefill;
  SplitPolicy split;
};

/// The kernels are those of sm_80, which run on every architecture that Context opens.
constexpr AttentionChoice choose_attention(int /*compute_capability*/, const AttentionProblem& p,
                                           const AttentionPolicy& policy = {}) {
  const int head_dim = p.shape.head_dim;
  const Visible visible = p.mask == Mask::full ? Visible::all : p.shape.window == 0 ? Visible::causal : Visible::window;
  AttentionChoice choice{AttentionKernel::plain, visible, policy.prefill, policy.split};
  if (visible == Visible::all && head_dim <= 64) choice.prefill = policy.picture;
  if (p.scalar != ScalarKind::bf16 || !(head_dim == 32 || head_dim == 64 || head_dim == 128)) return choice;
  if (visible == Visible::window && head_dim == 128) return choice;
  choice.kernel = p.rows <= p.sequences ? AttentionKernel::split : AttentionKernel::prefill_and_split;
  return choice;
}

}  // namespace ivl::IVL_CUDA
