#include "ivl/core/thread_pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace ivl;

TEST_CASE("every task runs once, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const int tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      pool.run(tasks, [&](std::int64_t task) { ++runs[std::size_t(task)]; });
      for (const auto& number : runs) REQUIRE(number == 1);
    }
  }
}

TEST_CASE("fewer threads than one are one, and negative tasks are none") {
  ThreadPool pool(0);
  CHECK(pool.threads() == 1);
  bool ran = false;
  pool.run(-3, [&](std::int64_t) { ran = true; });
  CHECK(!ran);
}

TEST_CASE("what the tasks wrote is seen after run, many forks in a row") {
  ThreadPool pool(4);
  std::vector<int> values(64, 0);  // plain memory: a lost or early return of run would be a race
  for (int fork = 1; fork <= 5000; ++fork) {
    pool.run(64, [&](std::int64_t task) { ++values[std::size_t(task)]; });
    if (values[std::size_t(fork % 64)] != fork) REQUIRE(values[std::size_t(fork % 64)] == fork);
  }
  for (const int value : values) CHECK(value == 5000);
}

TEST_CASE("threads that went to sleep wake up") {
  ThreadPool pool(3);
  for (int fork = 0; fork < 5; ++fork) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> ran = 0;
    pool.run(10, [&](std::int64_t) { ++ran; });
    REQUIRE(ran == 10);
  }
}

TEST_CASE("tasks run on several threads at once") {
  ThreadPool pool(2);
  // Each of the two tasks waits for the other: one thread alone would never return.
  std::atomic<int> arrived = 0;
  pool.run(2, [&](std::int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  CHECK(arrived == 2);
}

TEST_CASE("an exception of a task reaches the caller, and the pool goes on") {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      CHECK_THROWS_WITH_AS(pool.run(100,
                                    [](std::int64_t task) {
                                      if (task % 10 == 3) throw std::runtime_error("a task failed");
                                    }),
                           "a task failed", std::runtime_error);
      std::atomic<int> ran = 0;
      pool.run(100, [&](std::int64_t) { ++ran; });
      REQUIRE(ran == 100);
    }
  }
}

TEST_CASE("a pool that never ran anything ends") {
  for (int i = 0; i < 20; ++i) ThreadPool pool(4);
}
