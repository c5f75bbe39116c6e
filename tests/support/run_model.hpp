// Runs a model by its layers, one sequence at once, so that a test can look between them. On any backend.
#pragma once
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/model/vlm.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl_test {

using namespace ivl;

/// Called with the name of a stage and its rows as floats.
using Look = std::function<void(const std::string& stage, const std::vector<float>& values)>;

/// Values in a context's memory.
template <class Value>
class Placed {
 public:
  template <class Context>
  Placed(Context& ctx, std::span<const Value> values) : memory_(allocate(ctx, values.size_bytes())) {
    upload(ctx, memory_.data, values.data(), values.size_bytes());
  }
  template <class Context>
  Placed(Context& ctx, std::int64_t number) : memory_(allocate(ctx, std::size_t(number) * sizeof(Value))) {}

  Value* data() const { return reinterpret_cast<Value*>(memory_.data); }

 private:
  Memory memory_;
};

template <class Value, class Context>
std::vector<Value> downloaded(Context& ctx, const Value* values, std::int64_t number) {
  std::vector<Value> result(static_cast<std::size_t>(number));
  download(ctx, result.data(), values, result.size() * sizeof(Value));
  return result;
}

/// Whole rows, that is without gaps between them.
template <class Context, class Scalar, int Width>
std::vector<float> floats(Context& ctx, Rows<Scalar, Width> rows) {
  std::vector<float> values;
  for (const auto value : downloaded<std::remove_const_t<Scalar>>(ctx, rows.data, rows.count * rows.width())) {
    values.push_back(to_float(value));
  }
  return values;
}

/// A batch of equally long sequences, all of their tokens new, with one page each.
class WholeSequences {
 public:
  template <class Context>
  WholeSequences(Context& ctx, int sequences, int length)
      : tables_(ctx, std::span<const std::int32_t>(tables(sequences, length))) {
    const std::int32_t* next = tables_.data();
    const auto take = [&next](int number) { return std::exchange(next, next + number); };
    batch.rows = sequences * length;
    batch.sequences = sequences;
    batch.row_begin = take(sequences + 1);
    batch.kv_length = take(sequences);
    batch.page_table = batch.slot_of = take(sequences);
    batch.sequence_of = take(batch.rows);
    batch.positions = take(batch.rows);
    batch.pages_per_sequence = 1;
    batch.longest = length;
  }

  Batch batch;

 private:
  static std::vector<std::int32_t> tables(int sequences, int length) {
    std::vector<std::int32_t> all;
    for (int s = 0; s <= sequences; ++s) all.push_back(s * length);
    all.insert(all.end(), std::size_t(sequences), length);
    for (int s = 0; s < sequences; ++s) all.push_back(s);
    for (int row = 0; row < sequences * length; ++row) all.push_back(row / length);
    for (int row = 0; row < sequences * length; ++row) all.push_back(row % length);
    return all;
  }

  Placed<std::int32_t> tables_;
};

/// Tower and projector. pixels [tiles, 3, tile_px, tile_px]; returns [tiles * tokens_per_tile, hidden].
template <class Scalar, class Context, VlmConfig C>
std::vector<Scalar> run_vision(Context& ctx, const Vlm<C>& vlm, std::span<const float> pixels, const Look& look) {
  constexpr int pixels_per_tile = 3 * C.vit.tile_px * C.vit.tile_px;
  const int tiles = int(pixels.size()) / pixels_per_tile;
  std::vector<Scalar> values;
  for (const float value : pixels) values.push_back(round_to<Scalar>(value));
  const Placed<Scalar> rounded(ctx, std::span<const Scalar>(values)), unfolded(ctx, std::int64_t(values.size()));
  const Rows<Scalar, C.vit.patch_width()> patches(unfolded.data(), std::int64_t(tiles) * C.vit.patches());
  unfold_patches<C.vit.tile_px, C.vit.patch_px>(ctx, Rows<const Scalar, pixels_per_tile>(rounded.data(), tiles),
                                                patches);
  const WholeSequences whole(ctx, tiles, C.vit.tokens());
  const int page_tokens = int(round_up(C.vit.tokens(), kv_page_unit));
  using Tower = VisionTower<C.vit>;
  const auto page_bytes = kv_page_bytes(ctx, VitBlock<C.vit>::attention_shape, kind_of<Scalar>, page_tokens);
  const Memory pages = allocate(ctx, std::size_t(page_bytes * tiles));
  const KvView kv{.pages = pages.data, .page_bytes = page_bytes, .page_tokens = page_tokens};

  Carver measure;
  Tower::template Scratch<Scalar>::carve(measure, tiles);
  decltype(vlm.projector)::template Scratch<Scalar>::carve(measure, tiles);
  const Memory memory = allocate(ctx, measure.used());
  Carver place(memory.data);
  const auto tower = Tower::template Scratch<Scalar>::carve(place, tiles);
  const auto projector = decltype(vlm.projector)::template Scratch<Scalar>::carve(place, tiles);

  const Placed<Scalar> x_data(ctx, std::int64_t(whole.batch.rows) * C.vit.hidden);
  const Rows<Scalar, C.vit.hidden> x(x_data.data(), whole.batch.rows);
  vlm.vision.embed_patches(ctx, Rows<const Scalar, C.vit.patch_width()>(patches), tower, x);
  look("vision.embeddings", floats(ctx, x));
  for (int layer = 0; layer < C.vit.layers; ++layer) {
    vlm.vision.blocks[std::size_t(layer)].forward(ctx, whole.batch, kv, vlm.facts.vision_norm_eps, tower.block, x);
    look("vision.layer." + std::to_string(layer), floats(ctx, x));
  }
  const std::int64_t rows = std::int64_t(tiles) * C.tokens_per_tile();
  const Placed<Scalar> y_data(ctx, rows * C.decoder.hidden);
  const Rows<Scalar, C.decoder.hidden> y(y_data.data(), rows);
  vlm.projector.forward(ctx, x, projector, y);
  look("projector.shuffled", floats(ctx, projector.shuffled));
  look("projector.output", floats(ctx, y));
  return downloaded<Scalar>(ctx, y.data, rows * C.decoder.hidden);
}

/// The decoder over a whole prompt; returns logits of every position. `image_rows` fill sources below zero.
template <class Scalar, class Context, VlmConfig C>
std::vector<float> run_language(Context& ctx, const Vlm<C>& vlm, std::span<const std::int32_t> sources,
                                const std::vector<Scalar>& image_rows, const Look& look) {
  constexpr int hidden = C.decoder.hidden;
  const int length = int(sources.size()), page_tokens = int(round_up(length, kv_page_unit));
  const WholeSequences whole(ctx, 1, length);
  const std::vector<std::int32_t> lengths(sources.size(), length);
  const Placed<std::int32_t> rope_lengths(ctx, std::span<const std::int32_t>(lengths)), placed_sources(ctx, sources);
  const Placed<Scalar> placed_images(ctx, std::span<const Scalar>(image_rows));
  const auto page_bytes = kv_page_bytes(ctx, DecoderBlock<C.decoder>::attention_shape, kind_of<Scalar>, page_tokens);
  const Memory page = allocate(ctx, std::size_t(page_bytes));
  const KvView kv{.pages = page.data, .page_bytes = page_bytes, .page_tokens = page_tokens};

  using Scratch = typename Decoder<C.decoder>::template Scratch<Scalar>;
  Carver measure;
  Scratch::carve(measure, length);
  const Memory memory = allocate(ctx, measure.used());
  Carver place(memory.data);
  const Scratch scratch = Scratch::carve(place, length);

  const Rows<const Scalar, hidden> images(placed_images.data(), std::int64_t(image_rows.size()) / hidden);
  const auto& language = vlm.language;
  language.embed_rows(ctx, placed_sources.data(), images, scratch.x);
  look("decoder.embeddings", floats(ctx, scratch.x));
  rope_angles(ctx, vlm.facts.rope, whole.batch.positions, rope_lengths.data(), Rows<float>(scratch.angles));
  for (int layer = 0; layer < C.decoder.layers; ++layer) {
    language.blocks[std::size_t(layer)].forward(ctx, whole.batch, kv, C.decoder.attention.window_of(layer),
                                                scratch.angles, vlm.facts.language_norm_eps, scratch.block, scratch.x);
    look("decoder.layer." + std::to_string(layer), floats(ctx, scratch.x));
  }
  const std::int64_t vocabulary = vlm.facts.vocab_rows;
  const Placed<float> logits(ctx, length * vocabulary);
  language.head_logits(ctx, whole.batch.positions, vlm.facts.language_norm_eps, scratch,
                       Rows<float>(logits.data(), length, vocabulary));
  look("decoder.norm", floats(ctx, scratch.last));
  return downloaded<float>(ctx, logits.data(), length * vocabulary);
}

}  // namespace ivl_test
