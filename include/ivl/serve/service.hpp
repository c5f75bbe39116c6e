// An engine with a thread of its own, for requests from any thread.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl {

/// As many requests wait as may, or the service takes no more. To be asked again later.
struct BusyError : RequestError {
  using RequestError::RequestError;
};

struct ServiceOptions {
  EngineOptions engine = {};
  int max_waiting = 0;  ///< requests that have not run yet; 0: four times as many as run together
};

/// What a service does at the moment, and has done so far.
struct ServiceStatus {
  int waiting = 0;  ///< have not run yet
  EngineStatus engine = {};
};

/// All calls may come from any thread; they are read at the start of the next step. What a request's caller is told
/// (Request::on_start, on_text, on_end), he is told on the service's own thread, and has to be quick.
class Service {
 public:
  using Ticket = std::uint64_t;

  /// `runner` must outlive the service, and is its alone. Throws RequestError for options that leave no room.
  explicit Service(AnyRunner& runner, const ServiceOptions& options = {});
  /// Cancels what is left.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// The longest part of checking and laying out is done here, in the caller's thread. Throws as Engine::prepare does,
  /// and BusyError.
  Ticket submit(Request request);
  /// All of them or none: several answers to one question, say. So many may be asked at once as wait at most; more only
  /// of a service where nobody waits.
  std::vector<Ticket> submit(std::vector<Request> requests);

  /// Ends a request before its next token; `on_end` is still told. One that has ended, or never was, is no error.
  void cancel(Ticket ticket);

  /// See Engine::pause.
  void pause(Ticket ticket);
  void resume(Ticket ticket);

  /// Takes no more requests, and returns when those that were taken have ended.
  void drain();

  ServiceStatus status() const;
  const EngineOptions& options() const { return engine_.options(); }

 private:
  enum class Act : std::uint8_t { start, cancel, pause, resume };
  struct Message {
    Act act;
    Ticket ticket;
    std::shared_ptr<Sequence> sequence = {};  ///< that starts
  };

  void post(Act act, Ticket ticket);
  void run();
  void obey(const Message& message);
  /// Adds what the service itself has to know to what the caller is told.
  void watch(Request& request, Ticket ticket);

  Engine engine_;
  int max_waiting_;
  std::unordered_map<Ticket, std::shared_ptr<Sequence>> sequences_;  ///< of the thread, as the engine

  mutable std::mutex mutex_;  ///< of all below
  std::condition_variable to_do_, all_ended_;
  std::vector<Message> mailbox_;
  Ticket last_ticket_ = 0;
  int waiting_ = 0, open_ = 0;
  bool drains_ = false, stops_ = false;
  EngineStatus status_;

  std::thread thread_;  ///< the last, since it uses all others
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/service.ipp"
#endif
