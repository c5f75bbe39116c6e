// The bodies of chat.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "ivl/serve/chat.hpp"
#include "ivl/text/strip.hpp"

namespace ivl {

namespace detail {

/// At most the model's context for each of the answers that run together.
inline std::unique_ptr<Engine> engine_of_chat(AnyRunner& runner, int kv_tokens, int answers = 1) {
  const int most = int(std::min<std::int64_t>(std::int64_t(runner.facts().context_length) * answers, 1 << 30));
  return std::make_unique<Engine>(runner,
                                  EngineOptions{.kv_tokens = std::min(kv_tokens, most), .max_sequences = answers});
}

/// Where nobody says how much room: less where there is no memory for the first choice.
inline std::unique_ptr<Engine> first_engine_of_chat(AnyRunner& runner, std::optional<int> kv_tokens) {
  constexpr int first = 8192, least = 512;
  for (int tokens = first; !kv_tokens && tokens > least; tokens /= 2) {
    try {
      return engine_of_chat(runner, tokens);
    } catch (const Error&) {
    }
  }
  return engine_of_chat(runner, kv_tokens.value_or(least));
}

}  // namespace detail

IVL_INLINE Chat::Chat(Engine& engine, const Processor& processor, ChatOptions options)
    : processor_(processor),
      engine_(&engine),
      history_(std::move(options.history)),
      pictures_(std::move(options.pictures)),
      options_(std::move(options)),
      rules_(processor.tile_rules(options_.max_tiles)) {}

IVL_INLINE Chat::Chat(AnyRunner& runner, const Processor& processor, ChatOptions options)
    : Chat(detail::first_engine_of_chat(runner, options.kv_tokens), processor, options) {}

IVL_INLINE Chat::Chat(std::unique_ptr<Engine> engine, const Processor& processor, ChatOptions options)
    : Chat(*engine, processor, std::move(options)) {
  own_engine_ = std::move(engine);
}

/// Two engines would not share the runner's room, so the old one goes first, and comes back where there is no memory
/// for more.
IVL_INLINE void Chat::grow(int wanted, int least, int answers) {
  AnyRunner& runner = engine_->runner();
  const EngineOptions before = engine_->options();
  const auto make = [&](int kv_tokens, int together) {
    own_engine_ = detail::engine_of_chat(runner, kv_tokens, together);
    engine_ = own_engine_.get();
  };
  own_engine_.reset();
  try {
    try {
      return make(std::max(wanted, 2 * before.kv_tokens), answers);
    } catch (const Error&) {
      if (wanted >= 2 * before.kv_tokens) throw;
    }
    make(wanted, answers);
  } catch (...) {
    may_grow_ = false;
    make(before.kv_tokens, before.max_sequences);
    if (least > before.kv_tokens) throw;
  }
}

IVL_INLINE void Chat::forget(std::size_t first, std::size_t count) {
  // Without any picture, marks are text. The system message may have pictures too: they come first.
  const auto pictures_in = [&](std::size_t begin, std::size_t end) {
    std::ptrdiff_t pictures = 0;
    for (std::size_t turn = begin; turn < end && !pictures_.empty(); ++turn)
      pictures += count_image_marks(history_[turn].question);
    return pictures;
  };
  const auto pictures_begin = pictures_.end() - pictures_in(first, history_.size());
  pictures_.erase(pictures_begin, pictures_begin + pictures_in(first, first + count));
  const auto turns_begin = history_.begin() + std::ptrdiff_t(first);
  history_.erase(turns_begin, turns_begin + std::ptrdiff_t(count));
}

IVL_INLINE void Chat::resume(std::optional<std::string> system, std::vector<Turn> history,
                             std::vector<Picture> pictures) {
  check_room(processor_, processor_.prompt(system, history, "", pictures), options_.kv_tokens);
  options_.system = std::move(system);
  history_ = std::move(history);
  pictures_ = std::move(pictures);
}

IVL_INLINE std::string Chat::ask(std::string_view question, std::span<const Image> pictures,
                                 GenerationOptions generation, TextCallback on_text) {
  std::vector<Picture> cut;
  for (const Image& image : pictures) cut.push_back(Picture(image, rules_));
  return ask_about(std::move(cut), question, std::move(generation), std::move(on_text));
}

IVL_INLINE std::string Chat::ask_about(std::vector<Picture> new_pictures, std::string_view question,
                                       GenerationOptions generation, TextCallback on_text) {
  std::function<void(int, std::string_view)> of_one;
  if (on_text) of_one = [&on_text](int, std::string_view text) { on_text(text); };
  std::vector<std::string> answers = ask_several(1, new_pictures, question, std::move(generation), of_one);
  return answers.empty() ? "" : std::move(answers.front());
}

namespace detail {

/// Leaves the engine without the sequences, however the answers end.
struct Running {
  Engine& engine;
  std::vector<std::shared_ptr<Sequence>> sequences = {};
  ~Running() {
    for (const auto& sequence : sequences) engine.stop(*sequence);
  }
};

}  // namespace detail

IVL_INLINE std::vector<std::string> Chat::ask_several(
    int number, const std::vector<Picture>& new_pictures, std::string_view question, GenerationOptions generation,
    const std::function<void(int answer, std::string_view text)>& on_text) {
  if (number < 1) fail<RequestError>("answers: expected at least 1, found ", number);
  check_question(question);
  std::string marked = with_image_marks(processor_.style(), question, int(new_pictures.size()));
  std::vector<Picture> pictures = pictures_;
  pictures.insert(pictures.end(), new_pictures.begin(), new_pictures.end());
  Request request{.prompt = processor_.prompt(options_.system, history_, marked, pictures),
                  .generation = std::move(generation)};
  ids_.clear();
  grow_for(request, number);
  complete(request, processor_, *engine_);

  int speaks = 0;  // the answer whose text is given as it comes; that of later ones waits
  detail::Running running{*engine_};
  for (int n = 0; n < number; ++n) {
    Request one = request;
    one.generation.sampling.seed = seed_of_answer(request.generation.sampling.seed, n);
    if (n > 0) one.generation.on_progress = {};
    if (on_text)
      one.on_text = [&on_text, &speaks, n](std::string_view text) {
        if (n == speaks) on_text(n, text);
      };
    running.sequences.push_back(engine_->start(std::move(one)));
  }
  while (speaks < number) {
    engine_->step();
    while (speaks < number && running.sequences[std::size_t(speaks)]->done()) {
      if (const auto error = running.sequences[std::size_t(speaks)]->error()) std::rethrow_exception(error);
      if (++speaks == number || !on_text) continue;
      const std::string so_far = running.sequences[std::size_t(speaks)]->text();
      if (!so_far.empty()) on_text(speaks, so_far);
    }
  }

  const Sequence& last = *running.sequences.back();
  statistics_ = last.statistics();
  finish_ = last.finish();
  ids_.assign(last.generated().begin(), last.generated().end());
  std::vector<std::string> answers;
  for (const auto& sequence : running.sequences) {
    if (sequence->finish() == Finish::cancelled && sequence->generated().empty()) break;
    answers.emplace_back(answer_text(processor_, *sequence));
  }
  if (answers.empty()) return answers;
  history_.push_back({std::move(marked), answers.front()});
  pictures_ = std::move(pictures);
  return answers;
}

/// The room grows if it is the chat's to choose.
IVL_INLINE void Chat::grow_for(const Request& request, int answers) {
  const int prompt_tokens = processor_.tokens_of(request.prompt), context = engine_->runner().facts().context_length;
  if (prompt_tokens >= context) return;  // `start` refuses it
  const int room = engine_->options().kv_tokens;
  const int answer = longest_answer(request.generation, engine_->runner().facts(), prompt_tokens);
  const std::int64_t needed = prompt_tokens + std::int64_t(answers) * answer;
  const bool grows = own_engine_ && !options_.kv_tokens && (may_grow_ || prompt_tokens >= room);
  if (grows && (needed > room || answers > engine_->options().max_sequences))
    grow(int(std::min<std::int64_t>(needed, 1 << 30)), prompt_tokens + 1, answers);
}

IVL_INLINE void complete(Request& request, const Processor& processor, const Engine& engine) {
  complete(request, processor, engine.options().kv_tokens);
}

IVL_INLINE void complete(Request& request, const Processor& processor, int kv_tokens) {
  request.tokenizer = &processor.tokenizer();
  GenerationOptions& generation = request.generation;
  if (generation.stop_ids.empty()) generation.stop_ids = processor.stop_ids();
  // gpt-oss's channels are special tokens. The reference's chat() keeps them, and its next prompts hold them.
  if (!generation.special_tokens && processor.style() == PromptStyle::internvl3_5_gpt_oss)
    generation.special_tokens = SpecialTokens::keep;
  if (!generation.count_prompt) generation.count_prompt = processor.facts().format != FolderFormat::github;
  const int prompt_tokens = processor.tokens_of(request.prompt);
  const ModelFacts& facts = processor.facts();
  if (prompt_tokens >= facts.context_length) return;  // `start` refuses it
  // An answer may fill the room that is left; a prompt without room for one token is refused by `start`.
  generation.max_new_tokens =
      std::min(longest_answer(generation, facts, prompt_tokens), std::max(1, kv_tokens - prompt_tokens));
}

IVL_INLINE std::string_view answer_text(const Processor& processor, const Sequence& sequence) {
  const std::string_view text = sequence.text();
  return processor.style() == PromptStyle::hf ? text : strip(text);
}

IVL_INLINE void check_room(const Processor& processor, const Prompt& prompt, std::optional<int> kv_tokens,
                           int answer_tokens) {
  const int tokens = processor.tokens_of(prompt), context = processor.facts().context_length;
  const int room = std::min(kv_tokens.value_or(context), context);
  const int answer = std::min(answer_tokens, std::max(1, context - tokens));
  if (tokens + answer <= room) return;
  fail<RoomError>("prompt: its ", tokens, " tokens, of which ", prompt.pictures.size(), " pictures are ",
                  tokens - int(prompt.ids.size()), ", and ", answer, " of an answer need room for ", tokens + answer,
                  ", but there is room for ", room, room == context ? ", the model's context" : "");
}

}  // namespace ivl
