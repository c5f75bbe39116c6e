// How many threads a run of the pool gets, from what earlier runs took. Arithmetic alone: no thread, no clock.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <chrono>
#endif

namespace ivl {

/// Time in ticks of the CPU's time stamp counter, which costs 10 ns to read and ticks at 2 to 4 GHz; else nanoseconds.
using Ticks = std::int64_t;

#if defined(__x86_64__)
inline constexpr Ticks ticks_per_us = 3000;  // within a third: for limits, not for measuring
inline Ticks now() { return Ticks(__builtin_ia32_rdtsc()); }
#else
inline constexpr Ticks ticks_per_us = 1000;
inline Ticks now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
#endif

class Pace {
 public:
  /// For a pool of `threads` on `cpus`. The first runs get all threads; once these have lost, never more than CPUs.
  Pace(int threads, int cpus) : width_(threads), most_(std::min(threads, cpus)) {}

  /// What a run of this body with this many tasks takes one thread; 0: not known. Kinds of runs that meet in one place
  /// by accident share an estimate.
  double& estimate(const void* body, std::int64_t tasks) {
    const std::uint64_t hash = (reinterpret_cast<std::uintptr_t>(body) + std::uint64_t(tasks)) * 0x9e3779b97f4a7c15u;
    return estimates_[hash >> 54];
  }

  /// Threads for a run that begins now.
  int width(double estimate, std::int64_t tasks, Ticks time) {
    if (width_ < most_ && time >= retry_) set_width(std::min(2 * width_, most_));
    const std::int64_t most = std::min<std::int64_t>(width_, tasks);
    return int(estimate == 0 ? most : std::clamp(std::int64_t(estimate / least_share), std::int64_t(1), most));
  }

  /// A run took one thread `ticks`. One that was interrupted takes many times as long and says nothing about the next.
  static void learn(double& estimate, double ticks) {
    estimate += estimate == 0 ? ticks : (std::min(ticks, 2 * estimate) - estimate) / 4;
  }

  /// A run by `width` threads kept the caller busy for `worked` ticks and idle for `waited`. It has gained if half as
  /// many threads would have needed longer. Gains are saved up to a limit, and losses beyond them halve the threads.
  void settle(double estimate, int width, Ticks worked, Ticks waited, Ticks time) {
    const double half = estimate / (width / 2);
    // Of `worked`, what goes beyond `half` is another program's: one thread would have lost it too.
    balance_ = std::min(balance_ + half - std::min(double(worked), half) - double(waited), most_saved);
    if (balance_ >= 0) return;
    retry_ = time - Ticks(retry_factor * balance_);
    set_width(std::max(1, width_ / 2));
  }

 private:
  static constexpr double least_share = 4 * ticks_per_us;    // work a thread, below which forking costs more
  static constexpr double most_saved = 4000 * ticks_per_us;  // a time slice: a rare interruption changes nothing
  static constexpr double retry_factor = 32;                 // so trials of more threads cost 3 % at most

  void set_width(int width) {
    width_ = width;
    balance_ = 0;
  }

  int width_, most_;
  double balance_ = 0;
  Ticks retry_ = 0;
  std::array<double, 1024> estimates_{};
};

}  // namespace ivl
