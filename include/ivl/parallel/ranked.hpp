// A backend's context that is one rank of several: `Ranked<cpu::Context, ThreadRank> ctx(rank, threads)`. Ops find it
// as the backend's own; layers of a type that ranks share (parallel/shard.hpp) reduce through it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "ivl/ops/memory.hpp"
#include "ivl/ops/reduce.hpp"
#include "ivl/parallel/communicator.hpp"

namespace ivl {

template <class Base, class Ends>
class Ranked : public Base {
  static_assert(Communicator<Ends, Base>, "Ranked: see parallel/communicator.hpp for what a communicator offers");

 public:
  /// `arguments`: those of the backend's context.
  template <class... Arguments>
  explicit Ranked(Ends ends, Arguments&&... arguments)
      : Base(std::forward<Arguments>(arguments)...), ends_(std::move(ends)) {}

  int rank() const { return ends_.rank(); }
  int ranks() const { return ends_.ranks(); }
  void all_reduce_sum(float* sums, std::int64_t number) { ends_.all_reduce_sum(base(), sums, number); }
  void all_gather(const std::byte* own, std::byte* all, std::int64_t bytes) {
    ends_.all_gather(base(), own, all, bytes);
  }
  /// Grows to the largest request and stays there.
  std::byte* shared_room(std::int64_t bytes) {
    if (std::size_t(bytes) > room_.bytes) {
      room_ = {};  // freed before there is more
      room_ = allocate(base(), std::size_t(bytes));
    }
    return room_.data;
  }

 private:
  Base& base() { return *this; }

  Ends ends_;
  Memory room_;
};

}  // namespace ivl
