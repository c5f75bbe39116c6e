// How the ops on rows are launched: their policies, and what of a launch depends on sizes. Plain C++, so that a host
// tests it and a tuner prints what wins. The kernels are the same on every architecture and in every order of sums.
#pragma once
#include <algorithm>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/runtime/policy_text.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

// ---- policies ---------------------------------------------------------------------------------------
struct NormPolicy {
  static constexpr const char* name = "NormPolicy";
  int values_per_thread = 16;  // of a row; its width is at most 1024 times that
  bool operator==(const NormPolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("values_per_thread", values_per_thread); }
};

struct MovePolicy {
  static constexpr const char* name = "MovePolicy";
  int max_threads = 256;      // of a block that moves a row
  int patches_per_block = 8;  // a warp each
  bool operator==(const MovePolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("max_threads", max_threads), visit("patches_per_block", patches_per_block);
  }
};

struct RopePolicy {
  static constexpr const char* name = "RopePolicy";
  int threads_per_block = 128;
  bool operator==(const RopePolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("threads_per_block", threads_per_block); }
};

struct ArgmaxPolicy {
  static constexpr const char* name = "ArgmaxPolicy";
  int threads_per_block = 256;
  int logits_per_thread = 16;  // of a slice

  constexpr int slice() const { return threads_per_block * logits_per_thread; }
  bool operator==(const ArgmaxPolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("threads_per_block", threads_per_block), visit("logits_per_thread", logits_per_thread);
  }
};

struct DrawPolicy {
  static constexpr const char* name = "DrawPolicy";
  int threads_per_block = 1024;
  bool operator==(const DrawPolicy&) const = default;
  constexpr void each_field(const auto& visit) const { visit("threads_per_block", threads_per_block); }
};

// ---- the choice -------------------------------------------------------------------------------------
struct NormChoice {
  int threads;  ///< of the block that norms a row: whole warps
  bool fits;    ///< else the row is wider than a block can hold
};

constexpr NormChoice choose_norm(std::int64_t width, const NormPolicy& policy) {
  const std::int64_t threads = round_up(ceil_div(width, policy.values_per_thread), 32);
  return {int(threads), threads <= 1024};
}

struct MoveChoice {
  int threads;         ///< of a block
  std::int64_t parts;  ///< blocks that share a row
};

/// For rows of `pieces` loads.
constexpr MoveChoice choose_move(std::int64_t pieces, const MovePolicy& policy) {
  const std::int64_t threads = std::min<std::int64_t>(round_up(pieces, 32), policy.max_threads);
  return {int(threads), ceil_div(pieces, threads)};
}

/// Blocks that share a row of so many logits.
constexpr std::int64_t choose_argmax_slices(std::int64_t width, const ArgmaxPolicy& policy) {
  return ceil_div(width, policy.slice());
}

}  // namespace ivl::IVL_CUDA
