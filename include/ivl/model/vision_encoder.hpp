// From pictures to the rows that stand for them in a prompt: tower and projector, without a language model.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/memory.hpp"
#include "ivl/ops/picture.hpp"
#include "ivl/ops/transfer.hpp"

namespace ivl {

/// Working memory comes with the first picture and stays; it grows to the picture with the most tiles.
template <VlmConfig C, class Context, class Scalar = bf16>
class VisionEncoder {
  static_assert(PictureOp<Context, Scalar>,
                "VisionEncoder: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
  static constexpr int patch_width = C.vit.patch_width();
  static constexpr std::int64_t patches_per_tile = C.vit.patches();
  static constexpr int page_tokens = int(round_up(C.vit.tokens(), kv_page_unit));
  /// Tiles of one pass: enough rows for a matrix product to be efficient, few enough to keep memory small.
  static constexpr int tiles_per_pass = std::max(1, 2048 / C.vit.tokens());
  using Tower = VisionTower<C.vit>;
  using Projection = Projector<C.vit, C.projector, C.decoder.hidden>;

 public:
  using FeatureRows = Rows<const Scalar, C.decoder.hidden>;

  /// `ctx` and `vlm` must outlive the encoder.
  VisionEncoder(Context& ctx, const Vlm<C>& vlm) : ctx_(ctx), vlm_(vlm) {}

  /// The rows of a picture, [picture.tiles() * tokens_per_tile, hidden]: its cells row by row, then the thumbnail.
  /// Throws RequestError unless the picture's tiles are the tower's.
  OwnedRows<Scalar, C.decoder.hidden> operator()(const Picture& picture) {
    const OwnedRows<Scalar, C.decoder.hidden> owned(ctx_, std::int64_t(picture.tiles()) * C.tokens_per_tile());
    encode(picture, [&](int first_tile, FeatureRows rows) {
      copy(ctx_, owned[std::int64_t(first_tile) * C.tokens_per_tile()], rows.data,
           std::size_t(rows.count) * C.decoder.hidden * sizeof(Scalar));
    });
    return owned;
  }

  /// The same without memory for all rows: give(first tile, rows of some tiles), which are good during the call.
  template <class Give>
  void encode(const Picture& picture, const Give& give) {
    cut(picture, 0);
    for (int seen = 0; seen < picture.tiles();) seen += see_on(give);
  }

  /// The same layer by layer: cuts the picture, of which `see_on` sees the tiles from `first_tile` on.
  void cut(const Picture& picture, int first_tile) {
    if (picture.rules().tile_px != C.vit.tile_px)
      fail<RequestError>("picture: expected tiles of ", C.vit.tile_px, " pixels, found ", picture.rules().tile_px);
    const auto patches = patches_for(picture.tiles());
    if (!picture.pixel_values().empty())
      unfold(picture.pixel_values(), patches);
    else
      unfold_picture<C.vit.patch_px>(ctx_, picture, pixel_statistics(vlm_.facts.image), patches);
    cut_ = patches;
    first_tile_ = first_tile;
    layer_ = 0;
  }

  /// One layer further over the next tiles. Returns how many it has seen to the end, after give(first tile, rows).
  template <class Give>
  int see_on(const Give& give) {
    const int tiles = std::min(tiles_per_pass, int(cut_.count / patches_per_tile) - first_tile_);
    Batch batch;
    batch.sequences = tiles;
    batch.rows = tiles * C.vit.tokens();
    batch.row_begin = tables_;
    batch.kv_length = batch.row_begin + tiles_per_pass + 1;
    batch.sequence_of = batch.kv_length + tiles_per_pass;
    batch.positions = batch.sequence_of + tiles_per_pass * C.vit.tokens();
    batch.longest = C.vit.tokens();
    const auto x = x_.slice(0, batch.rows);
    if (layer_ == 0)
      vlm_.vision.embed_patches(
          ctx_, Rows<const Scalar, patch_width>(cut_.slice(first_tile_ * patches_per_tile, tiles * patches_per_tile)),
          tower_, x);
    vlm_.vision.blocks[std::size_t(layer_)].forward(ctx_, batch, kv_, vlm_.facts.vision_norm_eps, tower_.block, x);
    if (++layer_ < C.vit.layers) return 0;
    const auto y = features_.slice(0, std::int64_t(tiles) * C.tokens_per_tile());
    vlm_.projector.forward(ctx_, x, projector_, y);
    give(first_tile_, FeatureRows(y));
    first_tile_ += tiles;
    layer_ = 0;
    return tiles;
  }

 private:
  using PatchRows = Rows<Scalar, patch_width>;

  void unfold(std::span<const float> pixel_values, PatchRows patches) {
    const OwnedRows<Scalar, 3 * C.vit.tile_px * C.vit.tile_px> pixels(ctx_, pixel_values);
    unfold_patches<C.vit.tile_px, C.vit.patch_px>(ctx_, pixels, patches);
  }

  PatchRows patches_for(int tiles) {
    if (memory_.data == nullptr) make_room();
    const std::int64_t rows = tiles * patches_per_tile;
    const std::size_t bytes = std::size_t(rows) * patch_width * sizeof(Scalar);
    if (bytes > patches_.bytes) {
      patches_ = {};  // freed before there is more
      patches_ = allocate(ctx_, bytes);
    }
    return {reinterpret_cast<Scalar*>(patches_.data), rows};
  }

  /// A tile is a sequence of its own with one page, and all of its rows are new.
  void make_room() {
    Carver measure;
    lay_out(measure);
    memory_ = allocate(ctx_, measure.used());
    Carver place(memory_.data);
    lay_out(place);

    constexpr int tiles = tiles_per_pass, rows = tiles * C.vit.tokens();
    std::vector<std::int32_t> tables;
    for (int tile = 0; tile <= tiles; ++tile) tables.push_back(tile * C.vit.tokens());
    for (int tile = 0; tile < tiles; ++tile) tables.push_back(C.vit.tokens());
    for (int row = 0; row < rows; ++row) tables.push_back(row / C.vit.tokens());
    for (int row = 0; row < rows; ++row) tables.push_back(row % C.vit.tokens());
    for (int tile = 0; tile < tiles; ++tile) tables.push_back(tile);
    upload(ctx_, tables_, tables.data(), tables.size() * sizeof(std::int32_t));
  }

  void lay_out(Carver& carver) {
    constexpr std::int64_t tiles = tiles_per_pass, rows = tiles * C.vit.tokens();
    x_ = {carver.take<Scalar>(rows * C.vit.hidden), rows};
    features_ = {carver.take<Scalar>(tiles * C.tokens_per_tile() * C.decoder.hidden), tiles * C.tokens_per_tile()};
    tower_ = Tower::template Scratch<Scalar>::carve(carver, tiles);
    projector_ = Projection::template Scratch<Scalar>::carve(carver, tiles);
    tables_ = carver.take<std::int32_t>(3 * tiles + 1 + 2 * rows);
    const std::int64_t page_bytes = kv_page_bytes(ctx_, VitBlock<C.vit>::attention_shape, kind_of<Scalar>, page_tokens);
    kv_ = {carver.take<std::byte>(tiles * page_bytes), page_bytes, page_tokens, tables_ + 2 * tiles + 1 + 2 * rows, 1};
  }

  Context& ctx_;
  const Vlm<C>& vlm_;
  Memory memory_;
  Memory patches_;  // of one picture
  PatchRows cut_;   // in patches_
  int first_tile_ = 0, layer_ = 0;
  Rows<Scalar, C.vit.hidden> x_;
  Rows<Scalar, C.decoder.hidden> features_;
  typename Tower::template Scratch<Scalar> tower_;
  typename Projection::template Scratch<Scalar> projector_;
  std::int32_t* tables_ = nullptr;
  KvView kv_;
};

}  // namespace ivl
