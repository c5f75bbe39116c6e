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
}

template <VlmConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
