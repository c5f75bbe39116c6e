// Runs a model by its layers, one sequence at once, so that a test can look between them.
#pragma once
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "ivl/cpu/cpu.hpp"
#include "ivl/model/vlm.hpp"

namespace ivl_test {

using namespace ivl;

/// Called with the name of a stage and its rows as floats.
using Look = std::function<void(const std::string& stage, const std::vector<float>& values)>;

template <class Scalar, int Width>
std::vector<float> floats(Rows<Scalar, Width> rows) {
  std::vector<float> values;
  for (std::int64_t r = 0; r < rows.count; ++r)
    for (std::int64_t c = 0; c < rows.width(); ++c) values.push_back(to_float(rows[r][c]));
  return values;
}

/// A batch of equally long sequences, all of their tokens new, with one page each.
struct WholeSequences {
  std::vector<std::int32_t> row_begin, kv_length, sequence_of, positions, page_table;
  Batch batch;
  WholeSequences(int sequences, int length) {
    for (int s = 0; s <= sequences; ++s) row_begin.push_back(s * length);
    kv_length.assign(std::size_t(sequences), length);
    page_table.resize(std::size_t(sequences));
    std::iota(page_table.begin(), page_table.end(), 0);
    for (int row = 0; row < sequences * length; ++row) {
      sequence_of.push_back(row / length);
      positions.push_back(row % length);
    }
    batch = {.rows = sequences * length, .sequences = sequences, .row_begin = row_begin.data(), .kv_length = kv_length.data(),
             .sequence_of = sequence_of.data(), .positions = positions.data(), .page_table = page_table.data(),
             .pages_per_sequence = 1, .longest = length};
  }
};

/// Tower and projector. pixels [tiles, 3, tile_px, tile_px]; returns [tiles * tokens_per_tile, hidden].
template <class Scalar, VlmConfig C>
std::vector<Scalar> run_vision(cpu::Context& ctx, const Vlm<C>& vlm, std::span<const float> pixels, const Look& look) {
  constexpr int pixels_per_tile = 3 * C.vit.tile_px * C.vit.tile_px;
  const int tiles = int(pixels.size()) / pixels_per_tile;
  std::vector<Scalar> rounded;
  for (const float value : pixels) rounded.push_back(round_to<Scalar>(value));
  const WholeSequences whole(tiles, C.vit.tokens());
  const int page_tokens = int(round_up(C.vit.tokens(), kv_page_unit));
  using Tower = VisionTower<C.vit>;
  const auto page_bytes = kv_page_bytes(ctx, VitBlock<C.vit>::attention_shape, kind_of<Scalar>, page_tokens);
  const Memory pages = allocate(ctx, std::size_t(page_bytes * tiles));
  const KvView kv{pages.data, page_bytes, page_tokens};

  Carver measure;
  Tower::template Scratch<Scalar>::carve(measure, tiles);
  decltype(vlm.projector)::template Scratch<Scalar>::carve(measure, tiles);
  const Memory memory = allocate(ctx, measure.used());
  Carver place(memory.data);
  const auto tower = Tower::template Scratch<Scalar>::carve(place, tiles);
  const auto projector = decltype(vlm.projector)::template Scratch<Scalar>::carve(place, tiles);

  std::vector<Scalar> x_data(std::size_t(whole.batch.rows) * C.vit.hidden);
  const Rows<Scalar, C.vit.hidden> x(x_data.data(), whole.batch.rows);
  vlm.vision.embed_patches(ctx, Rows<const Scalar, pixels_per_tile>(rounded.data(), tiles), tower, x);
  look("vision.embeddings", floats(x));
  for (int layer = 0; layer < C.vit.layers; ++layer) {
    vlm.vision.blocks[std::size_t(layer)].forward(ctx, whole.batch, kv, vlm.facts.vision_norm_eps, tower.block, x);
    look("vision.layer." + std::to_string(layer), floats(x));
  }
  std::vector<Scalar> y_data(std::size_t(tiles) * C.tokens_per_tile() * C.decoder.hidden);
  const Rows<Scalar, C.decoder.hidden> y(y_data.data(), tiles * C.tokens_per_tile());
  vlm.projector.forward(ctx, x, projector, y);
  look("projector.shuffled", floats(projector.shuffled));
  look("projector.output", floats(y));
  return y_data;
}

/// The decoder over a whole prompt; returns logits of every position. `image_rows` fill sources below zero.
template <class Scalar, VlmConfig C>
std::vector<float> run_language(cpu::Context& ctx, const Vlm<C>& vlm, std::span<const std::int32_t> sources,
                                const std::vector<Scalar>& image_rows, const Look& look) {
  constexpr int hidden = C.decoder.hidden;
  const int length = int(sources.size()), page_tokens = int(round_up(length, kv_page_unit));
  const WholeSequences whole(1, length);
  const std::vector<std::int32_t> rope_lengths(sources.size(), length);
  const auto page_bytes = kv_page_bytes(ctx, DecoderBlock<C.decoder>::attention_shape, kind_of<Scalar>, page_tokens);
  const Memory page = allocate(ctx, std::size_t(page_bytes));
  const KvView kv{page.data, page_bytes, page_tokens};

  using Scratch = typename Decoder<C.decoder>::template Scratch<Scalar>;
  Carver measure;
  Scratch::carve(measure, length);
  const Memory memory = allocate(ctx, measure.used());
  Carver place(memory.data);
  const Scratch scratch = Scratch::carve(place, length);

  const Rows<const Scalar, hidden> images(image_rows.data(), std::int64_t(image_rows.size()) / hidden);
  const auto& language = vlm.language;
  language.embed_rows(ctx, sources.data(), images, scratch.x);
  look("decoder.embeddings", floats(scratch.x));
  rope_angles(ctx, vlm.facts.rope, whole.batch.positions, rope_lengths.data(), Rows<float>(scratch.angles));
  for (int layer = 0; layer < C.decoder.layers; ++layer) {
    language.blocks[std::size_t(layer)].forward(ctx, whole.batch, kv, scratch.angles, vlm.facts.language_norm_eps, scratch.block, scratch.x);
    look("decoder.layer." + std::to_string(layer), floats(scratch.x));
  }
  std::vector<float> logits(sources.size() * std::size_t(vlm.facts.vocab_rows));
  language.head_logits(ctx, whole.batch.positions, vlm.facts.language_norm_eps, scratch,
                       Rows<float>(logits.data(), length, vlm.facts.vocab_rows));
  look("decoder.norm", floats(scratch.last));
  return logits;
}

}  // namespace ivl_test
