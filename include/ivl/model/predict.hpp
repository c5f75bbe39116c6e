// What a checkpoint costs before it is there: its own layers, over weights that have sizes and no memory.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ivl/counting/counting.hpp"
#include "ivl/model/load.hpp"
#include "ivl/model/taps.hpp"
#include "ivl/model/vlm.hpp"

namespace ivl {

namespace detail {

/// The tensors of a checkpoint in bf16, or with MXFP4 experts where its files may hold those: shapes and sizes, no
/// bytes.
class ShapesOfFiles {
 public:
  ShapesOfFiles(std::vector<WeightSlot> slots, const ModelFacts& facts, bool mxfp4) {
    for (WeightSlot& slot : slots) {
      if (mxfp4 && slot.layout == ExpertLayout::fused) slot.layout = ExpertLayout::mxfp4;
      for (const ExpectedTensor& tensor : expected_tensors(slot, facts)) {
        const Dtype dtype = tensor.packed ? Dtype::u8 : Dtype::bf16;
        const auto bytes = std::size_t(*bytes_of(dtype, tensor.shape));
        views_[tensor.name] = {dtype, tensor.shape, {static_cast<const std::byte*>(nullptr), bytes}};
        bytes_ += std::int64_t(bytes);
      }
    }
  }
  std::int64_t bytes() const { return bytes_; }
  const TensorView* find(const std::string& name) const {
    const auto view = views_.find(name);
    return view == views_.end() ? nullptr : &view->second;
  }
  void release(const TensorView&) const {}

 private:
  std::map<std::string, TensorView> views_;
  std::int64_t bytes_ = 0;
};

}  // namespace detail

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

/// A model whose weights have sizes and no memory, for `Counting<>`. `mxfp4`: experts that files may hold so are so.
template <VlmConfig C>
Vlm<C> outline(DryRun& ctx, const ModelFacts& facts, bool mxfp4 = false) {
  Vlm<C> vlm;
  vlm.facts = facts;
  const detail::ShapesOfFiles shapes(detail::weight_slots(vlm), facts, mxfp4);
  place_weights(ctx, shapes, shapes.bytes(), vlm);
  return vlm;
}

/// Bytes of all placed weights, as `Memory::bytes` has them.
template <VlmConfig C>
std::int64_t placed_bytes(const Vlm<C>& vlm) {
  std::int64_t bytes = 0;
  Vlm<C>::each_weight(vlm, [&](const char*, int, const char*, const auto& weight, const auto&...) {
    if constexpr (requires { weight.placed.all; })
      bytes += std::int64_t(weight.placed.all.memory.bytes);
    else
      bytes += std::int64_t(weight.placed.memory.bytes);
  });
  return bytes;
}

/// facts: vocabulary rows are what matters.
template <VlmConfig C>
Prediction predict(const ModelFacts& facts, int context, bool mxfp4 = false) {
  Counting<> ctx;
  const Vlm<C> vlm = outline<C>(ctx, facts, mxfp4);
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
