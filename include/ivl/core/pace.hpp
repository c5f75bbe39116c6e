// How many threads a run of the pool gets, from the times of earlier runs. Arithmetic alone: no threads.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#if !defined(__x86_64__)
#include <chrono>
#endif

namespace ivl {

/// Time, in ticks of the CPU's time stamp counter, 2 to 4 a nanosecond, which is read in 10 ns. Elsewhere nanoseconds.
using Ticks = std::int64_t;

#if defined(__x86_64__)
inline constexpr Ticks ticks_per_us = 3000;  // within a third: for limits, not for measuring
inline Ticks ticks_now() { return Ticks(__builtin_ia32_rdtsc()); }
#else
inline constexpr Ticks ticks_per_us = 1000;
inline Ticks ticks_now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}
#endif

/// Small runs are left to the caller. The others get all threads while these gain time, and fewer while they lose it.
class Pace {
 public:
  /// Runs of one body with one number of tasks.
  struct Kind {
    float ticks = 0;           ///< what a run takes one thread; unless positive, not known
    std::int32_t untimed = 0;  ///< so many runs need no clock
  };

  /// For a pool of `threads` on `cpus`. The first runs get all threads; once these have lost, never more than CPUs.
  Pace(int threads, int cpus) : most_(std::min(threads, cpus)) { set_width(threads); }

  /// Kinds that meet in one place by accident share their numbers.
  Kind& kind(const void* body, std::int64_t tasks) {
    const auto key = std::uint64_t(reinterpret_cast<std::uintptr_t>(body)) + std::uint64_t(tasks);
    return kinds_[key * 0x9e3779b97f4a7c15u >> 54];
  }

  /// Threads for a run that begins now.
  int width(const Kind& kind, std::int64_t tasks, Ticks time) {
    if (width_ < most_ && time >= retry_) set_width(std::min(2 * width_, most_));
    const int most = int(std::min<std::int64_t>(width_, tasks));
    return kind.ticks <= 0 ? most : std::clamp(int(std::min(kind.ticks / ticks_a_thread, 1e6f)), 1, most);
  }

  /// A run took one thread `ticks`; more than twice the usual counts as that. It was interrupted then, or its work has
  /// grown, and says nothing about threads: returns false.
  static bool learn(Kind& kind, float ticks) {
    const bool usual = kind.ticks <= 0 || ticks <= 2 * kind.ticks;
    if (!usual) ticks = 2 * kind.ticks;
    kind.ticks = kind.ticks <= 0 ? ticks : (kind.ticks + ticks) / 2;
    kind.untimed = std::max(ticks, kind.ticks) < 2 * ticks_a_thread ? 31 : 0;
    return usual;
  }

  /// A run that takes one thread `alone` took `width` threads `ticks`. It has gained if half as many threads would have
  /// needed a tenth longer. Gains are saved up to a limit, and losses beyond them halve the threads.
  void settle(float alone, int width, Ticks ticks, Ticks time) {
    balance_ = std::min(balance_ + 0.9f * alone / float(width / 2) - float(ticks), most_saved);
    if (balance_ >= 0) return;
    retry_ = time + Ticks(retry_factor * (credit() - balance_));
    set_width(std::max(1, width_ / 2));
  }

 private:
  // Two threads are 1.3 times as fast as one at 5 us of work, no faster at 4, and the TSC may be fast.
  static constexpr float ticks_a_thread = 2 * ticks_per_us;
  static constexpr float most_saved = 4000 * ticks_per_us;  // a time slice: a rare interruption changes nothing
  static constexpr float retry_factor = 32;                 // so trials of more threads cost 3 % at most

  /// What a trial may lose: waking a thread costs 15 us, and only the runs that follow show what it is good for.
  float credit() const { return float(50 * ticks_per_us * width_); }
  void set_width(int width) {
    width_ = width;
    balance_ = credit();
  }

  int width_, most_;
  float balance_;
  Ticks retry_ = 0;
  std::array<Kind, 1024> kinds_{};
};

}  // namespace ivl
