// A sparse mixture of experts in place of a decoder layer's feed-forward.
#pragma once
#include <cstdint>

#include "ivl/config/rules.hpp"
#include "ivl/facts/expert_activation.hpp"

namespace ivl {

/// A row goes to the `active` experts with the largest router logits (the lower number wins a tie), weighted by the
/// softmax of those logits. Qwen3-MoE says softmax over all experts, top-k, renormalise; GPT-OSS says top-k, then
/// softmax: one function.
struct MoeConfig {
  int experts = 0;     ///< num_experts, num_local_experts; 0: the layer is dense
  int active = 0;      ///< num_experts_per_tok
  int mlp_hidden = 0;  ///< of one expert: moe_intermediate_size; GPT-OSS calls it intermediate_size
  ExpertActivation activation = ExpertActivation::swi_glu;
  bool bias = false;  ///< of the router and of the experts' matrices: GPT-OSS

  bool operator==(const MoeConfig&) const = default;
};

constexpr std::int64_t parameters(const MoeConfig& c, std::int64_t hidden) {
  const std::int64_t expert = 3 * hidden * c.mlp_hidden + (c.bias ? 2 * c.mlp_hidden + hidden : 0);
  return c.experts * (hidden + (c.bias ? 1 : 0) + expert);
}

constexpr void check_rules(const MoeConfig& c) {
  require("MoeConfig: every size must be set and positive", c.experts > 0 && c.active > 0 && c.mlp_hidden > 0);
  require("MoeConfig: a row cannot go to more experts than there are", c.active <= c.experts);
  require("MoeConfig: mlp_hidden must be a multiple of 32, one block of MXFP4", is_multiple(c.mlp_hidden, 32));
}

template <MoeConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
