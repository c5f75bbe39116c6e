// Ranks as threads of one process, for tests and for machines of several sockets. Memory is the host's.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"

namespace ivl {

class ThreadRank;

/// Where they meet.
class ThreadGroup {
 public:
  explicit ThreadGroup(int ranks) : slots_(std::size_t(ranks)) {}
  int ranks() const { return int(slots_.size()); }

  /// Calls body(ThreadRank) once for each rank, on a thread of its own, and returns when all are done. What the first
  /// one to fail has thrown is thrown; the others stop where they wait for it.
  template <class Body>
  void run(const Body& body);

 private:
  friend ThreadRank;
  /// What a rank brings to a meeting.
  struct Slot {
    const void* from = nullptr;
    void* to = nullptr;
    std::int64_t number = 0;
  };

  /// Returns when all ranks have called it. Throws if one of them never will.
  void meet();
  /// The same, and sees that all ask for as much.
  void meet_with(int rank, const Slot& slot);
  void leave(std::exception_ptr error);

  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0, gone_ = 0;
  std::uint64_t meetings_ = 0;
  std::exception_ptr failed_;
};

/// A communicator (communicator.hpp). The group must outlive it.
class ThreadRank {
 public:
  ThreadRank(ThreadGroup& group, int rank) : group_(&group), rank_(rank) {}
  int rank() const { return rank_; }
  int ranks() const { return group_->ranks(); }

  /// Each rank adds up its share of the numbers, in the order of the ranks, and writes it to all.
  template <class Context>
  void all_reduce_sum(Context&, float* sums, std::int64_t number) {
    group_->meet_with(rank_, {sums, sums, number});
    const auto& slots = group_->slots_;
    for (std::int64_t i = number * rank_ / ranks(); i < number * (rank_ + 1) / ranks(); ++i) {
      float sum = static_cast<const float*>(slots[0].from)[i];
      for (std::size_t other = 1; other < slots.size(); ++other) sum += static_cast<const float*>(slots[other].from)[i];
      for (const auto& slot : slots) static_cast<float*>(slot.to)[i] = sum;
    }
    group_->meet();
  }

  template <class Context>
  void all_gather(Context&, const std::byte* own, std::byte* all, std::int64_t bytes) {
    group_->meet_with(rank_, {own, all, bytes});
    for (const auto& slot : group_->slots_) {
      if (bytes > 0) std::memcpy(all, slot.from, std::size_t(bytes));
      all += bytes;
    }
    group_->meet();
  }

 private:
  ThreadGroup* group_;
  int rank_;
};

template <class Body>
void ThreadGroup::run(const Body& body) {
  failed_ = nullptr;
  waiting_ = gone_ = 0;
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks(); ++rank) {
      threads.emplace_back([this, &body, rank] {
        std::exception_ptr error;
        try {
          body(ThreadRank(*this, rank));
        } catch (...) {
          error = std::current_exception();
        }
        leave(std::move(error));
      });
    }
  }
  if (failed_) std::rethrow_exception(failed_);
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/parallel/threads.ipp"
#endif
