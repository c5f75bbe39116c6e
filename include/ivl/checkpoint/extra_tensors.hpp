// Tensors that people's folders hold beside the weights, and that say nothing a model here would want.
#pragma once
#include <string_view>

namespace ivl {

namespace names {

/// What harmless tensors' names are, or end with after a dot. transformers leaves them out too.
inline constexpr std::string_view harmless_extras[] = {
    "rotary_emb.inv_freq",  // computed from the config; older transformers saved it, in every layer
    "position_ids",         // 0, 1, 2, ...
    "masked_bias",          // a constant of older attention code
    "mask_token",           // of the tower's training; a config that wants it is refused
    "score.weight",         // a head that grades or sorts texts instead of writing them
    "score.bias",          "classifier.weight", "classifier.bias",
    "input_scale",  // of quantised activations, which nothing here quantises; as the next
    "act_scale",
    "weight_shape",  // of packed weights; the config says it too
};

}  // namespace names

constexpr bool is_harmless_extra(std::string_view name) {
  for (const std::string_view extra : names::harmless_extras) {
    if (name == extra || (name.ends_with(extra) && name[name.size() - extra.size() - 1] == '.')) return true;
  }
  return false;
}

}  // namespace ivl
