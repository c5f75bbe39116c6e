#include "ivl/cuda/moe/choose.hpp"

#include <doctest/doctest.h>

namespace {

using namespace ivl;
using namespace ivl::cuda;

constexpr ExpertsProblem qwen3_moe(std::int64_t rows) { return {rows, 128, 8}; }

}  // namespace

TEST_CASE("under Order::invariant no number of rows makes experts another kernel") {
  for (const Format format : {Format::bf16, Format::mxfp4, Format::f16}) {
    CAPTURE(int(format));
    ExpertsProblem problem{1, 32, 4, ScalarKind::bf16, format};
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
  constexpr ExpertsProblem gpt_oss{1, 32, 4, ScalarKind::bf16, Format::mxfp4};
  CHECK(choose_experts(90, gpt_oss, Order::fastest).down == few_down_codes);
}

TEST_CASE("experts that tensor cores have no kernel for are plain") {
  CHECK(choose_experts(90, {9, 128, 8, ScalarKind::f32}, Order::fastest).kernel == ExpertsKernel::plain);
  CHECK(choose_experts(90, {9, 1025, 8}, Order::fastest).kernel == ExpertsKernel::plain);
  CHECK(choose_experts(90, {9, 128, 8, ScalarKind::bf16, Format::bf16, false}, Order::fastest).kernel ==
        ExpertsKernel::plain);
}

TEST_CASE("pairs are ordered by one block, and by the whole device where there are many") {
  static_assert(choose_experts(90, qwen3_moe(1024), Order::invariant).order == PairOrder::by_block);
  static_assert(choose_experts(90, qwen3_moe(1025), Order::invariant).order == PairOrder::by_device);
  CHECK(choose_pair_order(27136) == PairOrder::by_device);  // a prompt with 12 tiles on 30B
}
