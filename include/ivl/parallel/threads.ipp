// The bodies of threads.hpp.
#pragma once
#include <exception>
#include <mutex>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/parallel/threads.hpp"

namespace ivl {

IVL_INLINE void ThreadGroup::meet() {
  std::unique_lock lock(mutex_);
  const auto meeting = meetings_;
  if (++waiting_ == ranks()) {
    waiting_ = 0;
    ++meetings_;
    changed_.notify_all();
  } else {
    changed_.wait(lock, [&] { return meetings_ != meeting || gone_ > 0; });
    if (meetings_ == meeting) fail<Error>("ranks: one has ended, and others wait for it");
  }
}

IVL_INLINE void ThreadGroup::meet_with(int rank, const Slot& slot) {
  slots_[std::size_t(rank)] = slot;
  meet();
  for (const Slot& other : slots_) {
    if (other.number != slot.number)
      fail<Error>("ranks: expected all to bring ", slot.number, ", as rank ", rank, " does, found ", other.number);
  }
}

IVL_INLINE void ThreadGroup::leave(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (error && !failed_) failed_ = std::move(error);
  ++gone_;
  changed_.notify_all();
}

}  // namespace ivl
