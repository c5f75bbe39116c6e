// The bodies of engine.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/seconds.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl {

IVL_INLINE Engine::Engine(AnyRunner& runner, const EngineOptions& options)
    : runner_(runner),
      options_(checked(options)),
      room_(room_of(runner, options_)),
      pool_(std::make_shared<KvPool>(room_.pages)),
      features_(room_.feature_rows, runner.sizes().tokens_per_tile),
      step_(room_),
      scheduler_(room_, options_.draft_tokens) {
  runner_.make_room(room_);
  results_.ids.resize(std::size_t(room_.wanted));
  running_.reserve(std::size_t(options_.max_sequences));
  in_step_.reserve(std::size_t(options_.max_sequences));
}

IVL_INLINE std::shared_ptr<Sequence> Engine::start(Request request) {
  const std::shared_ptr<Sequence> sequence = prepare(std::move(request));
  start(sequence);
  return sequence;
}

IVL_INLINE void Engine::start(const std::shared_ptr<Sequence>& prepared) {
  prepared->arrival_ = ++arrivals_;
  prepared->last_ = Sequence::Clock::now();
  insert_in_order(waiting_, prepared);
}

IVL_INLINE std::shared_ptr<Sequence> Engine::prepare(Request request) const {
  const ModelFacts& facts = runner_.facts();
  const Sampling sampling = resolved(request.generation.sampling, facts.sampling);
  const int prompt_tokens = check_prompt(request);
  const int usable = request.tokenizer ? std::min(facts.vocab_rows, request.tokenizer->size()) : facts.vocab_rows;
  const std::shared_ptr<Sequence> sequence(new Sequence(pool_, room_.pages_per_sequence, std::move(request), sampling,
                                                        prompt_tokens, usable, options_.draft_tokens));
  GenerationOptions& generation = sequence->request_.generation;
  sequence->max_new_tokens_ = longest_answer(generation, facts, prompt_tokens);
  const std::int64_t total = std::int64_t(prompt_tokens) + sequence->max_new_tokens_;
  if (total > options_.kv_tokens)
    fail<RoomError>("engine: the prompt of ", prompt_tokens, " tokens and an answer of ", sequence->max_new_tokens_,
                    " need room for ", total, ", but the engine has room for ", options_.kv_tokens);
  if (!generation.ignore_stop_ids)
    sequence->stop_ids_ = generation.stop_ids.empty() ? facts.stop_ids : std::move(generation.stop_ids);
  const Tokenizer* const tokenizer = sequence->request_.tokenizer;
  sequence->rules_ =
      token_rules(generation, facts, tokenizer, usable, sequence->stop_ids_, prompt_tokens, sequence->max_new_tokens_);
  if (generation.constraint) {
    const int ids = generation.constraint->tokens().ids();
    if (tokenizer && tokenizer->size() != ids)
      fail<RequestError>("constraint: expected the tokens of the request's tokenizer, which has ", tokenizer->size(),
                         ", found those of one that has ", ids);
    sequence->constraint_.emplace(generation.constraint, sequence->stop_ids_);
  }
  if (generation.stop_strings.empty()) generation.stop_strings = facts.sampling.stop_strings;
  if (tokenizer)
    sequence->decoder_.emplace(*tokenizer, std::move(generation.stop_strings),
                               generation.special_tokens.value_or(SpecialTokens::skip));
  else if (!generation.stop_strings.empty())
    fail<RequestError>("stop strings: expected a tokenizer to find them with, found none");
  sequence->statistics_.prompt_tokens = prompt_tokens;
  sequence->rope_ = facts.rope;
  if (generation.logprobs && (*generation.logprobs < 0 || *generation.logprobs > usable))
    fail<RequestError>("logprobs: expected 0 to ", usable, " tokens beside each, found ", *generation.logprobs);
  lay_out(*sequence);
  return sequence;
}

IVL_INLINE EngineStatus Engine::status() const {
  EngineStatus status = counts_;
  status.running = int(running_.size());
  status.waiting = int(waiting_.size());
  const auto is_paused = [](const std::shared_ptr<Sequence>& sequence) { return sequence->paused_; };
  status.paused = int(std::ranges::count_if(running_, is_paused) + std::ranges::count_if(waiting_, is_paused));
  status.pages = pool_->count(KvGroup::full);
  status.used_pages = status.pages - pool_->free(KvGroup::full);
  return status;
}

IVL_INLINE std::vector<float> Engine::features(const Picture& picture) {
  const Digest key = key_of(picture);
  auto seen = features_.find(key);
  if (!seen) seen = features_.reserve(key, picture.tiles());
  if (!seen)
    fail<RequestError>("engine: the picture's ", picture.tiles() * runner_.sizes().tokens_per_tile,
                       " rows find no room beside those of running requests");
  while (!seen->whole()) see_on(picture, *seen, key);
  std::vector<std::int32_t> rows;
  for (int row = 0; row < seen->rows(); ++row) rows.push_back(seen->row(row));
  std::vector<float> values(rows.size() * std::size_t(runner_.sizes().hidden));
  runner_.read_features(rows, values.data());
  return values;
}

IVL_INLINE void Engine::stop(Sequence& sequence) {
  if (sequence.done()) return;
  end(sequence, Finish::cancelled);
  remove_done();
}

IVL_INLINE bool Engine::step() {
  end_cancelled();
  admit();
  const auto begin = Clock::now();
  const bool saw = see_pictures(begin);
  choose_step();
  if (in_step_.empty()) {
    // Of those that run and are not paused one has a page, or its pictures are being seen, or it has just been
    // cancelled.
    const auto cancelled = [](const std::shared_ptr<Sequence>& sequence) { return sequence->cancelled(); };
    return is_left() && (saw || std::ranges::any_of(running_, cancelled));
  }
  scheduler_.plan(in_step_, most_prefill_rows(begin), step_);
  ++counts_.steps;
  counts_.rows += step_.rows;
  const auto run_begin = Clock::now();
  std::exception_ptr error;
  try {
    runner_.run(step_, results_);
  } catch (...) {
    error = std::current_exception();
  }
  for (const Scheduler::Part& part : scheduler_.parts()) {
    if (error)
      fail_with(*part.sequence, error);
    else
      take_results(part);
  }
  learn_speed(seconds_since(run_begin));
  remove_done();
  in_step_.clear();  // what has ended is its caller's alone
  return is_left();
}

IVL_INLINE bool Engine::is_left() const {
  const auto goes_on = [](const std::shared_ptr<Sequence>& sequence) { return !sequence->paused_; };
  return std::ranges::any_of(running_, goes_on) || std::ranges::any_of(waiting_, goes_on);
}

IVL_INLINE void Engine::run() {
  while (step()) {
  }
}

// ---- starting ----------------------------------------------------------------------------------------------------

IVL_INLINE int Engine::check_prompt(const Request& request) const {
  const Prompt& prompt = request.prompt;
  const int vocab_rows = runner_.facts().vocab_rows, context = runner_.facts().context_length;
  std::int64_t tokens = std::int64_t(prompt.ids.size()), rows = 0;
  std::size_t before = 0;
  for (const Prompt::Place& place : prompt.pictures) {
    if (place.at < before || place.at > prompt.ids.size())
      fail<RequestError>("prompt: expected pictures in the order of their places among ", prompt.ids.size(),
                         " tokens, found one at ", place.at);
    before = place.at;
    if (place.picture.rules().tile_px != runner_.sizes().tile_px)
      fail<RequestError>("prompt: expected pictures in tiles of ", runner_.sizes().tile_px, " pixels, found ",
                         place.picture.rules().tile_px);
    rows += std::int64_t(place.picture.tiles()) * runner_.sizes().tokens_per_tile;
  }
  tokens += rows;
  if (tokens == 0) fail<RequestError>("prompt: expected at least one token, found none");
  if (tokens >= context)
    fail<RoomError>("prompt: expected fewer tokens than the model's context of ", context, ", found ", tokens);
  if (rows > room_.feature_rows)
    fail<RoomError>("prompt: its pictures have ", rows, " rows, but the engine has room for ", room_.feature_rows);
  for (const std::int32_t id : prompt.ids) {
    if (id < 0 || id >= vocab_rows)
      fail<RequestError>("prompt: token ", id, " is not in the model's vocabulary of ", vocab_rows);
  }
  return int(tokens);
}

IVL_INLINE int longest_answer(const GenerationOptions& generation, const ModelFacts& facts, int prompt_tokens) {
  const SamplingFacts& proposed = facts.sampling;
  int longest = 1024;
  if (generation.max_new_tokens) {
    longest = *generation.max_new_tokens;
    if (longest < 1) fail<RequestError>("max_new_tokens: expected at least 1, found ", longest);
  } else if (generation.max_length) {
    longest = *generation.max_length - prompt_tokens;
    if (longest < 1)
      fail<RequestError>("max_length: expected more than the ", prompt_tokens, " tokens of the prompt, found ",
                         *generation.max_length);
  } else if (proposed.max_new_tokens > 0) {
    longest = proposed.max_new_tokens;
  } else if (proposed.max_length > 0) {
    longest = proposed.max_length - prompt_tokens;
    if (longest < 1)
      fail<RequestError>("max_length: generation_config.json allows prompt and answer ", proposed.max_length,
                         " tokens, but the prompt has ", prompt_tokens, " alone; max_new_tokens replaces it");
  }
  return std::min(longest, facts.context_length - prompt_tokens);
}

IVL_INLINE void Engine::end_cancelled() {
  const auto look_at = [this](const std::shared_ptr<Sequence>& sequence) {
    if (!sequence->cancelled()) return;
    end(*sequence, Finish::cancelled);
    try {
      if (sequence->decoder_) give(*sequence, sequence->decoder_->finish());
    } catch (...) {
      fail_with(*sequence, std::current_exception());
    }
  };
  std::ranges::for_each(running_, look_at);
  std::ranges::for_each(waiting_, look_at);
  remove_done();
}

// ---- after a step ------------------------------------------------------------------------------------------------

IVL_INLINE void Engine::take_results(const Scheduler::Part& part) {
  Sequence& sequence = *part.sequence;
  const bool prompt_logits = sequence.wants_prompt_logits();
  const int before = sequence.cached_;
  sequence.cached_ += part.rows - part.drafts;
  if (before < sequence.prompt_tokens_ && sequence.cached_ >= sequence.prompt_tokens_ && sequence.generated().empty())
    sequence.statistics_.prefill_s = sequence.lap_s();
  keep_pages(sequence);
  try {
    if (prompt_logits) {
      const int number = std::min(part.rows, sequence.prompt_tokens_ - before);
      for (int i = 0; i < number; ++i)
        sequence.request_.generation.on_prompt_logits(before + i, logits_of(part.first_wanted + i));
    }
    if (sequence.cached_ < sequence.prompt_tokens_ && sequence.request_.generation.on_progress)
      sequence.request_.generation.on_progress(
          {.prompt_tokens = sequence.prompt_tokens_, .prompt_done = sequence.cached_});
    if (sequence.cached_ == sequence.length()) take_tokens(part);
  } catch (...) {
    fail_with(sequence, std::current_exception());
  }
}

/// The token that is certain, and those behind guesses that were right: row i + 1 ran with guess i.
IVL_INLINE void Engine::take_tokens(const Scheduler::Part& part) {
  Sequence& sequence = *part.sequence;
  int right = 0;
  for (int wanted = part.first_wanted + part.wanted - 1 - part.drafts;; ++wanted) {
    const bool on_host = step_.wants[std::size_t(wanted)] == Want::logits;
    const std::optional<int> logprobs = sequence.request_.generation.logprobs;
    if (logprobs) {  // before rules and masks change the logits
      const auto own = logits_of(wanted);
      own_logits_.assign(own.begin(), own.begin() + sequence.usable_ids_);
    }
    const int id = on_host ? choose(sequence, logits_of(wanted)) : results_.ids[std::size_t(wanted)];
    if (id < 0)
      fail<ModelError>("model: token ", sequence.generated().size() + 1, " of the answer, ", sequence.length() + 1,
                       " of the conversation, cannot be chosen: its logits hold NaN or nothing above -infinity. "
                       "Probably weights are damaged, or a value is beyond the range of the type that they are "
                       "computed in");
    if (logprobs && !sequence.stops_at(id)) sequence.logprobs_.push_back(logprobs_of(own_logits_, id, *logprobs));
    take_token(sequence, id);
    if (sequence.done() || right == part.drafts || id != sequence.drafts_[std::size_t(right)]) break;
    ++right;
    ++sequence.cached_;
  }
  sequence.learn(right);
  if (right > 0 && !sequence.done()) keep_pages(sequence);
}

IVL_INLINE std::span<float> Engine::logits_of(int wanted) {
  const auto width = std::size_t(runner_.facts().vocab_rows);
  return std::span(results_.logits).subspan(std::size_t(wanted) * width, width);
}

namespace detail {

/// What argmax finds (ops/sample.hpp).
inline int largest_of(std::span<const float> logits) {
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) return -1;
  const auto largest = std::max_element(logits.begin(), logits.end());
  return *largest == -std::numeric_limits<float>::infinity() ? -1 : int(largest - logits.begin());
}

}  // namespace detail

IVL_INLINE int Engine::choose(Sequence& sequence, std::span<float> logits) {
  const GenerationOptions& generation = sequence.request_.generation;
  const Draw draw = sequence.next_draw();
  const auto usable = logits.first(std::size_t(draw.ids));
  if (detail::largest_of(usable) < 0) return -1;
  sequence.rules_.edit(sequence.seen_by_rules(), int(sequence.generated().size()), logits);
  if (sequence.constraint_) sequence.constraint_->mask(logits);
  if (generation.mask) generation.mask(logits);
  if (generation.choose) {
    const int id = generation.choose(logits);
    if (id < 0 || id >= int(logits.size()))
      fail<RequestError>("choose: expected a token id below ", logits.size(), ", found ", id);
    return id;
  }
  const int id = is_greedy(draw) ? detail::largest_of(usable) : runner_.choose(logits, draw);
  if (id < 0)
    fail<RequestError>(generation.mask        ? "mask"
                       : sequence.constraint_ ? "constraint, with what else the request forbids"
                                              : "bad words, n-grams and stop tokens before min_new_tokens",
                       ": expected a token that may be chosen, found none");
  return id;
}

IVL_INLINE void Engine::take_token(Sequence& sequence, int id) {
  sequence.statistics_.decode_s = seconds_since(sequence.last_);
  if (sequence.stops_at(id)) {
    end(sequence, Finish::stop_token);
    if (sequence.decoder_) give(sequence, sequence.decoder_->finish());
    return;
  }
  if (sequence.constraint_) sequence.constraint_->accept(id);
  sequence.tokens_.push_back(id);
  sequence.statistics_.new_tokens = int(sequence.generated().size());
  ++counts_.new_tokens;
  const bool at_limit = sequence.statistics_.new_tokens == sequence.max_new_tokens_;
  if (!sequence.decoder_) {
    if (at_limit) end(sequence, Finish::length);
    return;
  }
  const std::string_view text = sequence.decoder_->push(id);
  if (sequence.decoder_->stopped_by())
    end(sequence, Finish::stop_string);
  else if (at_limit)
    end(sequence, Finish::length);
  give(sequence, text);
  if (sequence.finish_ != Finish::length) return;
  const std::string_view held_back = sequence.decoder_->finish();
  if (sequence.decoder_->stopped_by()) sequence.finish_ = Finish::stop_string;
  give(sequence, held_back);
}

IVL_INLINE void Engine::give(Sequence& sequence, std::string_view text) {
  sequence.text_ += text;
  if (sequence.request_.on_text && !text.empty()) sequence.request_.on_text(text);
}

IVL_INLINE void Engine::end(Sequence& sequence, Finish finish) {
  sequence.finish_ = finish;
  give_back(sequence);
  sequence.request_.prompt = {};
}

IVL_INLINE void Engine::fail_with(Sequence& sequence, std::exception_ptr error) {
  if (!sequence.done()) end(sequence, Finish::error);
  sequence.finish_ = Finish::error;
  sequence.error_ = std::move(error);
}

IVL_INLINE void Engine::remove_done() {
  const auto done = [](const std::shared_ptr<Sequence>& sequence) { return sequence->done(); };
  const auto take_from = [&](auto& sequences) {
    for (;;) {
      const auto found = std::ranges::find_if(sequences, done);
      if (found == sequences.end()) return;
      const std::shared_ptr<Sequence> sequence = *found;
      sequences.erase(found);
      if (sequence->request_.on_end) sequence->request_.on_end(*sequence);
    }
  };
  take_from(running_);
  take_from(waiting_);
}

// ---- many at once ------------------------------------------------------------------------------------------------

IVL_INLINE std::vector<std::shared_ptr<Sequence>> run_all(Engine& engine, std::vector<Request> requests) {
  std::vector<std::shared_ptr<Sequence>> sequences;
  try {
    for (Request& request : requests) sequences.push_back(engine.start(std::move(request)));
  } catch (...) {
    for (const auto& sequence : sequences) engine.stop(*sequence);
    throw;
  }
  engine.run();
  return sequences;
}

}  // namespace ivl
