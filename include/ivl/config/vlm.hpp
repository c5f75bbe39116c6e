// A whole vision-language model's structure: what makes two checkpoints one type.
#pragma once
#include <cstdint>

#include "ivl/config/decoder.hpp"
#include "ivl/config/projector.hpp"
#include "ivl/config/vit.hpp"

namespace ivl {

struct VlmConfig {
  VitConfig vit;
  ProjectorConfig projector;
  DecoderConfig decoder;

  constexpr int tokens_per_tile() const { return projector.tokens_per_tile(vit); }
  /// The checkpoint that this is, or that ranks share parts of.
  constexpr VlmConfig whole() const {
    VlmConfig c = *this;
    c.vit.ranks = c.decoder.ranks = 1;
    return c;
  }
  bool operator==(const VlmConfig&) const = default;
};

constexpr std::int64_t parameters(const VlmConfig& c, std::int64_t vocab_rows) {
  return parameters(c.vit) + parameters(c.projector, c.vit, c.decoder.hidden) + parameters(c.decoder, vocab_rows);
}

constexpr void check_rules(const VlmConfig& c) {
  check_rules(c.vit);
  require("VlmConfig: the patch grid (tile_px / patch_px) must be a whole number of blocks of the projector",
          is_multiple(c.vit.side(), c.projector.scale));
  check_rules(c.decoder);
  require("VlmConfig: the ranks of the tower must be those of the decoder, or 1 where each has all of it",
          c.vit.ranks == 1 || c.vit.ranks == c.decoder.ranks);
  require("VlmConfig: the decoder's hidden must be a multiple of 16 on each of the ranks that share the projector",
          is_multiple(c.decoder.hidden, 16 * c.vit.ranks));
}

/// Whether so many ranks can share a tower, and the projector behind it to rows of `hidden`.
constexpr bool can_share(const VitConfig& c, int hidden, int ranks) {
  return is_multiple(c.heads, ranks) && is_multiple(c.mlp_hidden, 16 * ranks) && is_multiple(hidden, 16 * ranks) &&
         !c.qk_norm;
}

template <VlmConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
