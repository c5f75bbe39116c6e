// InternViT: patches of normalised tiles (ops/picture.hpp, or unfold_patches of pixel values) to features. No final
// norm; the class row stays until the pixel shuffle.
#pragma once
#include <array>

#include "ivl/ops/move.hpp"
#include "ivl/vision/vit_block.hpp"

namespace ivl {

template <VitConfig C>
struct VisionTower {
  static_assert(checked<C>());
  static constexpr VitConfig config = C;

  Weight<C.hidden, C.patch_width()> patch_embedding;
  Vector<C.hidden> patch_bias;
  Vector<C.hidden> class_token;
  Vector<C.tokens() * C.hidden> positions;
  std::array<VitBlock<C>, std::size_t(C.layers)> blocks;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, C.hidden> embedded;
    typename VitBlock<C>::template Scratch<Scalar> block;

    static Scratch carve(Carver& carver, std::int64_t tiles) {
      Scratch s;
      s.embedded = {carver.take<Scalar>(tiles * C.patches() * C.hidden), tiles * C.patches()};
      s.block = decltype(s.block)::carve(carver, tiles * C.tokens());
      return s;
    }
  };

  /// patches [tiles * C.patches(), 3 patch_px^2]; x [tiles * C.tokens(), hidden].
  template <class Context, class Scalar>
  void embed_patches(Context& ctx, Rows<const Scalar, C.patch_width()> patches, const Scratch<Scalar>& scratch,
                     Rows<Scalar, C.hidden> x) const {
    static_assert(RowOps<Context, Scalar>,
                  "VisionTower: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto embedded = scratch.embedded.slice(0, patches.count);
    linear(ctx, patches, patch_embedding, Store{patch_bias}, embedded);
    add_positions<C.side()>(ctx, embedded, class_token, positions, x);
  }

  /// Calls visit(canonical name, weight, ...) for every weight outside the blocks.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    visit("patch_embedding.weight", self.patch_embedding, Shape{C.hidden, 3, C.patch_px, C.patch_px});
    visit("patch_embedding.bias", self.patch_bias);
    visit("class_token", self.class_token, Shape{1, 1, C.hidden});
    visit("positions", self.positions, Shape{1, C.tokens(), C.hidden});
  }
};

}  // namespace ivl
