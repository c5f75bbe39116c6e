// Fork/join over a fixed set of threads. A fork costs about a microsecond while the threads are warm.
#pragma once
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace ivl {

/// CPUs that this process may use: fewer than the machine's under taskset or in a container that pins it.
inline int usable_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

/// `run` splits tasks over the calling thread and `threads() - 1` workers. One caller at a time; tasks must not call
/// `run` themselves. Allocates nothing after construction.
class ThreadPool {
 public:
  explicit ThreadPool(int threads = usable_cpus()) {
    workers_.reserve(std::size_t(std::max(0, threads - 1)));
    for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this] { work(); });
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    job_ = Job{};
    announce();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return int(workers_.size()) + 1; }

  /// Calls body(task) once for each task in [0, tasks), in any order, and returns when all are done.
  /// The first exception of a body is thrown here, after every thread has stopped.
  template <class Body>
  void run(std::int64_t tasks, Body&& body) {
    if (tasks <= 0) return;
    if (tasks == 1 || workers_.empty()) {
      for (std::int64_t task = 0; task < tasks; ++task) body(task);
      return;
    }
    using Function = std::remove_reference_t<Body>;
    job_ = Job{
        [](const void* function, std::int64_t task) { (*static_cast<Function*>(const_cast<void*>(function)))(task); },
        &body, tasks};
    next_.store(0, std::memory_order_relaxed);
    busy_.store(int(workers_.size()), std::memory_order_relaxed);
    announce();
    take_tasks();
    for (int spin = 0; busy_.load(std::memory_order_acquire) != 0; ++spin) pause_or_yield(spin);
    if (error_) {
      failed_.clear(std::memory_order_relaxed);  // every thread has stopped
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }

 private:
  struct Job {
    void (*call)(const void*, std::int64_t) = nullptr;  // null: stop
    const void* body = nullptr;
    std::int64_t tasks = 0;
  };
  // A worker spins this often (about 100 us) before it sleeps: the steps of a token follow each other faster than that.
  static constexpr int spins_before_sleep = 4000;

  static void pause_or_yield(int spin) {
    if (spin > spins_before_sleep) return std::this_thread::yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  void announce() {
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) != 0) generation_.notify_all();
  }

  void take_tasks() {
    const Job job = job_;
    try {
      for (std::int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < job.tasks;)
        job.call(job.body, task);
    } catch (...) {
      next_.store(job.tasks, std::memory_order_relaxed);
      if (!failed_.test_and_set(std::memory_order_relaxed)) error_ = std::current_exception();
    }
  }

  void work() {
    for (std::uint32_t seen = 0;;) {
      for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
        if (spin < spins_before_sleep) {
          pause_or_yield(spin);
          continue;
        }
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        generation_.wait(seen, std::memory_order_seq_cst);
        sleeping_.fetch_sub(1, std::memory_order_seq_cst);
      }
      ++seen;
      if (job_.call == nullptr) return;
      take_tasks();
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  Job job_;
  std::exception_ptr error_;  // of the thread that set `failed_`
  std::atomic_flag failed_;
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<int> sleeping_{0};
};

}  // namespace ivl
