// How many threads a run of the pool gets, from what earlier runs took. Arithmetic alone: no threads.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#if !defined(__x86_64__)
#include <chrono>
#endif

namespace ivl {

/// Time, in ticks of the CPU's time stamp counter: 2 to 4 a nanosecond, and one is read in 10 ns. Elsewhere
/// nanoseconds.
using Ticks = std::int64_t;

#if defined(__x86_64__)
inline constexpr Ticks ticks_per_us = 3000;  // within a third: for limits, not for measuring
inline Ticks now() { return Ticks(__builtin_ia32_rdtsc()); }
#else
inline constexpr Ticks ticks_per_us = 1000;
inline Ticks now() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }
#endif

class Pace {
 public:
  /// Runs of one body with one number of tasks.
  struct Kind {
    float ticks = 0;           ///< what a run takes one thread; 0: not known
    std::int32_t untimed = 0;  ///< so many runs need no clock
  };

  /// For a pool of `threads` on `cpus`. The first runs get all threads; once these have lost, never more than CPUs.
  Pace(int threads, int cpus) : width_(threads), most_(std::min(threads, cpus)) {}

  /// Kinds that meet in one place by accident share their numbers.
  Kind& kind(const void* body, std::int64_t tasks) {
    const auto key = std::uint64_t(reinterpret_cast<std::uintptr_t>(body)) + std::uint64_t(tasks);
    return kinds_[key * 0x9e3779b97f4a7c15u >> 54];
  }

  /// Threads for a run that begins now.
  int width(const Kind& kind, std::int64_t tasks, Ticks time) {
    if (width_ < most_ && time >= retry_) set_width(std::min(2 * width_, most_));
    const int most = int(std::min<std::int64_t>(width_, tasks));
    return kind.ticks == 0 ? most : std::clamp(int(std::min(kind.ticks / ticks_a_thread, 1e6f)), 1, most);
  }

  /// A run took one thread `ticks`. One that was interrupted takes many times as long and says little about the next.
  static void learn(Kind& kind, float ticks) {
    kind.ticks += kind.ticks == 0 ? ticks : (std::min(ticks, 2 * kind.ticks) - kind.ticks) / 4;
    kind.untimed = std::max(ticks, kind.ticks) < 2 * ticks_a_thread ? 7 : 0;
  }

  /// A run by `width` threads took `ticks`. It has gained if half as many threads would have needed longer. Gains are
  /// saved up to a limit, and losses beyond them halve the threads.
  void settle(const Kind& kind, int width, Ticks ticks, Ticks time) {
    balance_ = std::min(balance_ + kind.ticks / float(width / 2) - float(ticks), most_saved);
    if (balance_ >= 0) return;
    retry_ = time - Ticks(retry_factor * balance_);
    set_width(std::max(1, width_ / 2));
  }

 private:
  static constexpr float ticks_a_thread = 4 * ticks_per_us;  // less work than this is not worth a thread
  static constexpr float most_saved = 4000 * ticks_per_us;   // a time slice: a rare interruption changes nothing
  static constexpr float retry_factor = 32;                  // so trials of more threads cost 3 % at most

  void set_width(int width) {
    width_ = width;
    balance_ = 0;
  }

  int width_, most_;
  float balance_ = 0;
  Ticks retry_ = 0;
  std::array<Kind, 1024> kinds_{};
};

}  // namespace ivl
