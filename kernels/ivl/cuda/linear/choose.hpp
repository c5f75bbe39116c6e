// Which kernel makes y = epilogue(x W^T), and with which policy: plain C++, so that a host tests it and a tuner prints
// what wins.
//
//   x      W           rows      kernel
//   bf16   bf16, half  up to 16  gemv, under Order::fastest
//   bf16   bf16, half  any       gemm
//   bf16   coded       up to 8   coded_gemv, under Order::fastest
//   bf16   coded       any       scaled_gemm
//   bf16   unpacked    any       unpacked_gemm
//   any    any         any       plain: right, and not fast
//
// gemv and gemm add in different orders: gemv shares a row's depth over eight warps and two chains each, gemm walks it
// in one. For one order, gemm would have to hold sixteen times the sums, or gemv to multiply in one chain: at the 4864
// columns of a 1B model's down projection 304 dependent mma.sync, about 5 us, where W takes 2. So a row among few may
// differ in its last bit from the same row among many, and Order::invariant leaves gemv out; `few_gemm` takes its
// place.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/layouts.hpp"
#include "ivl/cuda/runtime/order.hpp"
#include "ivl/cuda/runtime/policy_text.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::IVL_CUDA {

// ---- policies ---------------------------------------------------------------------------------------
struct GemvPolicy {
  static constexpr const char* name = "GemvPolicy";
  int rows = 8;           // of x at most: 8 or 16
  int tiles = 1;          // of 8 columns of y, in one block
  int stages = 8;         // steps of W in a warp's ring: all but one of them are on their way
  int blocks_per_sm = 4;  // what registers must leave room for

  bool operator==(const GemvPolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("rows", rows), visit("tiles", tiles), visit("stages", stages), visit("blocks_per_sm", blocks_per_sm);
  }
};

/// Few columns are spread over as many blocks as there are; many share the loads of x.
inline constexpr GemvPolicy gemv_narrow{.rows = 8, .tiles = 1, .stages = 8, .blocks_per_sm = 4};
inline constexpr GemvPolicy gemv_wide{.rows = 8, .tiles = 2, .stages = 5, .blocks_per_sm = 3};
inline constexpr GemvPolicy gemv_tall{.rows = 16, .tiles = 2, .stages = 5, .blocks_per_sm = 2};

inline constexpr int max_gemv_rows = 16;
inline constexpr int max_coded_gemv_rows = 8;
/// Rows that are better normed in every block than in a launch of their own, which takes 2 to 3 us. A row adds a third
/// to the instructions of a narrow block, which without any are two fifths of what an H100 can issue while W comes:
/// more than four would hold W up. Counted on sm_90, not yet measured.
inline constexpr int max_normed_rows = 4;
/// And of their scalars: with the 16 KiB that these take, an SM of an H100 still holds as many blocks.
inline constexpr int max_normed_scalars = 8192;

struct GemmPolicy {
  static constexpr const char* name = "GemmPolicy";
  int rows, columns;            // of a block's tile
  int warp_rows, warp_columns;  // of a warp's
  int stages;
  int blocks_per_sm;  // that registers and shared memory have room for

  constexpr int threads() const { return rows / warp_rows * (columns / warp_columns) * 32; }
  bool operator==(const GemmPolicy&) const = default;
  constexpr void each_field(const auto& visit) const {
    visit("rows", rows), visit("columns", columns), visit("warp_rows", warp_rows);
    visit("warp_columns", warp_columns), visit("stages", stages), visit("blocks_per_sm", blocks_per_sm);
  }
};

inline constexpr GemmPolicy tall_gemm{
    .rows = 128, .columns = 256, .warp_rows = 64, .warp_columns = 64, .stages = 3, .blocks_per_sm = 1};
inline constexpr GemmPolicy square_gemm{
    .rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 64, .stages = 3, .blocks_per_sm = 2};
inline constexpr GemmPolicy narrow_gemm{
    .rows = 64, .columns = 64, .warp_rows = 32, .warp_columns = 32, .stages = 6, .blocks_per_sm = 2};
/// For up to 16 rows: half as many columns as `narrow`, so twice the blocks that W streams through.
inline constexpr GemmPolicy few_gemm{
    .rows = 16, .columns = 32, .warp_rows = 16, .warp_columns = 16, .stages = 8, .blocks_per_sm = 4};
/// Half weights: twice the products, so half the reuse will do; the parts of a fragment need the registers.
inline constexpr GemmPolicy half_gemm{
    .rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 32, .stages = 3, .blocks_per_sm = 1};

/// Weights with scales: sums of a run lie beside those of all, and codes wait in registers. Tiles of 128 rows spill.
inline constexpr GemmPolicy scaled_gemm_policy{
    .rows = 64, .columns = 128, .warp_rows = 32, .warp_columns = 32, .stages = 4, .blocks_per_sm = 1};

// ---- the choice -------------------------------------------------------------------------------------
enum class LinearKernel : std::uint8_t { plain, gemv, gemm, coded_gemv, scaled_gemm, unpacked_gemm };

/// One product, as far as the choice depends on it.
struct LinearProblem {
  std::int64_t rows, out, in;
  ScalarKind scalar = ScalarKind::bf16;  ///< of x
  Format format = Format::bf16;          ///< of W
  /// The widest copies that all rows of x, and of W if it is scalars, are whole numbers of: 16 or 8 bytes.
  int copy_bytes = 16;
};

struct LinearChoice {
  LinearKernel kernel;
  GemvPolicy gemv;  ///< where it is the kernel
  GemmPolicy gemm;  ///< likewise
  bool operator==(const LinearChoice&) const = default;
};

/// For up to max_gemv_rows rows.
constexpr GemvPolicy choose_gemv(std::int64_t rows, std::int64_t out) {
  if (rows > gemv_narrow.rows) return gemv_tall;
  return out < 8192 ? gemv_narrow : gemv_wide;
}

namespace detail::gemm {

/// Cycles of an SM for a tile's step of 16, by sm80_gemm.cuh's page top: the most of mma, shared memory and second
/// cache.
constexpr double step_cycles(const GemmPolicy& p) {
  const double mma = p.rows * p.columns / (16 * 8) * 6.4 / 4;
  const double loaded = 32.0 * (p.rows + p.columns);
  const double read = 32.0 * (p.threads() / 32) * (p.warp_rows + p.warp_columns);
  return std::max({mma, (loaded + read) / 128, loaded / 39});
}

/// Cycles of an SM for a tile: its steps, and the way of its sums out (4 bytes each into shared memory and from there,
/// and up to 4 of y), as far as nothing hides it.
constexpr double tile_cycles(const GemmPolicy& p, std::int64_t in) {
  return double(in) / 16 * step_cycles(p) + 12.0 * p.rows * p.columns / 128 / p.blocks_per_sm;
}

}  // namespace detail::gemm

/// Of some policies the one whose busiest SM is done first, on paper. Never changes a result.
constexpr GemmPolicy choose_gemm(std::initializer_list<GemmPolicy> policies, std::int64_t rows, std::int64_t out,
                                 std::int64_t in, int sms) {
  const auto cycles = [=](const GemmPolicy& p) {
    const std::int64_t tiles = ceil_div(rows, p.rows) * ceil_div(out, p.columns);
    return double(ceil_div(tiles, sms)) * detail::gemm::tile_cycles(p, in);
  };
  GemmPolicy best = *policies.begin();
  for (const GemmPolicy& p : policies) {
    if (cycles(p) < cycles(best)) best = p;
  }
  return best;
}
constexpr GemmPolicy choose_gemm(std::int64_t rows, std::int64_t out, std::int64_t in, int sms) {
  return choose_gemm({tall_gemm, square_gemm, narrow_gemm, few_gemm}, rows, out, in, sms);
}

/// The kernels are those of sm_80, which run on every architecture that Context opens.
constexpr LinearChoice choose_linear(int /*compute_capability*/, const LinearProblem& p, int sms, Order order) {
  LinearChoice choice{LinearKernel::plain, gemv_narrow, square_gemm};
  const bool coded = detail::is_coded(p.format);
  if (p.scalar == ScalarKind::bf16 && (coded || detail::is_unpacked(p.format)) && p.copy_bytes == 16) {
    const bool few = p.rows <= max_coded_gemv_rows && order == Order::fastest;
    choice.kernel = !coded ? LinearKernel::unpacked_gemm : few ? LinearKernel::coded_gemv : LinearKernel::scaled_gemm;
    choice.gemm = choose_gemm({scaled_gemm_policy, few_gemm}, p.rows, p.out, p.in, sms);
    return choice;
  }
  if (p.scalar != ScalarKind::bf16 || !(p.format == Format::bf16 || p.format == Format::f16)) return choice;
  if (p.rows <= max_gemv_rows && p.copy_bytes == 16 && p.in % 16 == 0 && order == Order::fastest) {
    choice.kernel = LinearKernel::gemv;
    choice.gemv = choose_gemv(p.rows, p.out);
    return choice;
  }
  choice.kernel = LinearKernel::gemm;
  // Half weights, and rows that are not whole copies of 16 bytes, such as the 588 scalars of a patch of 14 x 14 pixels,
  // have one policy each.
  choice.gemm = p.format == Format::f16 ? half_gemm
                : p.copy_bytes < 16     ? square_gemm
                                        : choose_gemm(p.rows, p.out, p.in, sms);
  return choice;
}

/// Whether norm_linear norms the rows in gemv rather than in a launch of rms_norm.
constexpr bool norms_in_gemv(const LinearProblem& p, const LinearChoice& choice) {
  return choice.kernel == LinearKernel::gemv && p.format == Format::bf16 && p.rows <= max_normed_rows &&
         p.rows * p.in <= max_normed_scalars;
}

}  // namespace ivl::IVL_CUDA
