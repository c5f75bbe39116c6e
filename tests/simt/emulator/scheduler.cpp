// Runs a grid: makes the fibers, gives threads their turn in the order asked for, and notices when none can run, when
// all only poll, and when one runs on for ever.
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <random>
#include <utility>

#include "tests/simt/emulator/internal.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {

Thread* current = nullptr;
Shape shape;

namespace {

Fiber host;
std::deque<Thread*> runnable;
std::deque<Thread*> held;  // run when no other can, a block at a time: the one that was held last comes first
std::deque<Block> blocks;
int live = 0;
int polls = 0;
std::mt19937_64 dice;
void (*thread_body)(void*);
void* thread_arguments;
bool has_error = false;
Bug error_bug;
std::string error_text;
bool trapped = false;

void set_built_ins(const Thread& thread) {
  if (current == nullptr || current->block != thread.block) watch(thread.block->shadow);
  threadIdx = thread.index;
  blockIdx = thread.block->index;
}

/// Moves the threads of a block from one queue to the front of another.
void move_threads(const Block* block, std::deque<Thread*>& from, std::deque<Thread*>& to) {
  const auto others =
      std::stable_partition(from.begin(), from.end(), [&](const Thread* thread) { return thread->block != block; });
  to.insert(to.begin(), others, from.end());
  from.erase(others, from.end());
}

Thread* next_thread() {
  if (runnable.empty() && !held.empty()) move_threads(held.front()->block, held, runnable);
  if (runnable.empty()) return nullptr;
  if (options().order == Order::random) std::swap(runnable.front(), runnable[dice() % runnable.size()]);
  Thread* thread = runnable.front();
  runnable.pop_front();
  return thread;
}

/// Who waits where, grouped: few lines also for a thousand threads.
std::string all_waiting() {
  struct Group {
    const Thread* first;
    int number;
  };
  std::vector<Group> groups;
  int exited = 0;
  for (const Block& block : blocks) {
    for (const Thread& thread : block.threads) {
      if (thread.finished) {
        ++exited;
        continue;
      }
      const auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
        return group.first->waits_in == thread.waits_in && text_of(group.first->waits_at) == text_of(thread.waits_at);
      });
      if (same == groups.end()) {
        groups.push_back({&thread, 1});
      } else {
        ++same->number;
      }
    }
  }
  std::string text;
  for (const Group& group : groups) {
    text += "\n  " + std::to_string(group.number) + " in " + group.first->waits_in + " at " +
            text_of(group.first->waits_at) + ", first " + group.first->name();
  }
  if (exited > 0) text += "\n  " + std::to_string(exited) + " have exited";
  return text;
}

void run_on(Leaving leaving) {
  Thread* from = current;
  Thread* to = next_thread();
  if (to == from) return;
  ++stats().switches;
  if (to == nullptr) {
    if (live > 0) {
      has_error = true;
      error_bug = Bug::deadlock;
      error_text = "deadlock: " + std::to_string(live) + " threads wait and none can run" + all_waiting();
    }
    current = nullptr;
    switch_fiber(from->fiber, host, leaving);
  } else {
    set_built_ins(*to);
    current = to;
    switch_fiber(from->fiber, to->fiber, leaving);
  }
}

void fiber_body() {
  entered_first_time();
  thread_body(thread_arguments);
  Thread& thread = *current;
  thread.committed.push_back(thread.uncommitted);
  for (const std::vector<Copy>& group : thread.committed) {  // the last ones of a pipeline are often empty
    if (!group.empty()) report(Bug::async_copy, "exits with a cp.async that was never waited for", group.front().at);
  }
  thread.finished = true;
  if (counting() && (thread.warp->live & (thread.warp->live - 1)) == 0) count_meeting(*thread.warp);
  thread.warp->live &= ~(1u << thread.lane);
  --live;
  polls = 0;
  run_on(Leaving::for_good);
}

// A thread that loops without ever calling the emulator is interrupted by a CPU-time alarm.
std::int64_t switches_at_last_alarm = -1;

void alarm_rang(int) {
  if (current == nullptr) return;
  if (stats().switches == switches_at_last_alarm) {
    report(Bug::stuck, "runs on without reaching a barrier, last seen at " + text_of(current->waits_at) +
                           " (a loop that waits must poll through prim::load_acquire)");
  }
  switches_at_last_alarm = stats().switches;
}

/// Arms the alarm for as long as it lives.
class Alarm {
 public:
  Alarm() {
    struct sigaction action = {};
    action.sa_handler = alarm_rang;
    action.sa_flags = SA_NODEFER | SA_RESTART;  // the handler may leave for another fiber and never return
    sigaction(SIGVTALRM, &action, &old_action_);
    switches_at_last_alarm = -1;
    set(options().stuck_ms);
  }
  ~Alarm() {
    set(0);
    sigaction(SIGVTALRM, &old_action_, nullptr);
  }

 private:
  static void set(int ms) {
    const timeval time = {ms / 1000, ms % 1000 * 1000};
    const itimerval timer = {time, time};
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);
  }
  struct sigaction old_action_ = {};
};

void make_block(Block& block, unsigned number, int place, int block_threads) {
  block.index = index_of(number, shape.grid);
  block.number = number;
  block.threads = std::vector<Thread>(std::size_t(block_threads));
  block.warps = std::vector<Warp>(std::size_t(block_threads + 31) / 32);
  block.window = window_number(place);
  reset(*block.window, shape.dynamic_shared_bytes);
  block.shadow = nullptr;
  if (checks_races()) {
    block.shadow = shadow_number(place);
    reset(*block.shadow, base_of(*block.window), block_threads);
  }
  for (int t = 0; t < block_threads; ++t) {
    Thread& thread = block.threads[std::size_t(t)];
    thread.block = &block;
    thread.number = t;
    thread.lane = t % 32;
    thread.index = index_of(unsigned(t), shape.block);
    thread.warp = &block.warps[std::size_t(t / 32)];
    thread.warp->lanes[thread.lane] = &thread;
    thread.warp->live |= 1u << thread.lane;
    thread.place = place * block_threads + t;
    prepare(thread.fiber, thread.place, fiber_body);
  }
  ++stats().blocks;
}

void run_blocks(const std::vector<unsigned>& numbers, int block_threads) {
  blocks.clear();
  runnable.clear();
  held.clear();
  blocks.resize(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) make_block(blocks[i], numbers[i], int(i), block_threads);
  std::vector<Thread*> all;
  for (Block& block : blocks) {
    for (Thread& thread : block.threads) all.push_back(&thread);
  }
  live = int(all.size());
  polls = 0;
  wake_all(all);

  Thread* first = next_thread();
  set_built_ins(*first);
  current = first;
  switch_fiber(host, first->fiber);
  current = nullptr;
  watch(nullptr);
  if (has_error) {
    has_error = false;
    const std::string text = std::move(error_text);
    error_text = std::string();
    throw Error(error_bug, text);
  }
}

}  // namespace

uint3 index_of(unsigned number, dim3 extent) {
  return {number % extent.x, number / extent.x % extent.y, number / extent.x / extent.y};
}

void wait(const char* in, Site at) {
  current->waits_in = in;
  current->waits_at = at;
  run_on(Leaving::for_a_while);
}

void wake(Thread* thread) {
  thread->waits_in = nullptr;
  polls = 0;
  if (options().order == Order::greedy) {
    runnable.push_front(thread);
  } else {
    runnable.push_back(thread);
  }
}

void wake_all(std::vector<Thread*>& threads) {
  // Ascending or descending by place, not by when they came; greedy takes the last pushed first.
  const bool descending = options().order == Order::reverse || options().order == Order::greedy;
  const auto comes_first = [&](const Thread* a, const Thread* b) {
    return descending ? b->place < a->place : a->place < b->place;
  };
  // Mostly they came in one order or the other.
  if (descending && threads.size() > 1 && threads[0]->place < threads[1]->place)
    std::reverse(threads.begin(), threads.end());
  if (!std::is_sorted(threads.begin(), threads.end(), comes_first))
    std::sort(threads.begin(), threads.end(), comes_first);
  for (Thread* thread : threads) wake(thread);
  threads.clear();
}

void made_progress() { polls = 0; }

void give_way() {
  if (options().order != Order::random) return;
  move_threads(current->block, runnable, held);
  held.push_front(current);
  run_on(Leaving::for_a_while);
}

void poll(Site at) {
  if (++polls > options().spin_limit * live) {
    report(Bug::livelock,
           "polls for something that never comes: all " + std::to_string(live) + " live threads poll or wait", at);
  }
  current->waits_at = at;
  // Behind all others, in every order.
  (options().order == Order::random ? held : runnable).push_back(current);
  run_on(Leaving::for_a_while);
}

void report(Bug bug, const std::string& what, Site at) { report(bug, "at " + text_of(at) + ": " + what); }

void report(Bug bug, const std::string& what) {
  if (current == nullptr) throw Error(bug, what);
  error_bug = bug;
  error_text = current->name() + " " + what;
  has_error = true;
  Thread* from = current;
  current = nullptr;
  switch_fiber(from->fiber, host, Leaving::for_good);
  __builtin_unreachable();
}

void trap() {
  trapped = true;
  Thread* from = current;
  current = nullptr;
  switch_fiber(from->fiber, host, Leaving::for_good);
  __builtin_unreachable();
}

bool run_grid(const Shape& grid_shape, void (*body)(void*), void* arguments) {
  if (current != nullptr) report(Bug::launch_limit, "launches a kernel from a kernel");
  shape = grid_shape;
  blockDim = shape.block;
  gridDim = shape.grid;
  thread_body = body;
  thread_arguments = arguments;
  const std::int64_t block_threads = std::int64_t(shape.block.x) * shape.block.y * shape.block.z;
  const std::int64_t grid_blocks = std::int64_t(shape.grid.x) * shape.grid.y * shape.grid.z;
  const auto limit = [](bool ok, const std::string& what) {
    if (!ok) throw Error(Bug::launch_limit, "launch: " + what);
  };
  limit(block_threads >= 1 && block_threads <= max_threads_per_block && shape.block.z <= 64,
        std::to_string(block_threads) + " threads per block, expected 1 to " + std::to_string(max_threads_per_block));
  limit(grid_blocks >= 1 && shape.grid.x <= 0x7fffffffu && shape.grid.y <= 65535 && shape.grid.z <= 65535,
        "a grid of " + text_of(uint3{shape.grid.x, shape.grid.y, shape.grid.z}) + " blocks");
  limit(!shape.cooperative || grid_blocks * block_threads <= 32768,
        "a cooperative grid of " + std::to_string(grid_blocks * block_threads) + " threads; the emulator has 32768");

  ++stats().launches;
  if (counting()) count_launch(grid_blocks);
  dice.seed(options().seed);
  std::vector<unsigned> numbers(static_cast<std::size_t>(grid_blocks));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = unsigned(i);
  const Alarm alarm;
  if (shape.cooperative) {
    run_blocks(numbers, int(block_threads));
    return !std::exchange(trapped, false);
  }
  if (options().order == Order::reverse) std::reverse(numbers.begin(), numbers.end());
  if (options().order == Order::random) std::shuffle(numbers.begin(), numbers.end(), dice);
  // Blocks one by one, or in random order some at once.
  const std::size_t together =
      options().order == Order::random ? std::size_t(std::clamp(options().resident_blocks, 1, 32)) : 1;
  for (std::size_t first = 0; first < numbers.size() && !trapped; first += together) {
    const auto begin = numbers.begin() + std::ptrdiff_t(first);
    run_blocks({begin, begin + std::ptrdiff_t(std::min(together, numbers.size() - first))}, int(block_threads));
  }
  return !std::exchange(trapped, false);
}

}  // namespace simt
