// The bodies of thread_pool.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>

#include "ivl/core/thread_pool.hpp"

namespace ivl {

IVL_INLINE ThreadPool::ThreadPool(int threads)
    : parked_(std::size_t(std::max(1, threads))), pace_(std::max(1, threads), usable_cpus()) {
  workers_.reserve(parked_.size() - 1);
  for (int seat = 1; seat < threads; ++seat) workers_.emplace_back([this, seat] { work(seat); });
}

IVL_INLINE ThreadPool::~ThreadPool() {
  left_.store(stop, std::memory_order_seq_cst);
  for (int seat = 1; seat < threads(); ++seat) wake(seat);
  for (std::thread& worker : workers_) worker.join();
}

IVL_INLINE void ThreadPool::share(const Job& job, int width, Pace::Kind& kind, Ticks begin) {
  job_ = job;
  width_.store(width, std::memory_order_relaxed);
  unfinished_.store(job.tasks, std::memory_order_relaxed);
  left_.store(job.tasks, std::memory_order_seq_cst);
  for (int seat = 1; seat < width; ++seat) wake(seat);
  const Ticks forked = now();
  const std::int64_t taken = take_tasks();
  const Ticks worked = now() - forked;
  wait(0, std::max(worked, caller_spin), [this] { return unfinished_.load(std::memory_order_seq_cst) == 0; });
  if (error_) {
    failed_.clear(std::memory_order_relaxed);  // every thread has stopped
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  if (taken == 0) return;
  const Ticks end = now();
  Pace::learn(kind, float(worked) / float(taken) * float(job.tasks));
  pace_.settle(kind, width, end - begin, end);
}

/// Does tasks until none is left; returns how many. A thread that claims none has no part in the run, so nobody waits
/// for a worker that wakes late. One that has claimed a task may read `job_`: the run does not end before that task.
IVL_INLINE std::int64_t ThreadPool::take_tasks() {
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

IVL_INLINE void ThreadPool::work(int seat) {
  for (;;) {
    wait(seat, worker_spin, [this, seat] {
      const std::int64_t left = left_.load(std::memory_order_seq_cst);
      return left == stop || (left > 0 && seat < width_.load(std::memory_order_relaxed));
    });
    if (left_.load(std::memory_order_relaxed) == stop) return;
    take_tasks();
  }
}

/// Returns once `ready()`. Spins for some ticks, then sleeps until woken, and again.
template <class Ready>
void ThreadPool::wait(int seat, Ticks spin, const Ready& ready) {
  for (std::atomic<int>& parked = parked_[std::size_t(seat)];;) {
    for (const Ticks begin = now(); now() - begin < spin;) {
      if (ready()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#else
      std::this_thread::yield();
#endif
    }
    // Either this thread sees what was written before `wake`, or `wake` sees that it sleeps.
    parked.store(1, std::memory_order_seq_cst);
    if (!ready()) parked.wait(1);
    parked.store(0, std::memory_order_relaxed);
  }
}

/// One that comes too late, from an earlier run, only makes the sleeper look again.
IVL_INLINE void ThreadPool::wake(int seat) {
  std::atomic<int>& parked = parked_[std::size_t(seat)];
  if (parked.load(std::memory_order_seq_cst) == 0) return;
  parked.store(0, std::memory_order_relaxed);
  parked.notify_one();
}

}  // namespace ivl
