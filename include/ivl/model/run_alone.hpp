// One block of the vision tower, or one decoder layer, on rows of the caller: `run_alone` makes the batch, the page of
// keys and values and the working memory. See checkpoint/place_part.hpp for blocks of one's own tensors.
#pragma once
#include <cstdint>

#include "ivl/core/error.hpp"
#include "ivl/language/decoder_block.hpp"
#include "ivl/model/whole_sequences.hpp"
#include "ivl/ops/rope.hpp"
#include "ivl/ops/transfer.hpp"
#include "ivl/vision/vit_block.hpp"

namespace ivl {

namespace detail {

/// Rows of a step: enough for a matrix product to be efficient, few enough to keep working memory small.
inline constexpr int decoder_step_rows = 512, tower_step_rows = 2048;

template <class Scalar, VitConfig C, class Context>
WholeSequences tower_steps(Context& ctx, std::int64_t tiles) {
  return WholeSequences::full(ctx, VitBlock<C>::attention_shape, kind_of<Scalar>, int(tiles), C.tokens(),
                              tower_step_rows);
}

template <class Scalar, DecoderConfig C, class Context>
WholeSequences decoder_steps(Context& ctx, std::int64_t length) {
  return WholeSequences::causal(ctx, DecoderBlock<C>::attention_shape, kind_of<Scalar>, int(length), decoder_step_rows);
}

/// Angles of positions 0, 1, ... of one sequence: [length, head_dim].
template <int HeadDim, class Context>
OwnedRows<float, HeadDim> angles_of(Context& ctx, const WholeSequences& whole, const RopeFacts& rope,
                                    std::int64_t length) {
  OwnedRows<float, HeadDim> angles(ctx, length);
  for (const auto& step : whole.steps())
    rope_angles(ctx, rope, step.batch.positions, step.rope_lengths,
                Rows<float>(angles.slice(step.first, step.batch.rows)));
  return angles;
}

}  // namespace detail

/// One block of the tower, in place: x [tiles * C.tokens(), hidden], each tile's class row first. Throws RequestError
/// for a part of a tile.
template <class Context, VitConfig C, class Scalar>
void run_alone(Context& ctx, const VitBlock<C>& block, Rows<Scalar, C.hidden> x, float eps = 1e-6f) {
  if (x.count % C.tokens() != 0)
    fail<RequestError>("run_alone: expected whole tiles of ", C.tokens(), " rows, found ", x.count, " rows");
  const WholeSequences whole = detail::tower_steps<Scalar, C>(ctx, x.count / C.tokens());
  const OwnedScratch<typename VitBlock<C>::template Scratch<Scalar>> scratch(ctx, whole.step_rows());
  for (const auto& step : whole.steps())
    block.forward(ctx, step.batch, whole.kv(), eps, scratch, x.slice(step.first, step.batch.rows));
}

/// What a decoder layer is told by its model; `ModelFacts` holds the first two.
struct LayerFacts {
  RopeFacts rope;
  float eps = 1e-6f;  ///< language_norm_eps
  int window = 0;     ///< tokens that a token sees, itself among them (AttentionConfig::window_of); 0: all
};

/// One decoder layer, in place: x [length, hidden], the rows of one sequence from its first token on.
template <class Context, DecoderConfig C, class Scalar>
void run_alone(Context& ctx, const DecoderBlock<C>& block, Rows<Scalar, C.hidden> x, const LayerFacts& facts) {
  const WholeSequences whole = detail::decoder_steps<Scalar, C>(ctx, x.count);
  const OwnedScratch<typename DecoderBlock<C>::template Scratch<Scalar>> scratch(ctx, whole.step_rows());
  const auto angles = detail::angles_of<C.attention.head_dim>(ctx, whole, facts.rope, x.count);
  for (const auto& step : whole.steps())
    block.forward(ctx, step.batch, whole.kv(), facts.window, angles.slice(step.first, step.batch.rows), facts.eps,
                  scratch, x.slice(step.first, step.batch.rows));
}

}  // namespace ivl
