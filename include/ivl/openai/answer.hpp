// One HTTP request on its way through the service: its sequences' texts become a response, whole or as a stream of
// events, and a client that goes away or reads too slowly is felt by its sequences.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/http/exchange.hpp"
#include "ivl/openai/asked.hpp"
#include "ivl/openai/error.hpp"
#include "ivl/openai/metrics.hpp"
#include "ivl/openai/response.hpp"
#include "ivl/serve/service.hpp"
#include "ivl/text/channels.hpp"

namespace ivl::openai {

/// Where an error's own words go, which no client is told.
using Log = std::function<void(const std::string& line)>;

/// Kept alive by the requests that it queued.
class Answer : public std::enable_shared_from_this<Answer> {
 public:
  using Clock = std::chrono::steady_clock;

  /// All references must outlive the service's requests. `began` is when the HTTP request came.
  Answer(Service& service, const Served& served, Metrics& metrics, const Log& log, Asked asked,
         std::shared_ptr<http::Responder> responder, Clock::time_point began);

  /// Queues all that is asked, or throws what Service::submit does and has answered nothing.
  void start();

 private:
  struct Choice {
    int index = 0, prompt = 0;
    const Sequence* sequence = nullptr;  ///< while it runs
    ChannelReader reader = {};
    std::string text = {}, thoughts = {};  ///< of a whole answer
    std::size_t told_logprobs = 0, told_ids = 0, characters = 0;
    std::optional<Clock::time_point> last = {};  ///< when its last text came
    OrderedJson whole = {};
  };

  // ---- told on the service's thread ---------------------------------------------------------------------------------
  void started(Choice& choice, const Sequence& sequence);
  void said(Choice& choice, std::string_view text);
  void ended(Choice& choice, const Sequence& sequence);

  void take(Choice& choice, std::string_view text, bool thought);
  void end_choice(Choice& choice, const Sequence& sequence);
  void fail(const ApiError& error);
  void finish();

  /// Tells what has come since with a piece: log probabilities and ids, where they are asked for.
  void add_tokens(Choice& choice, Piece& piece) const;
  /// An event with one choice, and in the first the prompt's ids.
  OrderedJson event_of(OrderedJson choice) const;
  void emit(const OrderedJson& event);
  void write(std::string part);
  OrderedJson details() const { return details_of(stages_, asked_.pictures); }
  void observe(const Sequence& sequence);
  static OrderedJson prompt_ids(const Sequence& sequence);

  // ---- from any thread ---------------------------------------------------------------------------------------------
  void cancel_all();
  std::vector<Service::Ticket> tickets() const;

  Service& service_;
  const Served& served_;
  Metrics& metrics_;
  const Log& log_;
  Asked asked_;
  std::shared_ptr<http::Responder> responder_;
  Clock::time_point began_;
  Heading heading_;
  std::vector<Choice> choices_;
  std::size_t left_;  ///< choices that have not ended
  Usage usage_;
  Stages stages_;
  std::optional<ApiError> error_;

  mutable std::mutex mutex_;  // of what follows
  std::vector<Service::Ticket> tickets_;
  bool gone_ = false;    ///< the client
  bool open_ = false;    ///< the stream has begun
  bool closed_ = false;  ///< and all of it is written
  std::string pending_;  ///< written before it began
};

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/answer.ipp"
#endif
