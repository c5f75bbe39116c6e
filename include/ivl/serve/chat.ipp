// The bodies of chat.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <exception>
#include <numeric>
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
      rules_(processor.tile_rules(options_.max_tiles)) {
  count_pictures();
}

IVL_INLINE Chat::Chat(AnyRunner& runner, const Processor& processor, ChatOptions options)
    : processor_(processor),
      runner_(&runner),
      engine_(nullptr),
      history_(std::move(options.history)),
      pictures_(std::move(options.pictures)),
      options_(std::move(options)),
      rules_(processor.tile_rules(options_.max_tiles)) {
  count_pictures();
  constexpr int first_room = 8192;
  make_engine(options_.kv_tokens.value_or(first_room));
}

IVL_INLINE void Chat::make_engine(int kv_tokens) {
  sequence_.reset();  // its pages are the old engine's
  own_engine_.reset();
  own_engine_ = std::make_unique<Engine>(
      *runner_, EngineOptions{.kv_tokens = std::min(kv_tokens, runner_->facts().context_length)});
  engine_ = own_engine_.get();
}

IVL_INLINE void Chat::count_pictures() {
  for (const Turn& turn : history_)
    pictures_of_.push_back(pictures_.empty() ? 0 : count_image_marks(turn.question));  // else marks are text
}

IVL_INLINE void Chat::forget(std::size_t first, std::size_t count) {
  const auto at = std::ptrdiff_t(first), end = at + std::ptrdiff_t(count);
  const auto counted = [&](auto turn) { return std::accumulate(pictures_of_.begin(), turn, std::ptrdiff_t{0}); };
  const std::ptrdiff_t of_system = std::ssize(pictures_) - counted(pictures_of_.end());  // its message may have some
  const auto pictures_before = [&](std::ptrdiff_t turn) { return of_system + counted(pictures_of_.begin() + turn); };
  pictures_.erase(pictures_.begin() + pictures_before(at), pictures_.begin() + pictures_before(end));
  pictures_of_.erase(pictures_of_.begin() + at, pictures_of_.begin() + end);
  history_.erase(history_.begin() + at, history_.begin() + end);
}

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
                  .on_text = std::move(on_text)};
  complete(request);
  request.earlier = std::move(sequence_);
  const std::shared_ptr<Sequence> sequence = engine_->start(std::move(request));
  const detail::Running running{*engine_, *sequence};
  while (!sequence->done()) engine_->step();
  if (sequence->error()) std::rethrow_exception(sequence->error());

  statistics_ = sequence->statistics();
  finish_ = sequence->finish();
  if (finish_ == Finish::cancelled && sequence->generated().empty()) return "";
  const std::string_view text = sequence->text();
  std::string answer(processor_.style() == PromptStyle::hf ? text : strip(text));
  history_.push_back({std::move(marked), answer});
  pictures_of_.push_back(int(new_pictures.size()));
  pictures_ = std::move(pictures);
  sequence_ = sequence;  // not one that threw: the next question may come with other pictures
  return answer;
}

IVL_INLINE void Chat::complete(Request& request) {
  GenerationOptions& generation = request.generation;
  if (generation.stop_ids.empty()) generation.stop_ids = processor_.stop_ids();
  // gpt-oss's channels are special tokens. The reference's chat() keeps them, and its next prompts hold them.
  if (!generation.special_tokens && processor_.style() == PromptStyle::internvl3_5_gpt_oss)
    generation.special_tokens = SpecialTokens::keep;
  int prompt_tokens = int(request.prompt.ids.size());
  for (const Prompt::Place& place : request.prompt.pictures) prompt_tokens += processor_.tokens_of(place.picture);
  const ModelFacts& facts = engine_->runner().facts();
  if (prompt_tokens >= facts.context_length) return;  // `start` refuses it
  const int longest = longest_answer(generation, facts, prompt_tokens);
  const int room = engine_->options().kv_tokens, needed = prompt_tokens + longest;
  if (needed > room && own_engine_ && !options_.kv_tokens) make_engine(std::max(needed, 2 * room));
  // An answer may fill the room that is left; a prompt without room for one token is refused by `start`.
  generation.max_new_tokens = std::min(longest, std::max(1, engine_->options().kv_tokens - prompt_tokens));
}

}  // namespace ivl
