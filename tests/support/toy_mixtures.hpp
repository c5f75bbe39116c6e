// What the bundled toys are quantised to when they are asked (accuracy_test), which docs/formats.md says too.
#pragma once
#include "ivl/checkpoint/gguf_mixture.hpp"

namespace ivl_test {

/// Of the dense toy: at most a point is lost.
inline constexpr ivl::GgufMixture close_mixtures[] = {ivl::GgufMixture::q8_0, ivl::GgufMixture::q6_k};
/// The same, where the loss is told.
inline constexpr ivl::GgufMixture told_mixtures[] = {ivl::GgufMixture::q5_k_m, ivl::GgufMixture::q4_k_m,
                                                     ivl::GgufMixture::q4_0};
/// Of the toy on GPT-OSS: at most a point is lost.
inline constexpr ivl::GgufMixture close_mixture_of_experts = ivl::GgufMixture::mxfp4;

}  // namespace ivl_test
