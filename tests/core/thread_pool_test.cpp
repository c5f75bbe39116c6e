#include "ivl/core/thread_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
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

/// What the exception of a run says; "" where there is none.
template <class Body>
std::string text_of_failure(ThreadPool& pool, std::int64_t tasks, const Body& body) {
  try {
    pool.run(tasks, body);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("of two exceptions the first reaches the caller") {
  ThreadPool pool(2);
  constexpr int rounds = 7;
  int first = 0;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> begun = 0;
    std::atomic<bool> thrown = false;
    struct Signal {
      std::atomic<bool>& flag;
      ~Signal() { flag = true; }
    };
    const std::string text = text_of_failure(pool, 2, [&](std::int64_t task) {
      ++begun;
      while (begun < 2) std::this_thread::yield();  // else one thread might take both
      if (task == 0) {
        const Signal on_the_way{thrown};
        throw std::runtime_error("the first");
      }
      while (!thrown) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      throw std::runtime_error("the second");
    });
    CHECK((text == "the first" || text == "the second"));
    first += text == "the first";
  }
  // A busy machine may stop a thread for longer than that between its throw and the pool's note of it, but not often.
  CHECK(first > rounds / 2);
}

TEST_CASE("where all tasks fail at once, one of this run's exceptions reaches the caller whole") {
  ThreadPool pool(4);
  for (int round = 0; round < 500; ++round) {
    std::atomic<int> begun = 0;
    std::vector<std::string> texts;
    for (int task = 0; task < 4; ++task)
      texts.push_back("round " + std::to_string(round) + ", task " + std::to_string(task));
    const std::string text = text_of_failure(pool, 4, [&](std::int64_t task) {
      ++begun;
      while (begun < 4) std::this_thread::yield();
      throw std::runtime_error(texts[std::size_t(task)]);
    });
    REQUIRE(std::count(texts.begin(), texts.end(), text) == 1);
  }
}

/// Runs a second, of 16 tasks each that take `steps` dependent additions and multiplications, for a slice of time.
class Speed {
 public:
  Speed(int threads, int steps) : pool_(threads), steps_(steps) {}

  void take_turn(std::chrono::milliseconds slice) {
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < slice) {
      pool_.run(16, [this](std::int64_t task) {
        float value = values_[task];
        for (int step = 0; step < steps_; ++step) value = value * 1.0001f + 1e-3f;
        values_[task] = value;
      });
      ++runs_;
    }
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  double runs_a_second() const { return runs_ / seconds_; }

 private:
  ThreadPool pool_;
  int steps_;
  float values_[16] = {};
  double runs_ = 0, seconds_ = 0;
};

TEST_CASE("beside other load no number of threads is much slower than one") {
  std::atomic<bool> over = false;
  std::vector<std::thread> load;
  for (int cpu = 0; cpu < usable_cpus(); ++cpu) {
    load.emplace_back([&over] {
      while (!over) continue;
    });
  }
  for (const int threads : {usable_cpus(), 8 * usable_cpus()}) {
    for (const int steps : {100, 4000}) {  // a run takes some 3 us, 100 us
      CAPTURE(threads);
      CAPTURE(steps);
      double ratio = 0;
      // Where every thread that begins is waited for, the ratio is 0.001 to 0.2.
      for (int attempt = 0; attempt < 5 && ratio < 0.5; ++attempt) {
        Speed one(1, steps), several(threads, steps);
        for (int turn = 0; turn < 10; ++turn) {
          one.take_turn(std::chrono::milliseconds(10));
          several.take_turn(std::chrono::milliseconds(10));
        }
        ratio = several.runs_a_second() / one.runs_a_second();
      }
      CHECK(ratio >= 0.5);
    }
  }
  over = true;
  for (std::thread& thread : load) thread.join();
}

TEST_CASE("a pool that never ran anything ends") {
  for (int i = 0; i < 20; ++i) ThreadPool pool(4);
}
