// Fork/join over a fixed set of threads. A fork costs about a microsecond while the threads are warm.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/core/cpus.hpp"
#include "ivl/core/pace.hpp"

namespace ivl {

/// `run` splits tasks over the calling thread and up to `threads() - 1` workers: fewer where the tasks are small, or
/// where other programs keep the workers from running (see pace.hpp). One caller at a time; tasks must not call `run`
/// themselves, nor wait for each other. Allocates nothing after construction.
class ThreadPool {
 public:
  explicit ThreadPool(int threads = usable_cpus())
      : parked_(std::size_t(std::max(1, threads))), pace_(std::max(1, threads), usable_cpus()) {
    workers_.reserve(parked_.size() - 1);
    for (int seat = 1; seat < threads; ++seat) workers_.emplace_back([this, seat] { work(seat); });
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    left_.store(stop, std::memory_order_seq_cst);
    for (int seat = 1; seat < threads(); ++seat) wake(seat);
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return int(parked_.size()); }

  /// Calls body(task) once for each task in [0, tasks), in any order, and returns when all are done.
  /// The first exception of a body is thrown here, after every thread has stopped.
  template <class Body>
  void run(std::int64_t tasks, Body&& body) {
    if (tasks <= 1 || workers_.empty()) return run_alone(tasks, body);
    using Function = std::remove_reference_t<Body>;
    const Job job{
        [](const void* function, std::int64_t task) { (*static_cast<Function*>(const_cast<void*>(function)))(task); },
        &body, tasks};
    double& estimate = pace_.estimate(reinterpret_cast<const void*>(job.call), tasks);
    const Ticks begin = now();
    const int width = pace_.width(estimate, tasks, begin);
    if (width > 1) return share(job, width, estimate, begin);
    run_alone(tasks, body);
    Pace::learn(estimate, double(now() - begin));
  }

 private:
  struct Job {
    void (*call)(const void*, std::int64_t) = nullptr;
    const void* body = nullptr;
    std::int64_t tasks = 0;
  };
  static constexpr std::int64_t stop = -1;
  // A worker waits this long for the next run before it sleeps: the runs of a token follow each other faster.
  static constexpr Ticks worker_spin = 100 * ticks_per_us;
  static constexpr Ticks caller_spin = 20 * ticks_per_us;

  template <class Body>
  static void run_alone(std::int64_t tasks, Body& body) {
    for (std::int64_t task = 0; task < tasks; ++task) body(task);
  }

  void share(const Job& job, int width, double& estimate, Ticks begin) {
    job_ = job;
    width_.store(width, std::memory_order_relaxed);
    unfinished_.store(job.tasks, std::memory_order_relaxed);
    left_.store(job.tasks, std::memory_order_seq_cst);
    for (int seat = 1; seat < width; ++seat) wake(seat);
    const Ticks forked = now();
    const std::int64_t taken = take_tasks();
    const Ticks done = now();
    wait(0, caller_spin + (done - forked), [this] { return unfinished_.load(std::memory_order_seq_cst) == 0; });
    if (error_) {
      failed_.clear(std::memory_order_relaxed);  // every thread has stopped
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
    if (taken == 0) return;
    const Ticks end = now(), worked = done - forked;
    Pace::learn(estimate, double(worked) / double(taken) * double(job.tasks));
    pace_.settle(estimate, width, worked, end - begin - worked, end);
  }

  /// Does tasks until none is left; returns how many. A thread that claims none has no part in the run: nobody waits
  /// for a worker that wakes late. Who has claimed one may read `job_`, as the run does not end before that task has.
  std::int64_t take_tasks() {
    std::int64_t taken = 0;
    try {
      for (std::int64_t left = left_.load(std::memory_order_relaxed); left > 0;) {
        if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed)) continue;
        ++taken;
        job_.call(job_.body, job_.tasks - left);
        left = left_.load(std::memory_order_relaxed);
      }
    } catch (...) {
      if (!failed_.test_and_set(std::memory_order_relaxed)) error_ = std::current_exception();
      taken += left_.exchange(0, std::memory_order_relaxed);
    }
    if (taken > 0 && unfinished_.fetch_sub(taken, std::memory_order_seq_cst) == taken) wake(0);
    return taken;
  }

  void work(int seat) {
    for (;;) {
      wait(seat, worker_spin, [this, seat] {
        const std::int64_t left = left_.load(std::memory_order_seq_cst);
        return left == stop || (left > 0 && seat < width_.load(std::memory_order_relaxed));
      });
      if (left_.load(std::memory_order_relaxed) == stop) return;
      take_tasks();
    }
  }

  /// Returns once `ready()`. Spins for some ticks, then sleeps until woken.
  template <class Ready>
  void wait(int seat, Ticks spin, const Ready& ready) {
    for (std::atomic<int>& parked = parked_[std::size_t(seat)];;) {
      for (const Ticks begin = now(); now() - begin < spin; pause())
        if (ready()) return;
      // Either this thread sees what was written before `wake`, or `wake` sees that it sleeps.
      parked.store(1, std::memory_order_seq_cst);
      if (!ready()) parked.wait(1);
      parked.store(0, std::memory_order_relaxed);
    }
  }

  /// A wake-up that comes too late, from an earlier run, only makes the sleeper look again.
  void wake(int seat) {
    std::atomic<int>& parked = parked_[std::size_t(seat)];
    if (parked.load(std::memory_order_seq_cst) == 0) return;
    parked.store(0, std::memory_order_relaxed);
    parked.notify_one();
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  std::vector<std::thread> workers_;
  std::vector<std::atomic<int>> parked_;  // by seat: the caller's is 0
  Pace pace_;
  Job job_;
  std::exception_ptr error_;  // of the thread that set `failed_`
  std::atomic_flag failed_;
  alignas(64) std::atomic<std::int64_t> left_{0};  // tasks that nobody has claimed; `stop`
  std::atomic<int> width_{0};                      // seats below it take part
  alignas(64) std::atomic<std::int64_t> unfinished_{0};
};

}  // namespace ivl
