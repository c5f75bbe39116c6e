// Looking inside a model, without an engine: features of a picture, rows after every stage of a forward pass, logits at
// every position.
//
// A pass goes layer by layer, and each layer takes a few hundred rows at a time. So a visitor sees all rows of a stage
// at once, and memory is that of the rows, of one layer's keys and values and of one step; it does not grow with the
// number of layers. `Scalar` is that of the activations: bf16, or float for experiments. Rows are in the context's
// memory: `to_floats(ctx, rows)` brings them to the host (ops/transfer.hpp).
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "ivl/core/error.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/prompt.hpp"
#include "ivl/model/run_alone.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/move.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/picture.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

enum class StageKind : std::uint8_t {
  vision_embeddings,   ///< [tiles * tokens, vit.hidden], the class row of each tile first
  vision_layer,        ///< the same rows, after block `layer`
  projector_shuffled,  ///< [tiles * tokens_per_tile, projector.input]
  projector_output,    ///< [tiles * tokens_per_tile, decoder.hidden]
  embeddings,          ///< [length, decoder.hidden], the rows of pictures merged in
  layer,               ///< the same rows, after layer `layer`
  norm,                ///< after the final norm: what the head multiplies
};

/// What a visitor is looking at.
struct Stage {
  StageKind kind = StageKind::embeddings;
  int layer = -1;  ///< of `vision_layer` and `layer`, counted from 0
};

/// "vision.layer.3", "decoder.norm", ...: one name a stage, as tests and files call them.
inline std::string name_of(const Stage& stage) {
  switch (stage.kind) {
    case StageKind::vision_embeddings:
      return "vision.embeddings";
    case StageKind::vision_layer:
      return "vision.layer." + std::to_string(stage.layer);
    case StageKind::projector_shuffled:
      return "projector.shuffled";
    case StageKind::projector_output:
      return "projector.output";
    case StageKind::embeddings:
      return "decoder.embeddings";
    case StageKind::layer:
      return "decoder.layer." + std::to_string(stage.layer);
    case StageKind::norm:
      return "decoder.norm";
  }
  return "?";
}

/// A visitor that looks at nothing.
struct LookAtNothing {
  template <class AnyRows>
  void operator()(const Stage&, const AnyRows&) const {}
};

// ---- pictures ------------------------------------------------------------------------------------------------------

/// Normalised pixel values [tiles, 3, tile_px, tile_px] of the host, such as a reference's, as the tower's input:
/// [tiles * patches, 3 patch_px^2].
template <class Scalar = bf16, class Context, VlmConfig C>
OwnedRows<Scalar, C.vit.patch_width()> patches_of(Context& ctx, const Vlm<C>&, std::span<const float> pixel_values) {
  const OwnedRows<Scalar, 3 * C.vit.tile_px * C.vit.tile_px> pixels(ctx, pixel_values);
  OwnedRows<Scalar, C.vit.patch_width()> patches(ctx, pixels.count * C.vit.patches());
  unfold_patches<C.vit.tile_px, C.vit.patch_px>(ctx, pixels, patches.view());
  return patches;
}

/// The same of a picture's tiles. Throws RequestError, ImageError.
template <class Scalar = bf16, class Context, VlmConfig C>
OwnedRows<Scalar, C.vit.patch_width()> patches_of(Context& ctx, const Vlm<C>& vlm, const Picture& picture) {
  if (const auto values = picture.pixel_values(); !values.empty()) return patches_of<Scalar>(ctx, vlm, values);
  OwnedRows<Scalar, C.vit.patch_width()> patches(ctx, std::int64_t(picture.tiles()) * C.vit.patches());
  unfold_picture<C.vit.patch_px>(ctx, picture, pixel_statistics(vlm.facts.image), patches.view());
  return patches;
}

template <VlmConfig C, class Scalar>
struct Features {
  OwnedRows<Scalar, C.vit.hidden> tower;          ///< [tiles * tokens, vit.hidden], the class row of each tile first
  OwnedRows<Scalar, C.decoder.hidden> projected;  ///< [tiles * tokens_per_tile, decoder.hidden]
};

/// What tower and projector make of patches. No keys or values of the decoder are made room for.
template <class Context, VlmConfig C, class Scalar, class Visit = LookAtNothing>
Features<C, Scalar> features(Context& ctx, const Vlm<C>& vlm, const OwnedRows<Scalar, C.vit.patch_width()>& patches,
                             const Visit& visit = {}) {
  constexpr int patches_per_tile = C.vit.patches(), tokens = C.vit.tokens(), features_per_tile = C.tokens_per_tile();
  using Projection = decltype(vlm.projector);
  const auto look = [&]<int Width>(StageKind kind, int layer, Rows<Scalar, Width> rows) {
    visit(Stage{kind, layer}, Rows<const Scalar, Width>(rows));
  };
  const std::int64_t tiles = patches.count / patches_per_tile;
  const WholeSequences whole = detail::tower_steps<Scalar, C.vit>(ctx, tiles);
  const std::int64_t step_tiles = whole.step_rows() / tokens;
  Features<C, Scalar> result{{ctx, tiles * tokens}, {ctx, tiles * features_per_tile}};
  const auto x = result.tower.view();
  const OwnedRows<Scalar, Projection::input> shuffled(ctx, tiles * features_per_tile);
  {
    const OwnedScratch<typename VisionTower<C.vit>::template Scratch<Scalar>> scratch(ctx, step_tiles);
    for (const auto& step : whole.steps())
      vlm.vision.embed_patches(
          ctx,
          Rows<const Scalar, C.vit.patch_width()>(patches.slice(step.first / tokens * patches_per_tile,
                                                                std::int64_t(step.batch.sequences) * patches_per_tile)),
          scratch, x.slice(step.first, step.batch.rows));
    look(StageKind::vision_embeddings, -1, x);
    for (int layer = 0; layer < C.vit.layers; ++layer) {
      for (const auto& step : whole.steps())
        vlm.vision.blocks[std::size_t(layer)].forward(ctx, step.batch, whole.kv(), vlm.facts.vision_norm_eps,
                                                      scratch.block, x.slice(step.first, step.batch.rows));
      look(StageKind::vision_layer, layer, x);
    }
  }
  OwnedScratch<typename Projection::template Scratch<Scalar>> scratch(ctx, step_tiles);
  for (const auto& step : whole.steps()) {
    const std::int64_t first = step.first / tokens * features_per_tile,
                       number = std::int64_t(step.batch.sequences) * features_per_tile;
    scratch.shuffled = shuffled.slice(first, number);
    vlm.projector.forward(ctx, x.slice(step.first, step.batch.rows), scratch, result.projected.slice(first, number));
  }
  look(StageKind::projector_shuffled, -1, shuffled.view());
  look(StageKind::projector_output, -1, result.projected.view());
  return result;
}

/// A prompt as `forward` takes it.
template <VlmConfig C, class Scalar>
struct Inputs {
  std::vector<std::int32_t> ids;  ///< -1 - r where row r of `pictures` goes
  OwnedRows<Scalar, C.decoder.hidden> pictures;
};

/// Sees a prompt's pictures.
template <class Scalar = bf16, class Context, VlmConfig C>
Inputs<C, Scalar> inputs_of(Context& ctx, const Vlm<C>& vlm, const Prompt& prompt) {
  std::int64_t rows = 0;
  for (const Prompt::Place& place : prompt.pictures) rows += std::int64_t(place.picture.tiles()) * C.tokens_per_tile();
  Inputs<C, Scalar> inputs{{}, {ctx, rows}};
  std::size_t done = 0;
  std::int64_t row = 0;
  for (const Prompt::Place& place : prompt.pictures) {
    inputs.ids.insert(inputs.ids.end(), prompt.ids.begin() + std::ptrdiff_t(done),
                      prompt.ids.begin() + std::ptrdiff_t(place.at));
    done = place.at;
    const auto seen = features(ctx, vlm, patches_of<Scalar>(ctx, vlm, place.picture)).projected;
    copy(ctx, inputs.pictures[row], seen.data, std::size_t(seen.count) * C.decoder.hidden * sizeof(Scalar));
    for (const std::int64_t end = row + seen.count; row < end; ++row) inputs.ids.push_back(std::int32_t(-1 - row));
  }
  inputs.ids.insert(inputs.ids.end(), prompt.ids.begin() + std::ptrdiff_t(done), prompt.ids.end());
  return inputs;
}

// ---- text ----------------------------------------------------------------------------------------------------------

/// The decoder over one whole prompt: ids, and -1 - r where row r of `pictures` goes. Calls
/// visit(stage, rows) after every stage and returns the rows behind the final norm, [length, hidden].
/// Throws RequestError for an empty prompt, and for ids and rows that are not there.
template <class Scalar = bf16, class Context, VlmConfig C, class Visit>
OwnedRows<Scalar, C.decoder.hidden> forward(Context& ctx, const Vlm<C>& vlm, std::span<const std::int32_t> ids,
                                            std::type_identity_t<Rows<const Scalar, C.decoder.hidden>> pictures,
                                            const Visit& visit) {
  using TypedRows = Rows<Scalar, C.decoder.hidden>;
  if (ids.empty()) fail<RequestError>("prompt: expected at least one token, found none");
  for (const std::int32_t id : ids) {
    if (id >= vlm.facts.vocab_rows || -1 - std::int64_t(id) >= pictures.count)
      fail<RequestError>("prompt: expected ids below ", vlm.facts.vocab_rows, " and ", pictures.count,
                         " picture rows, found ", id);
  }
  const auto look = [&](StageKind kind, int layer, TypedRows rows) {
    visit(Stage{kind, layer}, Rows<const Scalar, C.decoder.hidden>(rows));
  };
  const auto length = std::int64_t(ids.size());
  const WholeSequences whole = detail::decoder_steps<Scalar, C.decoder>(ctx, length);
  const OwnedRows<Scalar, C.decoder.hidden> owned(ctx, length);
  const TypedRows x = owned;
  vlm.language.embed_rows(ctx, Array<std::int32_t>(ctx, ids).data(), pictures, x);
  look(StageKind::embeddings, -1, x);
  {
    const auto angles = detail::angles_of<C.decoder.attention.head_dim>(ctx, whole, vlm.facts.rope, length);
    const OwnedScratch<typename DecoderBlock<C.decoder>::template Scratch<Scalar>> scratch(ctx, whole.step_rows());
    for (int layer = 0; layer < C.decoder.layers; ++layer) {
      for (const auto& step : whole.steps())
        vlm.language.blocks[std::size_t(layer)].forward(
            ctx, step.batch, whole.kv(), C.decoder.attention.window_of(layer),
            angles.slice(step.first, step.batch.rows), vlm.facts.language_norm_eps, scratch,
            x.slice(step.first, step.batch.rows));
      look(StageKind::layer, layer, x);
    }
  }
  rms_norm(ctx, x, vlm.language.norm_gain, vlm.facts.language_norm_eps, x);
  look(StageKind::norm, -1, x);
  return owned;
}
template <class Scalar = bf16, class Context, VlmConfig C, class Visit>
OwnedRows<Scalar, C.decoder.hidden> forward(Context& ctx, const Vlm<C>& vlm, std::span<const std::int32_t> ids,
                                            const Visit& visit) {
  return forward<Scalar>(ctx, vlm, ids, {}, visit);
}

/// Logits at every position of a prompt: [length, vocabulary rows] floats on the host. See `forward`, which it
/// calls. What the context holds of them at a time is 64 rows.
template <class Scalar = bf16, class Context, VlmConfig C, class Visit = LookAtNothing>
HostRows logits(Context& ctx, const Vlm<C>& vlm, std::span<const std::int32_t> ids,
                std::type_identity_t<Rows<const Scalar, C.decoder.hidden>> pictures = {}, const Visit& visit = {}) {
  constexpr std::int64_t rows_at_once = 64;
  const auto normed = forward<Scalar>(ctx, vlm, ids, pictures, visit);
  const std::int64_t length = normed.count, vocabulary = vlm.facts.vocab_rows;
  const Array<float> part(ctx, std::min(rows_at_once, length) * vocabulary);
  HostRows result{std::vector<float>(std::size_t(length * vocabulary)), length, vocabulary};
  for (std::int64_t first = 0; first < length; first += rows_at_once) {
    const std::int64_t number = std::min(rows_at_once, length - first);
    const Rows<float> some(part.data(), number, vocabulary);
    linear(ctx, normed.slice(first, number), vlm.language.head, own_columns<C.decoder.ranks>(ctx, some));
    gather_vocabulary<C.decoder.ranks>(ctx, some);
    download(ctx, &result.values[std::size_t(first * vocabulary)], part.data(),
             std::size_t(number * vocabulary) * sizeof(float));
  }
  return result;
}
template <class Scalar = bf16, class Context, VlmConfig C>
HostRows logits(Context& ctx, const Vlm<C>& vlm, const Prompt& prompt) {
  const auto inputs = inputs_of<Scalar>(ctx, vlm, prompt);
  return logits<Scalar>(ctx, vlm, std::span<const std::int32_t>(inputs.ids), inputs.pictures);
}

}  // namespace ivl
