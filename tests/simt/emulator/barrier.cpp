// Barriers of a block, named barriers, and the barrier of a cooperative grid.
#include <cstring>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

// All lanes of a warp must arrive through one instruction (`barrier.sync.aligned`); different warps may use different
// ones.
void check_same_instruction(const Barrier& barrier, const char* name, Site at) {
  for (const Thread* other : barrier.waiting) {
    if (other->warp != current->warp) continue;
    const Site there = other->waits_at;
    if (there.line() == at.line() && there.column() == at.column() && !std::strcmp(there.file_name(), at.file_name()))
      return;
    report(Bug::divergence,
           std::string(name) + " here, but " + other->name() + " of the same warp is in " + other->waits_in + " at " +
               text_of(there),
           at);
  }
}

void release(Barrier& barrier) {
  barrier.arrived = 0;
  barrier.came.clear();
  barrier.released = {};
  std::vector<Thread*> waiting = std::move(barrier.waiting);
  barrier.waiting.clear();
  wake_all(waiting);
}

}  // namespace

void block_barrier(const char* name, Site at) {
  Block& block = *current->block;
  Barrier& barrier = block.barriers[0];
  check_same_instruction(barrier, name, at);
  if (++barrier.arrived < int(block.threads.size())) {
    barrier.waiting.push_back(current);
    wait(name, at);
    return;
  }
  order_all(block);
  if (counting()) count_barrier(block);
  release(barrier);
}

int block_vote(bool predicate, Vote vote, const char* name, Site at) {
  Block& block = *current->block;
  if (predicate) ++block.votes;
  if (block.barriers[0].arrived + 1 == int(block.threads.size())) {
    block.vote_result = block.votes;
    block.votes = 0;
  }
  block_barrier(name, at);
  // The next vote's last thread cannot come before this one has read: it waits for it.
  switch (vote) {
    case Vote::all:
      return block.vote_result == int(block.threads.size());
    case Vote::any:
      return block.vote_result > 0;
    case Vote::count:
      break;
  }
  return block.vote_result;
}

void named_barrier(int id, int threads, Arrival arrival, Site at) {
  const bool waits = arrival == Arrival::wait;
  const char* name = waits ? "a named barrier" : "a named barrier's arrival";
  Block& block = *current->block;
  if (id < 1 || id > 15)
    report(Bug::barrier_count, "named barrier " + std::to_string(id) + ", expected 1 to 15 (0 is __syncthreads)", at);
  if (threads < 32 || threads % 32 != 0 || threads > int(block.threads.size() + 31) / 32 * 32) {
    report(Bug::barrier_count,
           "named barrier " + std::to_string(id) + " for " + std::to_string(threads) +
               " threads, expected whole warps and no more than the block's " + std::to_string(block.threads.size()),
           at);
  }
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived > 0 && barrier.expected != threads) {
    report(Bug::barrier_count,
           "named barrier " + std::to_string(id) + " for " + std::to_string(threads) + " threads here, for " +
               std::to_string(barrier.expected) + " where " + barrier.came.front()->name() + " arrived",
           at);
  }
  for (const Thread* other : barrier.came) {
    if (other == current)
      report(Bug::barrier_count, "arrives twice at named barrier " + std::to_string(id) + " in one round", at);
  }
  check_same_instruction(barrier, name, at);
  barrier.expected = threads;
  barrier.came.push_back(current);
  release_to(barrier.released, *current);
  if (++barrier.arrived == threads) {
    if (waits) acquire_from(barrier.released, *current);
    for (Thread* other : barrier.waiting) acquire_from(barrier.released, *other);
    release(barrier);
  } else if (waits) {
    barrier.waiting.push_back(current);
    wait(name, at);
  }
}

void grid_barrier(Site at) {
  static std::vector<Thread*> waiting;
  static std::int64_t launch = 0;
  if (!shape.cooperative) report(Bug::launch_limit, "grid_sync in a kernel that was not launched as cooperative", at);
  if (launch != stats().launches) waiting.clear();  // of a launch that ended in an error
  launch = stats().launches;
  const std::int64_t all =
      std::int64_t(shape.grid.x) * shape.grid.y * shape.grid.z * shape.block.x * shape.block.y * shape.block.z;
  if (std::int64_t(waiting.size()) + 1 < all) {
    waiting.push_back(current);
    wait("grid_sync", at);
    return;
  }
  std::vector<Thread*> threads = std::move(waiting);
  waiting.clear();
  threads.push_back(current);
  for (Thread* thread : threads) {
    if (thread->number == 0) order_all(*thread->block);
  }
  order_grid();
  threads.pop_back();
  wake_all(threads);
}

}  // namespace simt
