// How ranks share a model: a rank's part is a type like any other, `Vlm<shard(C, 2)>`.
//
//   attention             whole heads, with their keys and values; columns of qkv, rows of the output projection
//   dense feed-forward    columns of gate and up (fc1), rows of down (fc2)
//   mixture of experts    whole experts; every rank routes
//   head                  rows of the vocabulary; the embedding is whole on every rank
//   norms, layer scales   whole on every rank
//
// Which dimension of a weight is shared is said by the table of names (checkpoint/names.hpp: ShardAxis); what a rank
// cannot have a part of is refused by the rules of the structures (config/vit.hpp, config/decoder.hpp).
#pragma once
#include "ivl/config/vlm.hpp"

namespace ivl {

/// The type of each of `ranks` parts of a whole model. Where the tower cannot be shared (25 heads, or a norm over all
/// of q), every rank has all of it. Where the decoder cannot be, `Vlm` of this type does not compile.
constexpr VlmConfig shard(VlmConfig whole, int ranks) {
  whole.decoder.ranks = ranks;
  whole.vit.ranks = can_share(whole.vit, whole.decoder.hidden, ranks) ? ranks : 1;
  return whole;
}

}  // namespace ivl
