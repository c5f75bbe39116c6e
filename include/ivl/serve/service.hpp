// An engine with a thread of its own, for requests from any thread.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl {

/// As many requests wait as may. To be asked again later.
struct BusyError : RequestError {
  using RequestError::RequestError;
};

struct ServiceOptions {
  EngineOptions engine = {};
  int max_waiting = 0;  ///< requests; 0: four times as many as run together
};

/// What a service does at the moment, and has done so far.
struct ServiceStatus {
  int running = 0, waiting = 0, paused = 0;
  int used_pages = 0, pages = 0;  ///< of keys and values; those that only might be used again do not count
  std::int64_t steps = 0, rows = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, new_tokens = 0, preemptions = 0;
  std::int64_t pictures = 0, known_pictures = 0;  ///< asked about, and of these, not seen again
};

/// All calls may come from any thread. They are read at the start of the next step. What a request has been asked to
/// tell (Request::on_start, on_text, on_end) is told on the service's own thread, and has to be quick.
class Service {
 public:
  using Ticket = std::uint64_t;

  /// `runner` must outlive the service, and is its alone. Throws RequestError for options that leave no room.
  explicit Service(AnyRunner& runner, const ServiceOptions& options = {});
  /// Cancels what is left.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  const ServiceOptions& options() const { return options_; }

  /// Queues requests whose prompts are the same, such as several answers to one question, or just one. Either all are
  /// taken or none. Throws RequestError for one that could never run, BusyError where too many wait or `drain` was
  /// called.
  std::vector<Ticket> submit(std::vector<Request> requests);
  Ticket submit(Request request);

  /// Ends a request before its next token; on_end is still told. One that has ended, or never was, is no error.
  void cancel(Ticket ticket);

  /// Leaves a request out of the steps, with its pages, until it is resumed.
  void pause(Ticket ticket);
  void resume(Ticket ticket);

  /// Takes no more requests, and returns when those that were taken have ended.
  void drain();

  ServiceStatus status() const;
};

}  // namespace ivl
