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

template <VlmConfig C>
constexpr bool checked() {
  static_assert(C.projector.scale > 0 && C.vit.patch_px > 0 && MultipleOf<C.vit.side(), C.projector.scale>,
                "VlmConfig: the patch grid (tile_px / patch_px) must be a whole number of the projector's blocks");
  return checked<C.vit>() && checked<C.decoder>();
}

}  // namespace ivl
