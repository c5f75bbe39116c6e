// InternViT: patches of normalised tiles to features. No final norm; the class row stays until the pixel shuffle.
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
    Rows<Scalar, C.patch_width()> patches;
    Rows<Scalar, C.hidden> embedded;
    typename VitBlock<C>::template Scratch<Scalar> block;

    static Scratch carve(Carver& carver, std::int64_t tiles) {
      Scratch s;
      s.patches = {carver.take<Scalar>(tiles * C.patches() * C.patch_width()), tiles * C.patches()};
      s.embedded = {carver.take<Scalar>(tiles * C.patches() * C.hidden), tiles * C.patches()};
      s.block = decltype(s.block)::carve(carver, tiles * C.tokens());
      return s;
    }
  };

  /// pixels [tiles, 3 tile_px^2] normalised, (channel, row, column) order; x [tiles * C.tokens(), hidden].
  template <class Context, class Scalar>
  void embed_patches(Context& ctx, Rows<const Scalar, 3 * C.tile_px * C.tile_px> pixels, const Scratch<Scalar>& scratch,
                     Rows<Scalar, C.hidden> x) const {
    static_assert(RowOps<Context, Scalar>, "VisionTower: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto patches = scratch.patches.slice(0, pixels.count * C.patches());
    const auto embedded = scratch.embedded.slice(0, patches.count);
    unfold_patches<C.tile_px, C.patch_px>(ctx, pixels, patches);
    linear(ctx, patches, patch_embedding, Store{patch_bias}, embedded);
    add_positions<C.side()>(ctx, embedded, class_token, positions, x);
  }

  /// The whole tower; x [tiles * C.tokens(), hidden] receives the last block's output.
  template <class Context, class Scalar>
  void forward(Context& ctx, Rows<const Scalar, 3 * C.tile_px * C.tile_px> pixels, const Batch& tiles, const KvView& kv, float eps,
               const Scratch<Scalar>& scratch, Rows<Scalar, C.hidden> x) const {
    embed_patches(ctx, pixels, scratch, x);
    for (const VitBlock<C>& block : blocks) block.forward(ctx, tiles, kv, eps, scratch.block, x);
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
