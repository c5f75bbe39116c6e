// What the emulator's parts know of each other: threads, warps, blocks, the scheduler and the race checker.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simt/emulator/core.hpp"
#include "tests/simt/emulator/fiber.hpp"

namespace simt {

struct Block;
struct Warp;

struct Copy {
  void* shared;
  const void* global;
  int bytes, source_bytes;
  Site at;
};

/// How far each thread of a block had come, in the race checker's count.
using Clocks = std::vector<std::uint32_t>;

/// What is seen of another block: all before its `epoch`, which barriers count, and in it what `clocks` tell.
struct Seen {
  std::uint32_t epoch = 0;
  Clocks clocks;
};
using Knowledge = std::map<unsigned, Seen>;  // by the block's number in the grid

/// What a thread knows of other blocks through device memory, and what waits for a fence.
struct Ordering {
  Knowledge acquired, before_fence, wants_fence;
};

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  Warp* warp = nullptr;
  uint3 index{};
  int number = 0;  // in the block
  int place = 0;   // among all that run at once
  int lane = 0;
  bool finished = false;
  const char* waits_in = nullptr;  // null: runnable
  Site waits_at;
  std::vector<Copy> uncommitted;            // cp.async
  std::deque<std::vector<Copy>> committed;  // groups, oldest first
  std::unique_ptr<Ordering> ordering;       // null: it knows what its block knows
  struct {
    std::uint32_t epoch = 0, clock = 0, number = 0;
  } stretch;  // see device_race.cpp

  std::string name() const;  // "thread (1,0,0) of block (0,0,0)"
};

/// One warp-wide operation that waits for its lanes.
struct Round {
  unsigned mask = 0, arrived = 0;
  const char* name = nullptr;
  Site sites[32];
  void* arguments[32];
};

struct Warp {
  Thread* lanes[32] = {};
  unsigned live = 0;          // lanes that are there and have not exited
  std::vector<Round> rounds;  // several at once when masks are disjoint
};

/// What threads that come to a barrier hand to those that leave it.
struct Released {
  Clocks clocks;
  Knowledge known;
};

struct Barrier {
  int expected = 0, arrived = 0;
  std::vector<Thread*> waiting, came;
  Released released;
};

class SharedWindow;  // shared_memory.cpp
class Shadow;        // race.cpp

struct Block {
  uint3 index{};
  unsigned number = 0;  // in the grid
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[16];  // 0 is __syncthreads
  int votes = 0;         // of the __syncthreads_or and its kind under way
  int vote_result = 0;
  SharedWindow* window = nullptr;
  Shadow* shadow = nullptr;
  Knowledge known;                 // of other blocks, by all threads
  std::vector<Thread*> acquirers;  // who knows more, until the next barrier
};

// ---- scheduler.cpp --------------------------------------------------------------------------------
extern Thread* current;  // null on the host
extern Shape shape;      // of the running grid
/// Stops the running thread until somebody calls wake().
void wait(const char* in, Site at);
void wake(Thread* thread);
/// In the order that suits options().order, so that who waited is woken in it.
void wake_all(std::vector<Thread*>& threads);
/// As the other report, where `what` says the place itself.
[[noreturn]] void report(Bug bug, const std::string& what);

uint3 index_of(unsigned number, dim3 extent);
/// Ends the grid, as __trap does.
[[noreturn]] void trap();

// ---- report.cpp -----------------------------------------------------------------------------------
std::string text_of(Site at);
std::string text_of(uint3 index);
/// Where an access is in the source: an instruction's address less the program's, or a Site of the emulator's callers.
using Place = std::uint64_t;
Place place_of(Site at);
std::string text_of_place(Place place);
/// The symbol of the function that begins here.
std::string function_at(const void* code);

// ---- warp.cpp -------------------------------------------------------------------------------------
/// Where all lanes must be: `.aligned` instructions want the very same instruction, the others the same operation.
enum class Together { same_operation, same_line };
/// Waits until every lane of `mask` came with the same operation; the last to come runs `execute` for all.
void collective(unsigned mask, const char* name, Together together, void* argument, void (*execute)(Round&), Site at);

// ---- shared_memory.cpp ----------------------------------------------------------------------------
inline constexpr int window_bytes = 256 * 1024;
inline constexpr int reserved_bytes = 1024;  // hardware keeps the first KiB for itself
SharedWindow* window_number(int index);
void reset(SharedWindow& window, int dynamic_bytes);
unsigned char* base_of(const SharedWindow& window);
/// Reports another block's shared memory, and what the address sanitizer calls poisoned.
void check_addressable(const volatile void* address, int bytes, Site at);

// ---- race.cpp -------------------------------------------------------------------------------------
Shadow* shadow_number(int index);
void reset(Shadow& shadow, unsigned char* window_base, int threads);
/// Accesses of instrumented code are looked up in this shadow from now on; null: in none.
void watch(Shadow* shadow);
/// As check_access, of one that was seen before.
void check_again(const volatile void* address, int bytes, Access access, Site at);
// What orders accesses. All do nothing where races are not checked.
void order_all(Block& block);
void release_to(Released& released, const Thread& thread);
void acquire_from(const Released& released, Thread& thread);
void release_to(Clocks& clocks, const Thread& thread);
/// When a thread made an access, and whether `now` comes after one of the same block.
struct Moment {
  std::uint32_t epoch, clock;
  int thread;
};
Moment moment_of(const Thread& thread);
bool comes_after(Moment before, const Thread& now);
void copy_issued(const Copy& copy);
void copy_landed(const Copy& copy);

// ---- counters.cpp: called where counting is on -------------------------------------------------------
void count_launch(std::int64_t blocks);
/// Of the running thread.
void count_access(const volatile void* address, int bytes, bool shared, Place place);
/// What the warp's lanes did since they met last is complete.
void count_meeting(const Warp& warp);
void count_exchange(const char* name);
void count_barrier(Block& block);

// ---- device_race.cpp ------------------------------------------------------------------------------
/// Up to which work of each stream, by its number.
using StreamClock = std::map<int, std::int64_t>;
/// What is done from now on is work of this stream, after what it knows.
void begin_work(int stream, std::int64_t number, const StreamClock& known);
/// All later work comes after these.
void host_waited(const StreamClock& known);
/// By a copy or a fill.
void read_by_stream(const void* address, std::size_t bytes);
void written_by_stream(void* address, std::size_t bytes);
/// Device memory, where it is watched; null if there is none.
void* allocate_watched(std::size_t bytes);
void free_watched(void* memory, std::size_t bytes);
/// Of device memory that is watched: all of it is one range of addresses.
extern std::uintptr_t device_base, device_bytes;
void device_access(std::uintptr_t offset, int bytes, Access access, Place place);
/// All accesses so far come before all later ones: a barrier of the grid.
void order_grid();
/// A barrier of the block: all its threads know what one of them knew.
void share_knowledge(Block& block);
void add_knowledge(Thread& thread, const Knowledge& more);
const Knowledge* extra_knowledge(const Thread& thread);
void merge(Knowledge& known, const Knowledge& more);
/// Accesses that order others: a release, an acquire, one that does so only together with fences, and a fence.
void publish(const void* address, bool replaces);
void obtain(const void* address);
void touch_relaxed(const void* address);
void fence();

}  // namespace simt
