// What a family's decoders have in common, whatever file tells their sizes.
#pragma once
#include "ivl/config/decoder.hpp"
#include "ivl/facts/family.hpp"

namespace ivl::detail {

/// Sets the kinds: biases, norms, sinks, which layers have the window, and what experts compute.
constexpr void set_kinds(DecoderConfig& decoder, Family family) {
  AttentionConfig& attention = decoder.attention;
  switch (family) {
    case Family::qwen2:
      attention.qkv_bias = true;
      return;
    case Family::qwen3:
    case Family::qwen3_moe:
      attention.head_norm = true;
      return;
    case Family::gpt_oss:
      attention.qkv_bias = attention.out_bias = attention.sinks = true;
      attention.window_layers = WindowLayers::even;  // what transformers takes where a file does not say
      decoder.moe.activation = ExpertActivation::clamped_swi_glu;
      decoder.moe.bias = true;
      return;
    case Family::internlm3:
      return;
  }
}

}  // namespace ivl::detail
