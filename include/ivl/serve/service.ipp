// The bodies of service.hpp.
#pragma once
#include <cstddef>
#include <utility>

#include "ivl/serve/service.hpp"

namespace ivl {

IVL_INLINE Service::Service(AnyRunner& runner, const ServiceOptions& options)
    : engine_(runner, options.engine),
      max_waiting_(options.max_waiting > 0 ? options.max_waiting : 4 * options.engine.max_sequences),
      status_(engine_.status()),
      thread_([this] { run(); }) {}

IVL_INLINE Service::~Service() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  to_do_.notify_one();
  thread_.join();
}

IVL_INLINE Service::Ticket Service::submit(Request request) {
  std::vector<Request> requests;
  requests.push_back(std::move(request));
  return submit(std::move(requests)).front();
}

IVL_INLINE std::vector<Service::Ticket> Service::submit(std::vector<Request> requests) {
  const int number = int(requests.size());
  std::vector<Ticket> tickets;
  {
    const std::lock_guard lock(mutex_);
    if (drains_ || stops_) fail<BusyError>("service: it is being shut down");
    if (waiting_ > 0 && waiting_ + number > max_waiting_)
      fail<BusyError>("service: ", waiting_, " requests wait, and no more than ", max_waiting_, " may");
    waiting_ += number;
    open_ += number;
    for (int i = 0; i < number; ++i) tickets.push_back(++last_ticket_);
  }
  std::vector<Message> messages;
  try {
    for (int i = 0; i < number; ++i) {
      Request& request = requests[std::size_t(i)];
      const Ticket ticket = tickets[std::size_t(i)];
      watch(request, ticket);
      messages.push_back({Act::start, ticket, engine_.prepare(std::move(request))});
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    waiting_ -= number;
    open_ -= number;
    if (open_ == 0) all_ended_.notify_all();
    throw;
  }
  {
    const std::lock_guard lock(mutex_);
    for (Message& message : messages) mailbox_.push_back(std::move(message));
  }
  to_do_.notify_one();
  return tickets;
}

IVL_INLINE void Service::watch(Request& request, Ticket ticket) {
  request.on_start = [this, told = std::move(request.on_start)](const Sequence& sequence) {
    {
      const std::lock_guard lock(mutex_);
      --waiting_;
    }
    if (told) told(sequence);
  };
  request.on_end = [this, ticket, told = std::move(request.on_end)](const Sequence& sequence) {
    if (told) told(sequence);
    sequences_.erase(ticket);
    const std::lock_guard lock(mutex_);
    if (!sequence.was_started()) --waiting_;
    ++ended_;
  };
}

IVL_INLINE void Service::post(Act act, Ticket ticket) {
  {
    const std::lock_guard lock(mutex_);
    mailbox_.push_back({act, ticket});
  }
  to_do_.notify_one();
}

IVL_INLINE void Service::cancel(Ticket ticket) { post(Act::cancel, ticket); }
IVL_INLINE void Service::pause(Ticket ticket) { post(Act::pause, ticket); }
IVL_INLINE void Service::resume(Ticket ticket) { post(Act::resume, ticket); }

IVL_INLINE void Service::drain() {
  std::unique_lock lock(mutex_);
  drains_ = true;
  all_ended_.wait(lock, [this] { return open_ == 0; });
}

IVL_INLINE ServiceStatus Service::status() const {
  const std::lock_guard lock(mutex_);
  return {waiting_, status_};
}

IVL_INLINE void Service::run() {
  std::vector<Message> read;
  for (bool more = false;;) {
    bool stops = false;
    {
      std::unique_lock lock(mutex_);
      if (!more) to_do_.wait(lock, [this] { return stops_ || !mailbox_.empty(); });
      read.swap(mailbox_);
      stops = stops_;
    }
    for (const Message& message : read) obey(message);
    read.clear();
    if (stops) {
      while (!sequences_.empty()) engine_.stop(*std::shared_ptr(sequences_.begin()->second));
      return;
    }
    more = engine_.step();
    const std::lock_guard lock(mutex_);
    status_ = engine_.status();
    open_ -= std::exchange(ended_, 0);
    if (open_ == 0) all_ended_.notify_all();
  }
}

IVL_INLINE void Service::obey(const Message& message) {
  if (message.act == Act::start) {
    sequences_[message.ticket] = message.sequence;
    return engine_.start(message.sequence);
  }
  const auto found = sequences_.find(message.ticket);
  if (found == sequences_.end()) return;  // it has ended
  const std::shared_ptr<Sequence> sequence = found->second;
  if (message.act == Act::cancel) engine_.stop(*sequence);
  if (message.act == Act::pause) engine_.pause(*sequence);
  if (message.act == Act::resume) engine_.resume(*sequence);
}

}  // namespace ivl
