#include "ivl/cuda/linear/choose.hpp"

#include <doctest/doctest.h>

#include <sstream>

// What launches choose on a GPU, where there is none.

namespace {

using namespace ivl;
using namespace ivl::cuda;

constexpr int h200_sms = 132;

constexpr LinearChoice chosen(LinearProblem problem, Order order = Order::invariant, int sms = h200_sms) {
  return choose_linear(90, problem, sms, order);
}

}  // namespace

TEST_CASE("gemm's policy fills the SMs first, then takes the largest tiles") {
  static_assert(choose_gemm(16400, 14336, 4096, h200_sms) == tall_gemm);  // prefill of a large model
  static_assert(choose_gemm(1025, 3072, 1024, h200_sms) == square_gemm);  // one tile of InternViT-300M
  static_assert(choose_gemm(64, 4096, 1024, h200_sms) == narrow_gemm);
  // Decode: 4096 columns are 128 blocks of few_gemm, which are as many as there are SMs, and 64 of narrow_gemm.
  static_assert(choose_gemm(1, 4096, 4096, h200_sms) == few_gemm);
  static_assert(choose_gemm(16, 896, 4864, h200_sms) == few_gemm);
  CHECK(choose_gemm(1, 4096, 4096, 4) == few_gemm);
}

TEST_CASE("under Order::invariant no number of rows makes linear another kernel") {
  for (const Format format : {Format::bf16, Format::f16, Format::f32}) {
    for (const int copy_bytes : {8, 16}) {
      CAPTURE(int(format));
      CAPTURE(copy_bytes);
      LinearProblem problem{1, 3072, 1024, ScalarKind::bf16, format, copy_bytes};
      const LinearKernel kernel = chosen(problem).kernel;
      CHECK(kernel == (format == Format::f32 ? LinearKernel::plain : LinearKernel::gemm));
      for (problem.rows = 1; problem.rows < 300; ++problem.rows) REQUIRE(chosen(problem).kernel == kernel);
    }
  }
}

TEST_CASE("under Order::fastest few rows that gemv can load go to it") {
  constexpr LinearProblem eight{8, 3072, 1024};
  static_assert(chosen(eight, Order::fastest).kernel == LinearKernel::gemv);
  static_assert(chosen(eight, Order::fastest).gemv == gemv_narrow);
  static_assert(chosen({8, 24576, 4096}, Order::fastest).gemv == gemv_wide);
  static_assert(chosen({9, 24576, 4096}, Order::fastest).gemv == gemv_tall);
  static_assert(chosen({16, 3072, 1024}, Order::fastest).kernel == LinearKernel::gemv);
  static_assert(chosen({17, 3072, 1024}, Order::fastest).kernel == LinearKernel::gemm);
  static_assert(chosen({1, 3072, 1032}, Order::fastest).kernel == LinearKernel::gemm);  // no multiple of 16
  static_assert(chosen({1, 1024, 588, ScalarKind::bf16, Format::bf16, 8}, Order::fastest).gemm == square_gemm);
  static_assert(chosen({1, 1024, 1024, ScalarKind::f32}, Order::fastest).kernel == LinearKernel::plain);
  static_assert(chosen({17, 1024, 1024, ScalarKind::bf16, Format::f16}, Order::fastest).gemm == half_gemm);
  CHECK(chosen(eight, Order::fastest) != chosen(eight));
}

TEST_CASE("weights with scales have kernels of their own, where rows of x are whole copies") {
  const auto check = [](Format format, LinearKernel kernel) {
    CAPTURE(name_of(format));
    for (const Order order : {Order::invariant, Order::fastest}) {
      CHECK(chosen({9, 4096, 4096, ScalarKind::bf16, format}, order).gemm == few_gemm);
      CHECK(chosen({9, 4096, 4096, ScalarKind::bf16, format}, order).kernel == kernel);
      CHECK(chosen({2048, 4096, 4096, ScalarKind::bf16, format}, order).gemm == scaled_gemm_policy);
      CHECK(chosen({2048, 4096, 4096, ScalarKind::bf16, format}, order).kernel == kernel);
      CHECK(chosen({1, 4096, 4096, ScalarKind::bf16, format, 8}, order).kernel == LinearKernel::plain);
      CHECK(chosen({1, 4096, 4096, ScalarKind::f32, format}, order).kernel == LinearKernel::plain);
    }
  };
  for (const Format format : {Format::q8_0, Format::awq, Format::q4_k, Format::f8_blocks, Format::llm_int8})
    check(format, LinearKernel::scaled_gemm);
  static_assert(chosen({8, 4096, 4096, ScalarKind::bf16, Format::q4_k}).kernel == LinearKernel::scaled_gemm);
  static_assert(chosen({8, 4096, 4096, ScalarKind::bf16, Format::q4_k}, Order::fastest).kernel ==
                LinearKernel::coded_gemv);
  for (const Format format : {Format::q2_k, Format::iq1_m, Format::iq3_s, Format::mxfp4})
    check(format, LinearKernel::unpacked_gemm);
}

TEST_CASE("few rows are normed in gemv, where it runs, W is bf16 and they fit") {
  const auto normed = [](LinearProblem problem, Order order) { return norms_in_gemv(problem, chosen(problem, order)); };
  CHECK(normed({4, 3072, 2048}, Order::fastest));
  CHECK_FALSE(normed({4, 3072, 2048}, Order::invariant));
  CHECK_FALSE(normed({5, 3072, 1024}, Order::fastest));
  CHECK_FALSE(normed({4, 3072, 2064}, Order::fastest));
  CHECK_FALSE(normed({1, 3072, 1024, ScalarKind::bf16, Format::f16}, Order::fastest));
}

TEST_CASE("policies print themselves as they are written") {
  std::ostringstream text;
  text << gemv_wide << " " << few_gemm;
  CHECK(text.str() ==
        "GemvPolicy{.rows = 8, .tiles = 2, .stages = 5, .blocks_per_sm = 3} "
        "GemmPolicy{.rows = 16, .columns = 32, .warp_rows = 16, .warp_columns = 16, .stages = 8, .blocks_per_sm = 4}");
  constexpr GemvPolicy pasted = GemvPolicy{.rows = 8, .tiles = 2, .stages = 5, .blocks_per_sm = 3};
  CHECK(pasted == gemv_wide);
}
