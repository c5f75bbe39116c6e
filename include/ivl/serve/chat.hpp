// A conversation: questions and pictures in, streamed text out.
#pragma once
#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/engine.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/strip.hpp"

namespace ivl {

/// Keeps pictures and turns, and the last answer's keys and values for as long as nobody else needs their room. Answers
/// do not depend on what was kept: only the time does.
class Chat {
 public:
  /// One of the engine's conversations. Engine and processor must outlive the chat.
  Chat(Engine& engine, const Processor& processor, ChatOptions options = {})
      : processor_(processor),
        engine_(&engine),
        history_(std::move(options.history)),
        pictures_(std::move(options.pictures)),
        options_(std::move(options)),
        rules_(processor.tile_rules(options_.max_tiles)) {}

  /// A conversation with an engine of its own. Runner and processor must outlive the chat.
  Chat(AnyRunner& runner, const Processor& processor, ChatOptions options = {})
      : Chat(std::make_unique<Engine>(
                 runner, EngineOptions{.kv_tokens = std::min(options.kv_tokens, runner.facts().context_length)}),
             processor, options) {}

  /// Asks the next question; `pictures` are new ones, cut by the chat's own rules. "<image>" marks in the question
  /// place them; without marks they go before it. `on_text` receives the answer as it comes; the whole of it is
  /// returned, as the reference's chat() does: without white space at its ends (in the HF format as it came). The
  /// conversation is as it was before when this throws (RequestError, ImageError, or whatever `on_text` throws).
  std::string ask(std::string_view question, std::span<const Image> pictures = {}, GenerationOptions generation = {},
                  TextCallback on_text = {}) {
    std::vector<Picture> cut;
    for (const Image& image : pictures) cut.push_back(Picture(image, rules_));
    return ask_about(std::move(cut), question, std::move(generation), std::move(on_text));
  }

  /// The same about pictures with tile rules of their own, such as the frames of a video.
  std::string ask_about(std::vector<Picture> new_pictures, std::string_view question, GenerationOptions generation = {},
                        TextCallback on_text = {}) {
    std::string marked = with_image_marks(processor_.style(), question, int(new_pictures.size()));
    std::vector<Picture> pictures = pictures_;
    pictures.insert(pictures.end(), new_pictures.begin(), new_pictures.end());
    Request request{.prompt = processor_.prompt(options_.system, history_, marked, pictures),
                    .generation = std::move(generation),
                    .tokenizer = &processor_.tokenizer(),
                    .on_text = std::move(on_text),
                    .earlier = std::move(sequence_)};
    complete(request);
    const std::shared_ptr<Sequence> sequence = engine_->start(std::move(request));
    const Running running{*engine_, *sequence};
    while (!sequence->done()) engine_->step();
    if (sequence->error()) std::rethrow_exception(sequence->error());

    statistics_ = sequence->statistics();
    const std::string_view text = sequence->text();
    std::string answer(processor_.style() == PromptStyle::hf ? text : strip(text));
    history_.push_back({std::move(marked), answer});
    pictures_ = std::move(pictures);
    sequence_ = sequence;  // not one that threw: the next question may come with other pictures
    return answer;
  }

  const AnswerStatistics& statistics() const { return statistics_; }
  const TileRules& tile_rules() const { return rules_; }
  const std::vector<Turn>& history() const { return history_; }

 private:
  Chat(std::unique_ptr<Engine> engine, const Processor& processor, ChatOptions options)
      : Chat(*engine, processor, std::move(options)) {
    own_engine_ = std::move(engine);
  }

  /// What the caller left open follows the prompt style and the room.
  void complete(Request& request) const {
    GenerationOptions& generation = request.generation;
    if (generation.stop_ids.empty()) generation.stop_ids = processor_.stop_ids();
    // gpt-oss's channels are special tokens. The reference's chat() keeps them, and its next prompts hold them.
    if (!generation.special_tokens && processor_.style() == PromptStyle::internvl3_5_gpt_oss)
      generation.special_tokens = SpecialTokens::keep;
    int prompt_tokens = int(request.prompt.ids.size());
    for (const Prompt::Place& place : request.prompt.pictures) prompt_tokens += processor_.tokens_of(place.picture);
    // An answer may fill the room that is left; a prompt without room for one token is refused by `start`.
    generation.max_new_tokens =
        std::min(generation.max_new_tokens, std::max(1, engine_->options().kv_tokens - prompt_tokens));
  }

  /// Leaves the engine without the sequence, however the answer ends.
  struct Running {
    Engine& engine;
    Sequence& sequence;
    ~Running() { engine.stop(sequence); }
  };

  const Processor& processor_;
  std::unique_ptr<Engine> own_engine_;
  Engine* engine_;
  std::vector<Turn> history_;
  std::vector<Picture> pictures_;  // of all turns so far
  ChatOptions options_;
  TileRules rules_;
  std::shared_ptr<Sequence> sequence_;
  AnswerStatistics statistics_;
};

}  // namespace ivl
