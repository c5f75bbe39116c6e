// The emulator's surface: what tests set and catch, and what the CUDA built-ins and the twins of prim/ call.
//
// Everything behind it is compiled once, without instrumentation, and serves all three builds of the kernels. One grid
// runs at a time, in one OS thread; more at once is more processes.
#pragma once
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>

#include "tests/simt/emulator/types.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SIMT_KEEPS_LAUNCH_BOUNDS 1  // see built_ins.hpp
#endif

namespace simt {

using Site = std::source_location;

// ---- for tests ------------------------------------------------------------------------------------
/// In which order runnable threads get their turn, and blocks theirs.
enum class Order {
  fair,     // first come, first served, ascending
  greedy,   // who was woken last runs first: one warp gets as far ahead as barriers let it
  reverse,  // as fair, descending
  random,   // by the seed
};
inline constexpr Order all_orders[] = {Order::fair, Order::greedy, Order::reverse, Order::random};
const char* name_of(Order order);

struct Options {
  Order order = Order::fair;
  std::uint64_t seed = 1;
  int spin_limit = 1000;    // polls per live thread in which nothing else happened
  int stuck_ms = 20000;     // of CPU time in which no thread reached a barrier
  int resident_blocks = 8;  // in random order so many blocks run at once
};
Options& options();

/// What an `Error` reports.
enum class Bug {
  deadlock,       // all threads wait, or those that could come have exited
  divergence,     // threads that must be together are at different places or in different operations
  livelock,       // all live threads poll for something that never comes
  stuck,          // a thread runs on without ever reaching a barrier
  barrier_count,  // threads disagree on a barrier's count, or it is not whole warps
  bad_lane,       // a lane outside a mask, or one that does not exist
  launch_limit,   // more threads, shared memory or blocks than the hardware has
  race,           // two accesses to shared or device memory that nothing orders, one of them a write
  uninitialised,  // shared memory read before anything was written there
  async_copy,     // an asynchronous copy not waited for
  stream,         // work of a stream on what another one writes, without a wait; work on the default stream
  memory,         // an address outside every object (what the sanitizer knows), or another block's shared memory
  misaligned,
};

/// Thrown from the launch. The message names thread, block and source line.
struct Error : std::runtime_error {
  Error(Bug bug, const std::string& what) : std::runtime_error(what), bug(bug) {}
  Bug bug;
};

/// Counted since the process started.
struct Stats {
  std::int64_t launches = 0, blocks = 0, switches = 0;
  std::int64_t device_allocations = 0, waits = 0, graph_launches = 0;  // what host code asked for
  std::int64_t ldmatrix_calls = 0, bank_conflicts = 0;  // extra passes over the banks that ldmatrix needs
};
Stats& stats();

/// What warps of a kernel did, in all of its launches while `counting` was on. Accesses are counted in the race
/// checker's build: those of one instruction that the lanes of a warp make between two meetings are one.
struct Counts {
  std::int64_t launches = 0, blocks = 0;
  std::int64_t matrix_products = 0, matrix_loads = 0;        // mma.sync and ldmatrix
  std::int64_t exchanges = 0, barriers = 0;                  // shuffles, votes, __syncwarp; __syncthreads of a warp
  std::int64_t shared_accesses = 0, extra_passes = 0;        // more passes over the banks than the bytes need
  std::int64_t device_accesses = 0, sectors = 0, least = 0;  // of 32 bytes; how many would hold the bytes
};
/// At first what the environment's IVL_SIMT_COUNTS says, which also prints the table at the end of the program.
bool& counting();
Counts counts_of(const void* kernel);
/// A line a kernel, by name.
std::string table_of_counts();

/// Whether the kernels were compiled for the race checker, and whether the address sanitizer is there.
bool checks_races();
bool checks_addresses();
void poison_for_sanitizer(const volatile void* address, std::size_t bytes);
void unpoison_for_sanitizer(const volatile void* address, std::size_t bytes);

// ---- launch ---------------------------------------------------------------------------------------
struct Shape {
  dim3 grid, block;
  int dynamic_shared_bytes = 0;
  bool cooperative = false;
  const void* kernel = nullptr;
};
inline constexpr int max_threads_per_block = 1024;
inline constexpr int max_shared_bytes = 227 * 1024;
inline constexpr int max_static_shared_bytes = 48 * 1024;

/// Calls thread_body(arguments) once a CUDA thread. False: one of them called trap.
bool run_grid(const Shape& shape, void (*thread_body)(void* arguments), void* arguments);

/// Reports a bug of the running thread, or of the launch.
[[noreturn]] void report(Bug bug, const std::string& what, Site at);

// ---- shared memory --------------------------------------------------------------------------------
unsigned char* dynamic_shared();
/// The block's object for this declaration; the first thread to come here makes it.
void* static_shared(const void* declaration, int bytes, int alignment, Site at);
/// Offset in the shared window, as hardware counts it; reports an address that is not shared memory.
std::uint32_t shared_offset(const void* address, int bytes, Site at);

/// What a kernel reads past all caches that writes go through: reports what the same grid has written. Only the race
/// checker knows that.
void check_read_only(const void* address, int bytes, Site at);

/// The emulator's own accesses on behalf of the running thread, as the sanitizer and the race checker would see them.
enum class Access { read, write, atomic, atomic_read };
void check_access(const volatile void* address, int bytes, Access access, Site at);

// ---- block and grid -------------------------------------------------------------------------------
void block_barrier(const char* name, Site at);
enum class Vote { all, any, count };
int block_vote(bool predicate, Vote vote, const char* name, Site at);
enum class Arrival { wait, go_on };
void named_barrier(int id, int threads, Arrival arrival, Site at);
void grid_barrier(Site at);
/// Lets other threads run, for loops that wait. Many in a row in which nothing else happens are a livelock.
void poll(Site at);
/// Something that a poll may wait for.
void made_progress();
/// Where a kernel publishes something: in random order the rest of its block is held back until no other block can run,
/// so that one which relies on what is yet to be written is seen.
void give_way();

// ---- warp -----------------------------------------------------------------------------------------
enum class Shuffle { indexed, up, down, exclusive_or };
std::uint64_t shuffle(unsigned mask, std::uint64_t value, Shuffle kind, int operand, int width, Site at);
unsigned ballot(unsigned mask, bool predicate, const char* name, Site at);
enum class Reduce { add, min, max, bit_and, bit_or, bit_xor, signed_min, signed_max };
unsigned reduce(unsigned mask, unsigned value, Reduce kind, Site at);
void warp_barrier(unsigned mask, Site at);

// ---- atomics: sequential, in the order in which threads come --------------------------------------
enum class Atomic { add, min, max, exchange, bit_and, bit_or };
template <class T>
T atomic(T* address, T operand, Atomic kind, Site at);  // int, unsigned, unsigned long long, float, double
template <class T>
T compare_and_swap(T* address, T expected, T desired, Site at);  // int, unsigned, unsigned long long

// ---- what orders accesses to device memory --------------------------------------------------------
unsigned load_acquire(const unsigned* global, Site at);  // lets other threads run
void store_release(unsigned* global, unsigned value, Site at);
unsigned add_release(unsigned* global, unsigned value, Site at);
unsigned add_acquire_release(unsigned* global, unsigned value, Site at);
void fence();
/// Ends the grid with an error of the device.
[[noreturn]] void trap();

// ---- cp.async -------------------------------------------------------------------------------------
/// `bytes` go to shared memory, of which the first `source_bytes` come from `global` and the rest are zero.
void copy_async(void* shared, const void* global, int bytes, int source_bytes, Site at);
void commit_copies(Site at);
void wait_copies(int groups_left, Site at);  // all but the last `groups_left` groups
void wait_all_copies(Site at);

// ---- matrix ---------------------------------------------------------------------------------------
void load_matrices(std::uint32_t* fragment, int matrices, bool transposed, const void* row, Site at);
enum class Operands { bf16, f16, s8 };
/// accumulator += a * b; float[4] for bf16 and f16 (m16n8k16), int[4] for s8 (m16n8k32).
void multiply_matrices(Operands operands, void* accumulator, const std::uint32_t* a, const std::uint32_t* b, Site at);

}  // namespace simt
