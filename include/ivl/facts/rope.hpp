// Numbers of the rotary embedding, as a checkpoint's config.json gives them.
#pragma once
#include <cstdint>

namespace ivl {

enum class RopeKind : std::uint8_t {
  plain,
  dynamic_ntk,  ///< `rope_scaling: {rope_type: dynamic}`: the base grows once a sequence is longer than `context`
  yarn,         ///< `rope_scaling: {rope_type: yarn}`: slow frequencies are divided by `factor`, at every length
};

struct RopeFacts {
  RopeKind kind = RopeKind::plain;
  double base = 10000;  ///< rope_theta
  double factor = 1;    ///< rope_scaling.factor
  int context = 0;      ///< max_position_embeddings; of YaRN rope_scaling.original_max_position_embeddings

  // YaRN alone.
  double beta_fast = 32;        ///< frequencies that turn this often within `context` stay as they are,
  double beta_slow = 1;         ///< those that turn less often than this are divided by `factor`; a ramp lies between
  bool truncate = true;         ///< the ends of that ramp are rounded to whole dimensions, outwards
  double attention_factor = 1;  ///< cosines and sines are multiplied by it; absent in files: 0.1 ln(factor) + 1

  bool operator==(const RopeFacts&) const = default;
};

}  // namespace ivl
