// Numbers of the rotary embedding, as a checkpoint's config.json gives them.
#pragma once
#include <cstdint>

namespace ivl {

enum class RopeKind : std::uint8_t {
  plain,
  dynamic_ntk,  ///< `rope_scaling: {rope_type: dynamic}`: the base grows once a sequence is longer than `context`
};

struct RopeFacts {
  RopeKind kind = RopeKind::plain;
  double base = 10000;  ///< rope_theta
  double factor = 1;    ///< rope_scaling.factor
  int context = 0;      ///< max_position_embeddings
  bool operator==(const RopeFacts&) const = default;
};

}  // namespace ivl
