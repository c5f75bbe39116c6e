// Fork/join over a fixed set of threads. A fork costs about a microsecond while the threads are warm.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/cpus.hpp"
#include "ivl/core/pace.hpp"

namespace ivl {

/// `run` splits tasks over the calling thread and at most `threads() - 1` workers: fewer where a run is small, or where
/// other programs keep workers from running (see pace.hpp). One caller at a time; tasks must not call `run` themselves,
/// nor wait for each other. Allocates nothing after construction.
class ThreadPool {
 public:
  explicit ThreadPool(int threads = usable_cpus());
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const { return int(parked_.size()); }

  /// Calls body(task) once for each task in [0, tasks), in any order, and returns when all are done.
  /// The first exception of a body is thrown here, after every thread has stopped.
  template <class Body>
  void run(std::int64_t tasks, Body&& body) {
    const auto run_alone = [&] {
      for (std::int64_t task = 0; task < tasks; ++task) body(task);
    };
    if (tasks <= 1 || workers_.empty()) return run_alone();
    using Function = std::remove_reference_t<Body>;
    const Job job{
        [](const void* function, std::int64_t task) { (*static_cast<Function*>(const_cast<void*>(function)))(task); },
        &body, tasks};
    Pace::Kind& kind = pace_.kind(reinterpret_cast<const void*>(job.call), tasks);
    if (kind.untimed > 0) {
      --kind.untimed;
      return run_alone();
    }
    const Ticks begin = ticks_now();
    if (const int width = pace_.width(kind, tasks, begin); width > 1) return share(job, width, kind, begin);
    run_alone();
    Pace::learn(kind, float(ticks_now() - begin));
  }

 private:
  struct Job {
    void (*call)(const void*, std::int64_t) = nullptr;
    const void* body = nullptr;
    std::int64_t tasks = 0;
  };
  static constexpr std::int64_t stop = -1;
  /// How long to wait awake: first spinning, then giving way to other threads each time.
  struct Patience {
    Ticks spin, yield;
  };
  // The runs of a token follow each other faster than this. Yielding: where the caller shares a CPU with the worker,
  // one that spun took 6 % of the toy's tokens a second.
  static constexpr Patience worker_patience{5 * ticks_per_us, 95 * ticks_per_us};
  // The caller waits as long as it worked, and at least this long: who makes it wait longer is not running.
  static constexpr Ticks least_caller_spin = 20 * ticks_per_us;

  void share(const Job& job, int width, Pace::Kind& kind, Ticks begin);
  std::int64_t take_tasks();
  void work(int seat);
  template <class Ready>
  void wait(int seat, Patience patience, const Ready& ready);
  void wake(int seat);

  std::vector<std::atomic<int>> parked_;  // by seat, the caller's is 0: it sleeps, or is about to
  std::vector<std::thread> workers_;      // seats from 1 on
  Pace pace_;
  Job job_;
  std::exception_ptr error_;  // of the thread that set `failed_`
  std::atomic_flag failed_;
  alignas(64) std::atomic<std::int64_t> left_{0};  // tasks that nobody has claimed; `stop`
  std::atomic<int> width_{0};                      // seats below it take part
  alignas(64) std::atomic<std::int64_t> unfinished_{0};
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/core/thread_pool.ipp"
#endif
