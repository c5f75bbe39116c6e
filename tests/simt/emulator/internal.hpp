// What the emulator's parts know of each other: threads, warps, blocks, the scheduler and the race checker.
#pragma once
#include <cstdint>
#include <deque>
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
  std::vector<Round> rounds;  // several at once when masks are disjoint
};

/// How far each thread of a block had come, in the race checker's count.
using Clocks = std::vector<std::uint32_t>;

struct Barrier {
  int expected = 0, arrived = 0;
  std::vector<Thread*> waiting, came;
  Clocks released;  // by those that came
};

class SharedWindow;  // shared_memory.cpp
class Shadow;        // race.cpp

struct Block {
  uint3 index{};
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[16];  // 0 is __syncthreads
  int votes = 0;         // of the __syncthreads_or and its kind under way
  int vote_result = 0;
  SharedWindow* window = nullptr;
  Shadow* shadow = nullptr;
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

// ---- report.cpp -----------------------------------------------------------------------------------
std::string text_of(Site at);
std::string text_of(uint3 index);

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
/// Forgets what earlier grids wrote to device memory.
void begin_grid();
/// Accesses of instrumented code are looked up in this shadow from now on; null: in none.
void watch(Shadow* shadow);
// What orders accesses. All do nothing where races are not checked.
void order_all(Block& block);
void release_to(Clocks& clocks, const Thread& thread);
void acquire_from(const Clocks& clocks, const Thread& thread);
void copy_issued(const Copy& copy);
void copy_landed(const Copy& copy);

}  // namespace simt
