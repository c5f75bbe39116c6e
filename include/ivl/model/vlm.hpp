// A checkpoint as a type: vision tower, projector, decoder. Const after loading, shareable between threads.
#pragma once
#include <memory>

#include "ivl/config/vlm.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/language/decoder.hpp"
#include "ivl/projector/projector.hpp"
#include "ivl/vision/vision_tower.hpp"

namespace ivl {

/// Weights, placed by a backend, and the data that came with them. It knows no backend: whoever placed it can run it.
template <VlmConfig C>
struct Vlm {
  static_assert(checked<C>());
  static constexpr VlmConfig config = C;

  VisionTower<C.vit> vision;
  Projector<C.vit, C.projector, C.decoder.hidden> projector;
  Decoder<C.decoder> language;
  ModelFacts facts;

  /// Calls visit(module, layer, part, weight, shape in files...) for every weight. `layer` is -1 outside the layers;
  /// module + part is a canonical name of checkpoint/names.hpp.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    const auto in = [&](const char* module, int layer) {
      return [&visit, module, layer](const char* part, auto& weight, auto... shape) {
        visit(module, layer, part, weight, shape...);
      };
    };
    self.vision.each_weight(self.vision, in("vision.", -1));
    for (int layer = 0; layer < C.vit.layers; ++layer) {
      auto& block = self.vision.blocks[std::size_t(layer)];
      block.each_weight(block, in("vision.blocks.#.", layer));
    }
    self.projector.each_weight(self.projector, in("projector.", -1));
    self.language.each_weight(self.language, in("language.", -1));
    for (int layer = 0; layer < C.decoder.layers; ++layer) {
      auto& block = self.language.blocks[std::size_t(layer)];
      block.each_weight(block, in("language.blocks.#.", layer));
    }
    visit("language.", -1, "head.weight", self.language.head);
  }
};

}  // namespace ivl
