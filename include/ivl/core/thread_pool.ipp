// The bodies of thread_pool.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>

#include "ivl/core/thread_pool.hpp"

namespace ivl {

namespace detail {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace detail

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
  const Ticks forked = ticks_now();
  const std::int64_t taken = take_tasks();
  const Ticks worked = ticks_now() - forked;
  wait(0, {std::max(worked, least_caller_spin), 0},
       [this] { return unfinished_.load(std::memory_order_seq_cst) == 0; });
  if (error_) {
    failed_.clear(std::memory_order_relaxed);  // every thread has stopped
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  if (taken == 0) return;
  const Ticks end = ticks_now();
  const float alone = float(worked) / float(taken) * float(job.tasks);
  if (Pace::learn(kind, alone)) pace_.settle(alone, width, end - begin, end);
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
    wait(seat, worker_patience, [this, seat] {
      const std::int64_t left = left_.load(std::memory_order_seq_cst);
      return left == stop || (left > 0 && seat < width_.load(std::memory_order_relaxed));
    });
    if (left_.load(std::memory_order_relaxed) == stop) return;
    take_tasks();
  }
}

/// Returns once `ready()`. Waits awake while its patience lasts, then sleeps until woken, and again.
template <class Ready>
void ThreadPool::wait(int seat, Patience patience, const Ready& ready) {
  for (std::atomic<int>& parked = parked_[std::size_t(seat)];;) {
    for (Ticks begin = ticks_now(), waited = 0; waited < patience.spin + patience.yield; waited = ticks_now() - begin) {
      if (ready()) return;
      if (waited < patience.spin)
        detail::pause();
      else
        std::this_thread::yield();
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
