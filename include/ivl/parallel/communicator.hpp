// What carries numbers between the ranks of one model.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace ivl {

/// A rank's end of it. Pointers are to the memory of `ctx`, and what is asked for comes behind what was asked of `ctx`
/// before. All ranks ask for the same, in the same order.
///   all_reduce_sum(ctx, sums, number)   sums [number] become their sum over ranks, in place: the same bits on all
///                                       ranks, and every time
///   all_gather(ctx, own, all, bytes)    all [ranks, bytes]: own [bytes] of each rank, in the order of ranks
template <class Ends, class Context>
concept Communicator = requires(Ends& ends, const Ends& read, Context& ctx, float* sums, std::int64_t number,
                                const std::byte* own, std::byte* all) {
  { read.rank() } -> std::same_as<int>;
  { read.ranks() } -> std::same_as<int>;
  ends.all_reduce_sum(ctx, sums, number);
  ends.all_gather(ctx, own, all, number);
};

}  // namespace ivl
