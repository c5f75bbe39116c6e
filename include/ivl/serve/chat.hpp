// A conversation: questions and pictures in, streamed text out.
#pragma once
#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/image/image.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/engine.hpp"
#include "ivl/serve/options.hpp"

namespace ivl {

/// Keeps pictures, turns, keys and values. Answers do not depend on what was kept: only the time does.
template <VlmConfig C, class Context, class Scalar = bf16>
class Chat {
 public:
  /// `ctx` and `checkpoint` must outlive the chat.
  Chat(Context& ctx, const Checkpoint<C>& checkpoint, ChatOptions options = {})
      : processor_(checkpoint.processor),
        options_(std::move(options)),
        rules_(processor_.tile_rules(options_.max_tiles)),
        engine_(ctx, checkpoint.vlm, {.kv_tokens = std::min(options_.kv_tokens, checkpoint.vlm.facts.context_length)}) {
  }

  /// Asks the next question; `pictures` are new ones. "<image>" marks in the question place them; without marks they go
  /// before it. `on_text` receives the answer as it comes; the whole of it is returned. The conversation is as it was
  /// before when this throws (RequestError, ImageError, or whatever `on_text` throws).
  std::string ask(std::string_view question, std::span<const Image> pictures, GenerationOptions generation = {},
                  TextCallback on_text = {}) {
    Stopwatch watch;
    AnswerStatistics statistics;
    std::string marked = with_image_marks(processor_.style(), question, int(pictures.size()));
    std::vector<int> tokens = tokens_per_picture_;
    for (const Image& picture : pictures) tokens.push_back(processor_.tokens_of(picture, rules_));
    Prompt prompt;
    prompt.sources = processor_.sources(processor_.prompt(options_.system, history_, marked, tokens),
                                        std::accumulate(tokens.begin(), tokens.end(), 0));
    prompt.images = engine_.encode(pictures, rules_, images_);
    statistics.tiles = (prompt.images.rows - images_.rows) / C.tokens_per_tile();
    statistics.prompt_tokens = int(prompt.sources.size());
    statistics.vision_s = watch.lap_s();

    if (generation.stop_ids.empty()) generation.stop_ids = processor_.stop_ids();
    // gpt-oss's channels are special tokens. The reference's chat() keeps them, and its next prompts hold them.
    if (processor_.style() == PromptStyle::internvl3_5_gpt_oss) generation.special_tokens = SpecialTokens::keep;
    // An answer may fill the room that is left; a prompt without room for one token is refused by `start`.
    generation.max_new_tokens =
        std::min(generation.max_new_tokens, std::max(1, options_.kv_tokens - statistics.prompt_tokens));
    ImageRows images = prompt.images;
    auto sequence = engine_.start(processor_.tokenizer(), std::move(prompt), std::move(generation), std::move(on_text),
                                  std::move(sequence_));
    const Running running{engine_, *sequence};
    statistics.cached_tokens = sequence->cached;
    bool more = true;
    while (more && sequence->cached < sequence->prompt_length) more = engine_.step();
    statistics.prefill_s = watch.lap_s();
    while (more) more = engine_.step();
    statistics.decode_s = watch.lap_s();
    statistics.new_tokens = int(sequence->generated().size());

    history_.push_back({std::move(marked), sequence->text});
    tokens_per_picture_ = std::move(tokens);
    images_ = std::move(images);
    statistics_ = statistics;
    sequence_ = std::move(sequence);  // not one that threw: the next question may come with other pictures
    return sequence_->text;
  }

  const AnswerStatistics& statistics() const { return statistics_; }
  const TileRules& tile_rules() const { return rules_; }
  const std::vector<Turn>& history() const { return history_; }

 private:
  /// Leaves the engine without the sequence, however the answer ends.
  struct Running {
    Engine<C, Context, Scalar>& engine;
    const Sequence& sequence;
    ~Running() { engine.stop(sequence); }
  };
  class Stopwatch {
   public:
    double lap_s() {
      const auto now = std::chrono::steady_clock::now();
      return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
    }

   private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  };

  const Processor& processor_;
  ChatOptions options_;
  TileRules rules_;
  Engine<C, Context, Scalar> engine_;
  std::vector<Turn> history_;
  std::vector<int> tokens_per_picture_;
  ImageRows images_;  // of all pictures so far
  std::unique_ptr<Sequence> sequence_;
  AnswerStatistics statistics_;
};

}  // namespace ivl
