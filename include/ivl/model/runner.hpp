// Executes steps (step.hpp) for one checkpoint type on one backend.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/error.hpp"
#include "ivl/model/step.hpp"
#include "ivl/model/vision_encoder.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/memory.hpp"
#include "ivl/ops/reduce.hpp"
#include "ivl/ops/replay.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

/// Owns what changes: keys and values, feature rows, working memory. Weights are the Vlm's.
template <VlmConfig C, class Context, class Scalar = bf16>
class Runner final : public AnyRunner {
  static_assert(SampleOps<Context> && ReplayOp<Context>,
                "Runner: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
  static constexpr int hidden = C.decoder.hidden;
  using Language = Decoder<C.decoder>;

 public:
  /// `ctx` and `vlm` must outlive the runner.
  Runner(Context& ctx, const Vlm<C>& vlm) : ctx_(ctx), vlm_(vlm), encoder_(ctx, vlm) {
    sizes_.hidden = hidden;
    sizes_.tokens_per_tile = C.tokens_per_tile();
    sizes_.tile_px = C.vit.tile_px;
    sizes_.window = C.decoder.attention.window;
    layer_page_bytes_ = kv_page_bytes(ctx, DecoderBlock<C.decoder>::attention_shape, kind_of<Scalar>, kv_page_tokens);
    for (int layer = 0; layer < C.decoder.layers; ++layer) ++sizes_.layers[group_of(layer)];
    for (const KvGroup group : all_kv_groups) sizes_.page_bytes[group] = layer_page_bytes_ * sizes_.layers[group];
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  const ModelFacts& facts() const override { return vlm_.facts; }
  const RunnerSizes& sizes() const override { return sizes_; }
  const Vlm<C>& vlm() const { return vlm_; }
  Context& context() const { return ctx_; }

  void make_room(const StepRoom& room) override {
    room_ = room;
    kv_memory_ = memory_ = features_ = {};  // freed before there is more
    recordings_ = std::make_unique<typename Context::Recordings>();
    Carver measure;
    lay_out(measure);
    memory_ = allocate(ctx_, measure.used());
    Carver place(memory_.data);
    lay_out(place);

    std::int64_t bytes = 0;
    for (const KvGroup group : all_kv_groups) bytes += sizes_.page_bytes[group] * room.pages[group];
    require_memory(ctx_, "keys and values", std::size_t(bytes));
    kv_memory_ = allocate(ctx_, std::size_t(bytes));
    std::byte* next = kv_memory_.data;
    const Step offsets(room);
    for (int layer = 0; layer < C.decoder.layers; ++layer) {
      const KvGroup group = group_of(layer);
      kv_[std::size_t(layer)] = {next, layer_page_bytes_, kv_page_tokens,
                                 in_context(offsets, offsets.page_table[group]), room.pages_per_sequence};
      next += layer_page_bytes_ * room.pages[group];
    }
  }

  void run(const Step& step, StepResults& results) override {
    assert(step.rows <= room_.rows && step.sequences <= room_.sequences && step.wanted <= room_.wanted);
    const auto wanted = std::size_t(step.wanted);
    upload(ctx_, step_memory_, step.block().data(), step.block().size_bytes());
    const Plan plan = plan_of(step);
    if (plan.draws) upload(ctx_, draws_, step.draws.data(), wanted * sizeof(Draw));
    execute(step, plan);
    if (wanted == 0) return;
    const auto any = [&](Want want) {
      return std::find(step.wants.begin(), step.wants.begin() + step.wanted, want) != step.wants.begin() + step.wanted;
    };
    if (any(Want::hidden)) read_hidden(step, results);
    if (any(Want::logits)) read_logits(step, results);
    if (results.ids.size() < wanted) results.ids.resize(wanted);
    if (plan.tokens) download(ctx_, results.ids.data(), ids_, wanted * sizeof(std::int32_t));
  }

  std::int32_t choose(std::span<const float> logits, const Draw& draw_with) override {
    assert(std::int64_t(logits.size()) == vlm_.facts.vocab_rows);
    const auto row = logits_.slice(0, 1);
    upload(ctx_, row.data, logits.data(), logits.size_bytes());
    upload(ctx_, draws_, &draw_with, sizeof draw_with);
    draw(ctx_, draws_, row, ids_);
    std::int32_t id = 0;
    download(ctx_, &id, ids_, sizeof id);
    return id;
  }

  void cut(const Picture& picture, int first_tile) override { encoder_.cut(picture, first_tile); }

  int see_on(std::span<const std::int32_t> first_rows) override {
    if (features_.data == nullptr)
      features_ = allocate(ctx_, std::size_t(room_.feature_rows) * hidden * sizeof(Scalar));
    constexpr std::size_t tile_bytes = std::size_t(C.tokens_per_tile()) * hidden * sizeof(Scalar);
    const auto all = feature_rows();
    return encoder_.see_on([&](int first_tile, typename VisionEncoder<C, Context, Scalar>::FeatureRows rows) {
      for (int tile = 0; tile < int(rows.count) / C.tokens_per_tile(); ++tile)
        copy(ctx_, all[first_rows[std::size_t(first_tile + tile)]], rows[std::int64_t(tile) * C.tokens_per_tile()],
             tile_bytes);
    });
  }

  void read_features(std::span<const std::int32_t> rows, float* to) override {
    std::array<Scalar, std::size_t(hidden)> row;
    for (const std::int32_t number : rows) {
      download(ctx_, row.data(), feature_rows()[number], sizeof row);
      to = std::transform(row.begin(), row.end(), to, [](Scalar value) { return to_float(value); });
    }
  }

  Memory place_uses(std::span<const std::int32_t> uses) override {
    Memory placed = allocate(ctx_, uses.size_bytes());
    upload(ctx_, placed.data, uses.data(), uses.size_bytes());
    return placed;
  }

 private:
  /// What a step does behind its layers.
  struct Plan {
    bool tokens = false;        ///< some row wants one
    bool draws = false;         ///< some token is drawn; else all are argmax over the same number of ids
    bool whole_logits = false;  ///< some row needs logits of all ids, not only those of this rank
    int greedy_ids = 0;
    bool repeats = false;  ///< one token of each sequence and nothing else: a step that comes again
    int longest = 0;
  };

  static constexpr KvGroup group_of(int layer) {
    return C.decoder.attention.window_of(layer) > 0 ? KvGroup::window : KvGroup::full;
  }

  Plan plan_of(const Step& step) const {
    Plan plan;
    bool greedy = true, only_tokens = true;
    for (int i = 0; i < step.wanted; ++i) {
      if (step.wants[std::size_t(i)] != Want::token) {
        only_tokens = false;
        continue;
      }
      const Draw& draw = step.draws[std::size_t(i)];
      if (!plan.tokens) plan.greedy_ids = draw.ids;
      greedy &= is_greedy(draw) && draw.ids == plan.greedy_ids;
      plan.tokens = true;
    }
    // Among rows that want logits, draws stay apart: they change the logits that they work in.
    plan.draws = plan.tokens && !greedy;
    plan.whole_logits = plan.draws || !only_tokens;
    plan.repeats = !step.pictures && only_tokens && step.rows == step.sequences && step.wanted == step.sequences;
    // Rounded up, thousands of steps that repeat share one key.
    plan.longest =
        plan.repeats ? int(std::bit_ceil(unsigned(std::max(step.longest, 4 * kv_page_tokens)))) : step.longest;
    return plan;
  }

  void execute(const Step& step, const Plan& plan) {
    if (!plan.repeats) return execute_now(step, plan);
    // Tokenizers have one size, mostly.
    const std::uint64_t key = std::uint64_t(step.rows) << 48 ^
                              std::uint64_t(std::bit_width(unsigned(plan.longest))) << 32 ^
                              std::uint64_t(plan.draws ? 0 : plan.greedy_ids);
    replay(ctx_, *recordings_, key, [&] { execute_now(step, plan); });
  }

  void execute_now(const Step& step, const Plan& plan) {
    const Language& language = vlm_.language;
    Batch batch;
    batch.rows = step.rows;
    batch.sequences = step.sequences;
    batch.row_begin = in_context(step, step.row_begin);
    batch.kv_length = in_context(step, step.kv_length);
    batch.sequence_of = in_context(step, step.sequence_of);
    batch.positions = in_context(step, step.positions);
    batch.longest = plan.longest;
    language.embed_rows(ctx_, in_context(step, step.sources), Rows<const Scalar, hidden>(feature_rows()),
                        language_.x.slice(0, step.rows));
    language.forward(ctx_, batch, kv_, vlm_.facts.rope, in_context(step, step.rope_lengths),
                     vlm_.facts.language_norm_eps, language_);
    if (step.wanted == 0) return;
    const auto logits = logits_.slice(0, step.wanted);
    language.head_logits(ctx_, in_context(step, step.wanted_rows), vlm_.facts.language_norm_eps, language_, logits);
    if (plan.whole_logits) gather_vocabulary<C.decoder.ranks>(ctx_, logits);
    if (plan.tokens && plan.draws) {
      draw_tokens(step, logits);
    } else if (plan.tokens) {
      argmax_reduced<C.decoder.ranks>(ctx_, Rows<const float>(logits), plan.greedy_ids, ids_);
    }
  }

  /// Rows that want tokens, run by run: between them, logits that are wanted stay as they are.
  void draw_tokens(const Step& step, Rows<float> logits) {
    for (int first = 0; first < step.wanted;) {
      int end = first;
      while (end < step.wanted && step.wants[std::size_t(end)] == Want::token) ++end;
      if (end > first) draw(ctx_, draws_ + first, logits.slice(first, end - first), ids_ + first);
      first = end + (end == first);
    }
  }

  void read_logits(const Step& step, StepResults& results) {
    const auto width = std::size_t(vlm_.facts.vocab_rows);
    results.logits.resize(std::max(results.logits.size(), std::size_t(step.wanted) * width));
    for (int i = 0; i < step.wanted; ++i) {
      if (step.wants[std::size_t(i)] == Want::logits)
        download(ctx_, results.logits.data() + std::size_t(i) * width, logits_[i], width * sizeof(float));
    }
  }

  void read_hidden(const Step& step, StepResults& results) {
    results.hidden.resize(std::max(results.hidden.size(), std::size_t(step.wanted) * hidden));
    std::array<Scalar, std::size_t(hidden)> row;
    for (int i = 0; i < step.wanted; ++i) {
      if (step.wants[std::size_t(i)] != Want::hidden) continue;
      download(ctx_, row.data(), language_.x[step.wanted_rows[i]], sizeof row);
      std::transform(row.begin(), row.end(), results.hidden.begin() + std::ptrdiff_t(i) * hidden,
                     [](Scalar value) { return to_float(value); });
    }
  }

  // ---- memory ------------------------------------------------------------------------------------------------------
  /// Where an array of the step lies once its block is uploaded.
  const std::int32_t* in_context(const Step& step, const std::int32_t* array) const {
    return step_memory_ + (array - step.block().data());
  }

  Rows<Scalar, hidden> feature_rows() const {
    return {reinterpret_cast<Scalar*>(features_.data), features_.data ? room_.feature_rows : 0};
  }

  void lay_out(Carver& carver) {
    language_ = Language::template Scratch<Scalar>::carve(carver, room_.rows);
    logits_ = Rows<float>(carver.take<float>(std::int64_t(room_.wanted) * vlm_.facts.vocab_rows), room_.wanted,
                          vlm_.facts.vocab_rows);
    ids_ = carver.take<std::int32_t>(room_.wanted);
    draws_ = carver.take<Draw>(room_.wanted);
    step_memory_ = carver.take<std::int32_t>(Step::ints(room_));
  }

  Context& ctx_;
  const Vlm<C>& vlm_;
  VisionEncoder<C, Context, Scalar> encoder_;
  RunnerSizes sizes_;
  StepRoom room_;
  std::int64_t layer_page_bytes_ = 0;
  Memory kv_memory_, memory_, features_;
  std::array<KvView, std::size_t(C.decoder.layers)> kv_;
  typename Language::template Scratch<Scalar> language_;
  Rows<float> logits_;
  std::int32_t *ids_ = nullptr, *step_memory_ = nullptr;
  Draw* draws_ = nullptr;
  std::unique_ptr<typename Context::Recordings> recordings_;
};

}  // namespace ivl
