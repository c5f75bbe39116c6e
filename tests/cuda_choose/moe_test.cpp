#include "ivl/cuda/moe/choose.hpp"

#include <doctest/doctest.h>

namespace {

using namespace ivl;
using namespace ivl::cuda;

constexpr ExpertsProblem qwen3_moe(std::int64_t rows) { return {rows, 128, 8}; }

}  // namespace

TEST_CASE("under Order::invariant no number of rows makes experts another kernel") {
  for (const Format format : {Format::bf16, Format::mxfp4, Format::q4_k, Format::f16}) {
    CAPTURE(int(format));
    ExpertsProblem problem{1, 32, 4, ScalarKind::bf16, format, format};
    const ExpertsKernel kernel = choose_experts(90, problem, Order::invariant).kernel;
    CHECK(kernel == (format == Format::f16 ? ExpertsKernel::plain : ExpertsKernel::grouped));
    for (problem.rows = 1; problem.rows < 3000; problem.rows += 7)
      REQUIRE(choose_experts(90, problem, Order::invariant).kernel == kernel);
  }
}

TEST_CASE("under Order::fastest up to 16 rows have kernels of their own") {
  static_assert(choose_experts(90, qwen3_moe(16), Order::fastest).kernel == ExpertsKernel::few);
  static_assert(choose_experts(90, qwen3_moe(17), Order::fastest).kernel == ExpertsKernel::grouped);
  static_assert(choose_experts(90, qwen3_moe(1), Order::fastest).down == few_down);
  constexpr ExpertsProblem gpt_oss{1, 32, 4, ScalarKind::bf16, Format::mxfp4, Format::mxfp4};
  CHECK(choose_experts(90, gpt_oss, Order::fastest).down == few_down_codes);
}

TEST_CASE("experts that tensor cores have no kernel for are plain") {
  CHECK(choose_experts(90, {9, 128, 8, ScalarKind::f32}, Order::fastest).kernel == ExpertsKernel::plain);
  CHECK(choose_experts(90, {9, 1025, 8}, Order::fastest).kernel == ExpertsKernel::plain);
  CHECK(choose_experts(90, {9, 128, 8, ScalarKind::bf16, Format::bf16, Format::bf16, false}, Order::fastest).kernel ==
        ExpertsKernel::plain);
  for (const Format format : {Format::f16, Format::iq2_xs})
    CHECK(choose_experts(90, {9, 128, 8, ScalarKind::bf16, Format::q4_k, format}, Order::fastest).kernel ==
          ExpertsKernel::plain);
}

TEST_CASE("experts whose gate and up have another format than down are grouped, few rows too") {
  for (const Format format : {Format::q6_k, Format::bf16, Format::gguf_mxfp4})
    CHECK(choose_experts(90, {1, 128, 8, ScalarKind::bf16, Format::q4_k, format}, Order::fastest).kernel ==
          ExpertsKernel::grouped);
  CHECK(choose_experts(90, {1, 32, 4, ScalarKind::bf16, Format::mxfp4, Format::bf16}, Order::fastest).kernel ==
        ExpertsKernel::grouped);
}

TEST_CASE("pairs are ordered by one block, and by the whole device where there are many") {
  static_assert(choose_experts(90, qwen3_moe(1024), Order::invariant).order == PairOrder::by_block);
  static_assert(choose_experts(90, qwen3_moe(1025), Order::invariant).order == PairOrder::by_device);
  CHECK(choose_pair_order(27136) == PairOrder::by_device);  // a prompt with 12 tiles on 30B
}
