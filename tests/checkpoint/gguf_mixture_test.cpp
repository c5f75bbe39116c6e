#include "ivl/checkpoint/gguf_mixture.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

using namespace ivl;

GgmlType type_of_matrix(GgufMixture mixture, const char* name, int layer, std::int64_t in = 4096) {
  return type_in(mixture, {.name = name, .layer = layer, .layers = 32, .in = in});
}

TEST_CASE("mixtures have the types of published files") {
  using enum GgmlType;
  // Of 32 layers the first four and the last four get more bits, and every third between: 6, 9, ..., 27.
  for (int layer = 0; layer < 32; ++layer) {
    CAPTURE(layer);
    const bool more = layer < 4 || layer >= 28 || (layer >= 6 && layer % 3 == 0);
    CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.7.attn_v.weight", layer) == (more ? q6_k : q4_k));
    CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.7.ffn_down.weight", layer) == (more ? q6_k : q4_k));
    CHECK(type_of_matrix(GgufMixture::q5_k_m, "blk.7.ffn_down_exps.weight", layer) == (more ? q6_k : q5_k));
    CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.7.attn_q.weight", layer) == q4_k);
    CHECK(type_of_matrix(GgufMixture::q6_k, "blk.7.attn_v.weight", layer) == q6_k);
    CHECK(type_of_matrix(GgufMixture::q4_0, "blk.7.ffn_down.weight", layer) == q4_0);
  }
  for (const GgufMixture mixture : {GgufMixture::q4_0, GgufMixture::q4_k_m, GgufMixture::q5_k_m, GgufMixture::q6_k})
    CHECK(type_of_matrix(mixture, "output.weight", -1) == q6_k);
  CHECK(type_of_matrix(GgufMixture::q8_0, "output.weight", -1) == q8_0);
  CHECK(type_of_matrix(GgufMixture::q4_k_m, "token_embd.weight", -1) == q4_k);
  CHECK(type_in(GgufMixture::q4_k_m, {.name = "token_embd.weight", .in = 4096, .tied_head = true}) == q6_k);
  CHECK(type_in(GgufMixture::mxfp4, {.name = "blk.0.ffn_up_exps.weight", .layers = 32, .in = 2880, .experts = true}) ==
        mxfp4);
  CHECK(type_of_matrix(GgufMixture::mxfp4, "blk.0.attn_q.weight", 0) == q8_0);
  CHECK(type_in(GgufMixture::q4_k_m, {.name = "v.blk.0.ffn_up.weight", .in = 1024, .vision = true}) == q8_0);
  CHECK(type_in(GgufMixture::bf16, {.name = "mm.model.mlp.1.weight", .in = 4096, .vision = true}) == bf16);
  CHECK(type_in(GgufMixture::q4_k_m, {.name = "blk.40.attn_v.weight", .layer = 40, .layers = 80, .in = 8192}) == q5_k);
}

TEST_CASE("rows of no whole blocks get a smaller block, or halves") {
  using enum GgmlType;
  for (const std::int64_t in : {896, 2880, 29568}) {
    CAPTURE(in);
    CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.5.attn_q.weight", 5, in) == q5_0);
    CHECK(type_of_matrix(GgufMixture::q5_k_m, "blk.5.attn_q.weight", 5, in) == q5_1);
    CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.0.attn_v.weight", 0, in) == q8_0);
    CHECK(type_of_matrix(GgufMixture::q4_0, "blk.5.attn_q.weight", 5, in) == q4_0);
  }
  CHECK(type_of_matrix(GgufMixture::q4_k_m, "blk.5.attn_q.weight", 5, 48) == f16);
  CHECK(type_of_matrix(GgufMixture::q8_0, "blk.5.attn_q.weight", 5, 48) == f16);
}

TEST_CASE("mixtures are found by their names") {
  CHECK(find_mixture("q4_k_m") == GgufMixture::q4_k_m);
  CHECK(find_mixture("mxfp4") == GgufMixture::mxfp4);
  CHECK_FALSE(find_mixture("q4_k"));
  CHECK(name_of(GgufMixture::q5_k_m) == "q5_k_m");
}

}  // namespace
