// The bodies of answer.hpp.
#pragma once
#include <algorithm>
#include <utility>

#include "ivl/core/seconds.hpp"
#include "ivl/openai/answer.hpp"

namespace ivl::openai {

namespace detail {

inline OrderedJson ids_of(std::span<const std::int32_t> ids) {
  return std::vector<std::int32_t>(ids.begin(), ids.end());
}

}  // namespace detail

IVL_INLINE Answer::Answer(Service& service, const Served& served, Metrics& metrics, const Log& log, Asked asked,
                          std::shared_ptr<http::Responder> responder, Clock::time_point began)
    : service_(service),
      served_(served),
      metrics_(metrics),
      log_(log),
      asked_(std::move(asked)),
      responder_(std::move(responder)),
      began_(began),
      heading_(new_heading(asked_.endpoint, served.name)),
      choices_(asked_.prompts.size() * std::size_t(asked_.answers)),
      left_(choices_.size()) {
  for (std::size_t n = 0; n < choices_.size(); ++n) {
    choices_[n].index = int(n);
    choices_[n].prompt = int(n) / asked_.answers;
  }
  for (const Picture& picture : asked_.pictures) usage_.image_tokens += served.processor.tokens_of(picture);
}

IVL_INLINE void Answer::start() {
  // The responder must not keep alive what keeps it alive.
  const std::weak_ptr<Answer> weak = weak_from_this();
  responder_->when_gone([weak] {
    if (const auto self = weak.lock()) self->cancel_all();
  });
  if (asked_.stream) {
    responder_->when_backlog([weak](bool full) {
      const auto self = weak.lock();
      if (!self) return;
      for (const Service::Ticket ticket : self->tickets())
        full ? self->service_.pause(ticket) : self->service_.resume(ticket);
    });
  }

  std::vector<Service::Ticket> tickets;
  try {
    for (std::size_t prompt = 0; prompt < asked_.prompts.size(); ++prompt) {
      std::vector<Request> requests = requests_of(asked_, prompt, served_);
      for (std::size_t n = 0; n < requests.size(); ++n) {
        Choice& choice = choices_[prompt * requests.size() + n];
        const auto self = shared_from_this();
        requests[n].on_start = [self, &choice](const Sequence& sequence) { self->started(choice, sequence); };
        requests[n].on_text = [self, &choice](std::string_view text) { self->said(choice, text); };
        requests[n].on_end = [self, &choice](const Sequence& sequence) { self->ended(choice, sequence); };
        metrics_.max_tokens.observe(requests[n].generation.max_new_tokens.value_or(0));
      }
      const auto taken = service_.submit(std::move(requests));
      tickets.insert(tickets.end(), taken.begin(), taken.end());
    }
  } catch (...) {
    for (const Service::Ticket ticket : tickets) service_.cancel(ticket);
    throw;
  }

  bool gone;
  {
    const std::lock_guard lock(mutex_);
    tickets_ = std::move(tickets);
    gone = gone_;
    if (asked_.stream) {
      responder_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}});
      if (!pending_.empty()) responder_->write(std::exchange(pending_, {}));
      open_ = true;
      if (closed_) responder_->end();
    }
  }
  if (gone) cancel_all();
}

IVL_INLINE std::vector<Service::Ticket> Answer::tickets() const {
  const std::lock_guard lock(mutex_);
  return tickets_;
}

IVL_INLINE void Answer::cancel_all() {
  std::vector<Service::Ticket> tickets;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    tickets = tickets_;
  }
  for (const Service::Ticket ticket : tickets) service_.cancel(ticket);
}

IVL_INLINE OrderedJson Answer::prompt_ids(const Sequence& sequence) {
  return detail::ids_of(sequence.tokens().first(std::size_t(sequence.prompt_tokens())));
}

IVL_INLINE void Answer::started(Choice& choice, const Sequence& sequence) {
  choice.sequence = &sequence;
  if (!asked_.echoes.empty()) {
    const std::string& echo = asked_.echoes[std::size_t(choice.prompt)];
    choice.characters = characters_of(echo);
    if (asked_.stream) return emit(event_of(choice_of(heading_.endpoint, choice.index, {.text = echo})));
    choice.text = echo;
  }
  if (!asked_.stream || asked_.endpoint != Endpoint::chat) return;
  OrderedJson event = event_of(choice_of(heading_.endpoint, choice.index, {.first = true}));
  if (asked_.token_ids) event["prompt_token_ids"] = prompt_ids(sequence);
  emit(event);
}

IVL_INLINE void Answer::said(Choice& choice, std::string_view text) {
  if (choice.last)
    metrics_.inter_token_latency_s.observe(seconds_since(*choice.last));
  else
    metrics_.time_to_first_token_s.observe(seconds_since(began_));
  choice.last = Clock::now();
  if (asked_.endpoint == Endpoint::completions) return take(choice, text, false);
  choice.reader.push(text,
                     [&](std::string_view channel, std::string_view part) { take(choice, part, !is_answer(channel)); });
}

IVL_INLINE void Answer::take(Choice& choice, std::string_view text, bool thought) {
  if (!asked_.stream) {
    (thought ? choice.thoughts : choice.text) += text;
    return;
  }
  Piece piece{.text = text, .thought = thought};
  add_tokens(choice, piece);
  emit(event_of(choice_of(heading_.endpoint, choice.index, piece)));
}

IVL_INLINE void Answer::add_tokens(Choice& choice, Piece& piece) const {
  if (!choice.sequence) return;
  const auto ids = choice.sequence->generated();
  if (asked_.generation.logprobs) {
    // One of a stop token at the end is not told.
    const auto known = choice.sequence->logprobs();
    const std::size_t end = std::min(known.size(), ids.size());
    if (!asked_.stream || end > choice.told_logprobs)
      piece.logprobs =
          json_of_logprobs(heading_.endpoint, known.subspan(choice.told_logprobs, end - choice.told_logprobs),
                           served_.processor.tokenizer(), choice.characters);
    choice.told_logprobs = end;
  }
  if (asked_.token_ids) {
    piece.token_ids = detail::ids_of(ids.subspan(choice.told_ids));
    choice.told_ids = ids.size();
  }
}

IVL_INLINE void Answer::ended(Choice& choice, const Sequence& sequence) {
  observe(sequence);
  if (sequence.finish() == Finish::error) {
    if (log_) log_("an answer failed: " + words_of(sequence.error()));
    fail(ApiError(500, "the answer failed; the server's log has the reason"));
  } else if (sequence.finish() == Finish::cancelled) {
    fail(ApiError(503, "the server is shutting down", "", "shutting_down"));
  }
  choice.sequence = &sequence;
  if (asked_.endpoint == Endpoint::chat)
    choice.reader.finish(
        [&](std::string_view channel, std::string_view part) { take(choice, part, !is_answer(channel)); });
  if (!error_) end_choice(choice, sequence);
  choice.sequence = nullptr;
  if (--left_ == 0) finish();
}

IVL_INLINE void Answer::end_choice(Choice& choice, const Sequence& sequence) {
  const AnswerStatistics& s = sequence.statistics();
  if (choice.index % asked_.answers == 0) {  // the prompt counts once
    usage_.prompt_tokens += s.prompt_tokens;
    usage_.cached_tokens += s.cached_tokens;
  }
  usage_.completion_tokens += int(sequence.generated().size());
  const auto raise = [](double& stage_ms, double seconds) { stage_ms = std::max(stage_ms, seconds * 1e3); };
  raise(stages_.queue_ms, s.queue_s);
  raise(stages_.vision_ms, s.vision_s);
  raise(stages_.prefill_ms, s.prefill_s);
  raise(stages_.decode_ms, s.decode_s);
  stages_.image_decode_ms = asked_.image_decode_s * 1e3;

  Piece end{.text = choice.text, .last = true, .finish = sequence.finish(), .stopped_by = sequence.stopped_by()};
  add_tokens(choice, end);
  if (!asked_.stream) {
    choice.whole = whole_choice_of(heading_.endpoint, choice.index, end, choice.thoughts);
    if (asked_.token_ids) choice.whole["prompt_token_ids"] = prompt_ids(sequence);
    return;
  }
  OrderedJson event = event_of(choice_of(heading_.endpoint, choice.index, end));
  if (left_ == 1 && !asked_.include_usage) event["ivl"] = details();
  emit(event);
}

IVL_INLINE void Answer::fail(const ApiError& error) {
  if (error_) return;
  error_ = error;
  for (const Service::Ticket ticket : tickets()) service_.cancel(ticket);
}

IVL_INLINE void Answer::finish() {
  if (!asked_.stream) {
    if (error_) return send_error(*responder_, *error_);
    OrderedJson choices = OrderedJson::array();
    for (Choice& choice : choices_) choices.push_back(std::move(choice.whole));
    OrderedJson response = response_of(heading_, false, std::move(choices));
    response["usage"] = json_of(usage_);
    response["system_fingerprint"] = nullptr;
    response["ivl"] = details();
    return responder_->send(200, "application/json", text_of_json(response));
  }
  if (error_) {
    write("data: " + body_of(*error_) + "\n\n");
  } else if (asked_.include_usage) {
    OrderedJson event = event_of(OrderedJson());
    event["choices"] = OrderedJson::array();
    event["usage"] = json_of(usage_);
    event["ivl"] = details();
    emit(event);
  }
  write("data: [DONE]\n\n");
  const std::lock_guard lock(mutex_);
  closed_ = true;
  if (open_) responder_->end();
}

IVL_INLINE OrderedJson Answer::event_of(OrderedJson choice) const {
  return response_of(heading_, true, OrderedJson::array({std::move(choice)}));
}

IVL_INLINE void Answer::emit(const OrderedJson& event) { write("data: " + text_of_json(event) + "\n\n"); }

IVL_INLINE void Answer::write(std::string part) {
  const std::lock_guard lock(mutex_);
  if (open_)
    responder_->write(std::move(part));
  else
    pending_ += part;
}

IVL_INLINE void Answer::observe(const Sequence& sequence) {
  const AnswerStatistics& s = sequence.statistics();
  metrics_.count_finish(sequence.finish());
  if (sequence.finish() == Finish::cancelled) return;
  metrics_.request_latency_s.observe(seconds_since(began_));
  metrics_.queue_s.observe(s.queue_s);
  metrics_.inference_s.observe(s.vision_s + s.prefill_s + s.decode_s);
  metrics_.prefill_s.observe(s.prefill_s);
  metrics_.decode_s.observe(s.decode_s);
  metrics_.prompt_tokens.observe(s.prompt_tokens);
  metrics_.generation_tokens.observe(s.new_tokens);
  metrics_.preemptions.observe(sequence.preemptions());
  if (s.new_tokens > 1) metrics_.time_per_output_token_s.observe(s.decode_s / (s.new_tokens - 1));
  if (s.tiles > 0) metrics_.vision_s.observe(s.vision_s);
}

}  // namespace ivl::openai
