// How pictures are cut into patches: the policy, and what of the launches depends on sizes. Plain C++, so that a host
// tests it and a tuner prints what wins. The kernels are the same on every architecture.
#pragma once
#include <algorithm>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/runtime/policy_text.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

// ---- policy -----------------------------------------------------------------------------------------
struct PicturePolicy {
  static constexpr const char* name = "PicturePolicy";
  int threads_per_block = 128;
  int rows_per_thread = 4;  // of the pass across
  int patches_per_block = 8;
  std::int64_t band_bytes = 4 << 20;  // of the picture, uploaded at once: a slot of pinned memory

  bool operator==(const PicturePolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("threads_per_block", threads_per_block), visit("rows_per_thread", rows_per_thread);
    visit("patches_per_block", patches_per_block), visit("band_bytes", band_bytes);
  }
};

// ---- the choice -------------------------------------------------------------------------------------
struct PictureChoice {
  int band_rows;   ///< of the picture that are uploaded and resized at once
  int down_bytes;  ///< that a thread makes in the pass down: 4 where rows and tiles begin at multiples of 4
};

constexpr PictureChoice choose_picture(int width, int height, int tile_px, const PicturePolicy& policy) {
  const std::int64_t row_bytes = std::int64_t(3) * width;
  const std::int64_t most_rows = std::min(height, 65535);  // so many blocks may lie one below the other
  return {int(std::clamp<std::int64_t>(policy.band_bytes / row_bytes, 1, most_rows)), tile_px % 4 == 0 ? 4 : 1};
}

}  // namespace ivl::IVL_CUDA
