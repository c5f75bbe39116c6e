// The bodies of chat.hpp.
#pragma once
#include <algorithm>
#include <exception>
#include <utility>

#include "ivl/serve/chat.hpp"
#include "ivl/text/strip.hpp"

namespace ivl {

IVL_INLINE Chat::Chat(Engine& engine, const Processor& processor, ChatOptions options)
    : processor_(processor),
      engine_(&engine),
      history_(std::move(options.history)),
      pictures_(std::move(options.pictures)),
      options_(std::move(options)),
      rules_(processor.tile_rules(options_.max_tiles)) {}

IVL_INLINE Chat::Chat(AnyRunner& runner, const Processor& processor, ChatOptions options)
    : Chat(std::make_unique<Engine>(
               runner, EngineOptions{.kv_tokens = std::min(options.kv_tokens, runner.facts().context_length)}),
           processor, options) {}

IVL_INLINE std::string Chat::ask(std::string_view question, std::span<const Image> pictures,
                                 GenerationOptions generation, TextCallback on_text) {
  std::vector<Picture> cut;
  for (const Image& image : pictures) cut.push_back(Picture(image, rules_));
  return ask_about(std::move(cut), question, std::move(generation), std::move(on_text));
}

namespace detail {

/// Leaves the engine without the sequence, however the answer ends.
struct Running {
  Engine& engine;
  Sequence& sequence;
  ~Running() { engine.stop(sequence); }
};

}  // namespace detail

IVL_INLINE std::string Chat::ask_about(std::vector<Picture> new_pictures, std::string_view question,
                                       GenerationOptions generation, TextCallback on_text) {
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
  const detail::Running running{*engine_, *sequence};
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

IVL_INLINE Chat::Chat(std::unique_ptr<Engine> engine, const Processor& processor, ChatOptions options)
    : Chat(*engine, processor, std::move(options)) {
  own_engine_ = std::move(engine);
}

IVL_INLINE void Chat::complete(Request& request) const {
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

}  // namespace ivl
