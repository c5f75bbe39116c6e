// What a checkpoint costs before it is there: its own layers, over weights that have sizes and no memory.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/counting/counting.hpp"
#include "ivl/model/load.hpp"
#include "ivl/model/taps.hpp"
#include "ivl/model/vlm.hpp"

namespace ivl {

struct Prediction {
  std::int64_t weight_bytes = 0;  ///< of all tensors, as files hold them
  Tally tile;                     ///< tower and projector, one tile
  Tally prefill;                  ///< a prompt of `context` tokens, 512 a step, with the logits of its last token
  Tally token;                    ///< one more token behind them, with its logits
  double kv_bytes = 0;            ///< keys and values that one token leaves behind, in all layers
};

/// One step of the decoder, whatever the tokens are: the newest `rows` of each of `sequences`, behind `before` others.
enum class StepResult : std::uint8_t { logits, none };  ///< logits: of the last row of each sequence
template <class Scalar = bf16, class Context, VlmConfig C>
void run_step(Context& ctx, const Vlm<C>& vlm, int sequences, int before, int rows,
              StepResult wanted = StepResult::logits) {
  using Language = Decoder<C.decoder>;
  const auto whole =
      WholeSequences::newest(ctx, DecoderBlock<C.decoder>::attention_shape, kind_of<Scalar>, sequences, before, rows);
  const WholeSequences::Step& step = whole.steps().front();
  const OwnedScratch<typename Language::template Scratch<Scalar>> scratch(ctx, step.batch.rows);
  const std::vector<std::int32_t> ids(std::size_t(step.batch.rows), 0);
  std::array<KvView, std::size_t(C.decoder.layers)> kv;
  kv.fill(whole.kv());
  const Array<std::int32_t> sources(ctx, std::span(ids));
  vlm.language.embed_rows(ctx, sources.data(), Rows<const Scalar, C.decoder.hidden>(), scratch.x);
  vlm.language.forward(ctx, step.batch, kv, vlm.facts.rope, step.rope_lengths, vlm.facts.language_norm_eps, scratch);
  if (wanted == StepResult::none) return;
  const Array<float> logits(ctx, std::int64_t(sequences) * vlm.facts.vocab_rows);
  vlm.language.head_logits(ctx, step.last_rows, vlm.facts.language_norm_eps, scratch,
                           Rows<float>(logits.data(), sequences, vlm.facts.vocab_rows));
}

/// A model whose weights have sizes and no memory, for `Counting<>`. Scalars are bf16. `experts`: how those are stored
/// whose files may have that form. `facts` says at least `vocab_rows` and the family.
template <VlmConfig C>
Vlm<C> outline(DryRun& ctx, const ModelFacts& facts, StoredAs experts = StoredAs::scalars) {
  Vlm<C> vlm;
  vlm.facts = facts;
  const ShapesAlone shapes(weight_slots(vlm), facts, {.dialects = {}, .expected = experts});
  place_weights(ctx, shapes.binding(), "shapes");
  return vlm;
}

/// Bytes of all placed weights, as `Memory::bytes` has them.
template <VlmConfig C>
std::int64_t placed_bytes(const Vlm<C>& vlm) {
  std::int64_t bytes = 0;
  const auto add = [&bytes](const auto& self, const auto& placed) -> void {
    if constexpr (requires { placed.all; }) {
      self(self, placed.all);
    } else if constexpr (requires { placed.strips; }) {
      for (const Strip& strip : placed.strips) bytes += std::int64_t(strip.memory.bytes);
    } else {
      bytes += std::int64_t(placed.memory.bytes);
    }
  };
  Vlm<C>::each_weight(
      vlm, [&](const char*, int, const char*, const auto& weight, const auto&...) { add(add, weight.placed); });
  return bytes;
}

/// facts: vocabulary rows and the family are what matters. See `outline`.
template <VlmConfig C>
Prediction predict(const ModelFacts& facts, int context, StoredAs experts = StoredAs::scalars) {
  Counting<> ctx;
  const Vlm<C> vlm = outline<C>(ctx, facts, experts);
  const auto tally_of = [&ctx](const auto& body) {
    ctx.ops.clear();
    body();
    return ctx.total();
  };
  Prediction result;
  result.weight_bytes = placed_bytes(vlm);
  result.tile = tally_of([&] { features(ctx, vlm, OwnedRows<bf16, C.vit.patch_width()>(ctx, C.vit.patches())); });
  result.prefill = tally_of([&] {
    for (int done = 0; done < context; done += detail::decoder_step_rows) {
      const int rows = std::min(detail::decoder_step_rows, context - done);
      run_step(ctx, vlm, 1, done, rows, done + rows == context ? StepResult::logits : StepResult::none);
    }
  });
  result.token = tally_of([&] { run_step(ctx, vlm, 1, context, 1); });
  result.kv_bytes = ctx.ops["rotate_and_cache"].kv_bytes;
  return result;
}

}  // namespace ivl
