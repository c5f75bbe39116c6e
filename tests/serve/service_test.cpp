// The engine's thread: requests, cancels and pauses from several threads, what waits, what is refused, and the end.
#include "ivl/serve/service.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../support/dice.hpp"
#include "../support/hashing_runner.hpp"
#include "../support/text.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// A prompt of ids that say little, another for each number.
Prompt numbered_prompt(int number, int tokens = 20) {
  Prompt prompt{std::vector<std::int32_t>(std::size_t(tokens), 20)};
  prompt.ids[0] = 2 + number % 50;
  return prompt;
}

std::vector<std::int32_t> expected_answer(const HashingModel& model, const Prompt& prompt, int longest) {
  return model.answer(prompt, 10, longest, -1, [](const std::vector<float>& logits, int) {
    return HashingModel::choose(logits, {.ids = int(logits.size())});
  });
}

/// What was told of one request.
struct Told {
  int starts = 0, ends = 0;
  std::vector<std::int32_t> ids;
  Finish finish = Finish::waiting;
  std::promise<void> ended;
};

Request request_of(Prompt prompt, int longest, const std::shared_ptr<Told>& told) {
  Request request{.prompt = std::move(prompt), .generation = {.max_new_tokens = longest, .ignore_stop_ids = true}};
  request.on_start = [told](const Sequence&) { ++told->starts; };
  request.on_end = [told](const Sequence& sequence) {
    ++told->ends;
    told->ids.assign(sequence.generated().begin(), sequence.generated().end());
    told->finish = sequence.finish();
    told->ended.set_value();
  };
  return request;
}

void wait_for(const std::shared_ptr<Told>& told) { told->ended.get_future().wait(); }

/// Holds the service's thread inside a step until it is let go.
class Gate {
 public:
  explicit Gate(Service& service) {
    Request request{.prompt = {{30}}, .generation = {.max_new_tokens = 1, .ignore_stop_ids = true}};
    auto reached = std::make_shared<std::promise<void>>();
    auto reached_it = reached->get_future();
    request.on_start = [reached = std::move(reached), opens = open_.get_future().share()](const Sequence&) {
      reached->set_value();
      opens.wait();
    };
    service.submit(std::move(request));
    reached_it.wait();
  }
  void open() { open_.set_value(); }

 private:
  std::promise<void> open_;
};

TEST_CASE("Requests, cancels and pauses from several threads: every answer is its own") {
  const HashingModel model{.repeating = 50};
  HashingRunner runner(model, 10);
  Service service(runner, {.engine = {.kv_tokens = 700, .max_sequences = 4, .max_rows = 40, .draft_tokens = 3},
                           .max_waiting = 1000});
  std::atomic<int> cut_short = 0;
  const auto client = [&](int number) {
    Dice dice{std::uint64_t(number)};
    for (int i = 0; i < 60; ++i) {
      const Prompt prompt = numbered_prompt(dice.between(0, 5), dice.between(1, 150));
      const int longest = dice.between(1, 40);
      const auto told = std::make_shared<Told>();
      const Service::Ticket ticket = service.submit(request_of(prompt, longest, told));
      const bool cancels = dice.chance(10);
      if (dice.chance(20)) {
        service.pause(ticket);
        service.resume(ticket);
      }
      if (cancels) service.cancel(ticket);
      wait_for(told);
      service.cancel(ticket);  // too late, and no error
      const auto expected = expected_answer(model, prompt, longest);
      REQUIRE(told->ids.size() <= expected.size());
      CHECK(std::equal(told->ids.begin(), told->ids.end(), expected.begin()));
      CHECK((told->finish == Finish::length || (cancels && told->finish == Finish::cancelled)));
      if (told->finish == Finish::length) CHECK(told->ids.size() == expected.size());
      cut_short += told->finish == Finish::cancelled;
      CHECK(told->ends == 1);
      CHECK(told->starts <= 1);
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back(client, i);
  for (std::thread& thread : clients) thread.join();
  CHECK(cut_short > 0);
  service.drain();
  const ServiceStatus status = service.status();
  CHECK(status.waiting == 0);
  CHECK(what_of<BusyError>([&] { service.submit({.prompt = numbered_prompt(0)}); }) ==
        "service: it is being shut down");
}

TEST_CASE("As many wait as may, and all of a group or none") {
  HashingRunner runner({}, 10);
  Service service(runner, {.engine = {.max_sequences = 1}, .max_waiting = 3});
  Gate gate(service);
  std::vector<std::shared_ptr<Told>> all;
  const auto group = [&](int number) {
    std::vector<Request> requests;
    for (int i = 0; i < number; ++i)
      requests.push_back(request_of(numbered_prompt(i), 3, all.emplace_back(std::make_shared<Told>())));
    return requests;
  };
  CHECK(service.submit(group(5)).size() == 5);  // nobody waits: a group may be larger than the queue
  CHECK(service.status().waiting == 5);
  CHECK(what_of<BusyError>([&] { service.submit(group(1)); }) == "service: 5 requests wait, and no more than 3 may");
  all.pop_back();
  // One that could never run is refused at once, whatever waits, and takes no place.
  gate.open();
  for (const auto& told : all) wait_for(told);
  std::vector<Request> impossible = group(2);
  impossible[1].prompt.ids.assign(100000, 20);
  CHECK(contains(what_of<RoomError>([&] { service.submit(std::move(impossible)); }), "100000 tokens"));
  all.resize(5);
  service.drain();
  CHECK(service.status().waiting == 0);
}

TEST_CASE("A service that ends tells everybody, those that wait and those that are paused") {
  HashingRunner runner({}, 10);
  std::vector<std::shared_ptr<Told>> all;
  {
    Service service(runner, {.engine = {.max_sequences = 2}, .max_waiting = 10});
    Gate gate(service);
    for (int i = 0; i < 6; ++i) {
      const auto ticket =
          service.submit(request_of(numbered_prompt(i), 2000, all.emplace_back(std::make_shared<Told>())));
      if (i % 2 == 0) service.pause(ticket);
    }
    gate.open();
  }
  for (const auto& told : all) {
    CHECK(told->ends == 1);
    CHECK(told->finish == Finish::cancelled);
  }
}

TEST_CASE("Of requests that wait, the smaller priority comes first, and among equals the first that came") {
  HashingRunner runner({}, 10);
  Service service(runner, {.engine = {.max_sequences = 1}, .max_waiting = 10});
  Gate gate(service);
  std::mutex mutex;
  std::string order;
  std::vector<std::shared_ptr<Told>> all;
  for (const auto& [name, priority] : {std::pair('a', 0), {'b', 5}, {'c', -1}, {'d', 0}, {'e', -1}}) {
    Request request = request_of(numbered_prompt(name), 2, all.emplace_back(std::make_shared<Told>()));
    request.priority = priority;
    request.on_start = [&, name](const Sequence&) {
      const std::lock_guard lock(mutex);
      order += name;
    };
    service.submit(std::move(request));
  }
  gate.open();
  service.drain();
  CHECK(order == "ceadb");
}

TEST_CASE("A paused request gets no token, and neither its place nor its pages are missing to others") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Service service(runner, {.engine = {.kv_tokens = 128, .max_sequences = 1}});
  const Prompt prompt = numbered_prompt(1, 60);
  const auto slow = std::make_shared<Told>();
  std::promise<void> has_begun;
  Request request = request_of(prompt, 60, slow);
  int chosen = 0;
  request.generation.mask = [&](std::span<float>) {
    if (++chosen == 5) has_begun.set_value();
    if (chosen >= 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  const auto ticket = service.submit(std::move(request));
  has_begun.get_future().wait();
  service.pause(ticket);
  const auto other = std::make_shared<Told>();
  service.submit(request_of(numbered_prompt(2, 100), 20, other));  // needs all pages
  wait_for(other);
  CHECK(other->ids == expected_answer(model, numbered_prompt(2, 100), 20));
  CHECK(slow->ends == 0);
  const ServiceStatus status = service.status();
  CHECK(status.engine.paused == 1);
  CHECK(status.engine.preemptions == 1);
  service.resume(ticket);
  wait_for(slow);
  CHECK(slow->ids == expected_answer(model, prompt, 60));
  CHECK(slow->starts == 1);
}

}  // namespace
