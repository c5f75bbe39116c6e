// Looking inside a model: each function is all that one writes for it. look_inside.cpp prints what they give for the
// bundled toy; tests/model/taps_test.cpp compares them with what transformers gives.
#pragma once
#include <vector>

#include "ivl/checkpoint/place_part.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/taps.hpp"

namespace look_inside {

/// Logits at every position of a prompt, its pictures' rows among them: [positions, vocabulary].
template <class Scalar, ivl::VlmConfig C, class Context>
ivl::HostRows logits_everywhere(Context& ctx, const ivl::Checkpoint<C>& model, const ivl::Prompt& prompt) {
  return ivl::logits<Scalar>(ctx, model.vlm, prompt);
}

/// Hidden states behind one layer: [positions, hidden]. An id of -1 - r stands for row r of `pictures`.
template <class Scalar, ivl::VlmConfig C, class Context>
ivl::HostRows hidden_after(Context& ctx, const ivl::Checkpoint<C>& model, int layer, const std::vector<int>& ids,
                           const ivl::OwnedRows<Scalar, C.decoder.hidden>& pictures = {}) {
  ivl::HostRows hidden;
  ivl::forward<Scalar>(ctx, model.vlm, ids, pictures, [&](ivl::Stage stage, auto rows) {
    if (stage.kind == ivl::StageKind::layer && stage.layer == layer) hidden = ivl::to_floats(ctx, rows);
  });
  return hidden;
}

/// What the decoder is given of a picture: [tiles * tokens of a tile, hidden]. No keys and values are made room for.
template <class Scalar, ivl::VlmConfig C, class Context>
ivl::HostRows picture_rows(Context& ctx, const ivl::Checkpoint<C>& model, const ivl::Image& image) {
  const ivl::Picture picture(image, model.processor.tile_rules());
  const auto patches = ivl::patches_of<Scalar>(ctx, model.vlm, picture);
  const auto seen = ivl::features(ctx, model.vlm, patches);  // seen.tower: the tower's own rows
  return ivl::to_floats(ctx, seen.projected.view());
}

/// One block of the tower alone, on rows of one's own: [tiles * tokens of a tile, hidden].
template <class Scalar, ivl::VlmConfig C, class Context>
ivl::HostRows block_alone(Context& ctx, const ivl::Checkpoint<C>& model, int layer, const std::vector<float>& rows) {
  const ivl::OwnedRows<Scalar, C.vit.hidden> x(ctx, rows);
  ivl::run_alone(ctx, model.vlm.vision.blocks[std::size_t(layer)], x, model.vlm.facts.vision_norm_eps);
  return ivl::to_floats(ctx, x.view());
}

/// One decoder layer of one's own tensors, on rows of one's own: [positions, hidden]. A tensor that is missing or has
/// another shape is named in the error.
template <class Scalar, ivl::DecoderConfig C, class Context>
ivl::HostRows own_layer(Context& ctx, const ivl::TensorMap& tensors, const ivl::LayerFacts& facts,
                        const std::vector<float>& rows) {
  const auto layer = ivl::place<ivl::DecoderBlock<C>>(ctx, tensors);
  const ivl::OwnedRows<Scalar, C.hidden> x(ctx, rows);
  ivl::run_alone(ctx, layer, x, facts);
  return ivl::to_floats(ctx, x.view());
}

/// Logits of a model of one's own tensors, under canonical names such as "language.blocks.3.down.weight". The error
/// lists all that are missing, misshapen or too much.
template <class Scalar, ivl::VlmConfig C, class Context>
ivl::HostRows own_model(Context& ctx, const ivl::TensorMap& tensors, const ivl::ModelFacts& facts,
                        const std::vector<int>& ids) {
  const ivl::Vlm<C> vlm = ivl::load<C>(ctx, facts, tensors);
  return ivl::logits<Scalar>(ctx, vlm, ids);
}

}  // namespace look_inside
