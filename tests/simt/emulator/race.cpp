// The race checker. Kernels compiled with -fsanitize=thread call a function at every access; these functions are ours,
// and the sanitizer's own library is not linked. Each byte of shared memory has a cell with its last writer and two
// readers. Two accesses are ordered by a barrier of the block (one count, `epoch`), or by __syncwarp and named barriers
// (clocks a thread, joined); shuffles, votes and mma order nothing, as in PTX. Atomics do not race with atomics.
//
// Nothing between a hook and `Shadow::access` may use the standard library's inline functions: the linker could pick
// their instrumented copies, and a hook would call itself.
#include <algorithm>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

bool hooks_called = false;  // by the constructors of instrumented files

struct Mark {
  std::uint32_t epoch = 0, clock = 0;
  Place place = 0;
  std::uint16_t thread = 0;
  bool atomic = false;
};

struct Cell {
  Mark write, reads[2];
  bool initialised = false, in_flight = false;
};

}  // namespace

class Shadow {
 public:
  unsigned char* base = nullptr;

  Shadow() : cells_(new Cell[window_bytes]) {}
  ~Shadow() { delete[] cells_; }
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  void reset(unsigned char* window_base, int threads) {
    base = window_base;
    threads_ = threads;
    for (int i = 0; i < used_; ++i) cells_[i] = Cell();
    used_ = 0;
    ++epoch_;
    for (std::uint32_t& clock : clocks_) clock = 1;
  }

  void access(std::uintptr_t offset, int bytes, Access kind, Place place) {
    if (int(offset) + bytes > used_) used_ = int(offset) + bytes;
    const int me = current->number;
    const Mark now{epoch_, clocks_[me], place, std::uint16_t(me),
                   kind == Access::atomic || kind == Access::atomic_read};
    for (int i = int(offset); i < int(offset) + bytes; ++i) {
      Cell& cell = cells_[i];
      if (cell.in_flight)
        complain(Bug::async_copy, i, kind, cell.write, "a cp.async to it has not been waited for; issued", place);
      if (kind != Access::write && !cell.initialised) complain_uninitialised(i, place);
      if (cell.initialised && !ordered(cell.write, now)) {
        complain(Bug::race, i, kind, cell.write, "no barrier between this and the write", place);
      }
      if (kind == Access::read || kind == Access::atomic_read) {
        // Both slots: the first reader stays while the others replace one another.
        const bool first = cell.reads[0].epoch != epoch_ || cell.reads[0].thread == me;
        cell.reads[first ? 0 : 1] = now;
      } else {
        for (const Mark& read : cell.reads) {
          if (!ordered(read, now)) complain(Bug::race, i, kind, read, "no barrier between this and the read", place);
        }
        cell.write = now;
        cell.initialised = true;
      }
    }
  }

  void set_in_flight(std::uintptr_t offset, int bytes, bool value) {
    for (int i = int(offset); i < int(offset) + bytes; ++i) {
      cells_[i].in_flight = value;
      if (!value) cells_[i].write.epoch = epoch_, cells_[i].write.clock = clocks_[current->number];
    }
  }

  void order_all() { ++epoch_; }

  Moment moment_of(int thread) const { return {epoch_, clocks_[thread], thread}; }
  bool comes_after(Moment before, int now) const {
    return before.epoch != epoch_ || before.thread == now ||
           (row_epoch_[now] == epoch_ && seen_[now][before.thread] >= before.clock);
  }

  void release_to(Clocks& clocks, int thread) {
    clocks.resize(std::size_t(threads_));
    const std::uint32_t* seen = seen_by(thread);
    for (std::size_t i = 0; i < clocks.size(); ++i) {
      if (seen[i] > clocks[i]) clocks[i] = seen[i];
    }
    clocks[std::size_t(thread)] = clocks_[thread]++;
  }

  void acquire_from(const Clocks& clocks, int thread) {
    std::uint32_t* seen = seen_by(thread);
    for (std::size_t i = 0; i < clocks.size(); ++i) {
      if (clocks[i] > seen[i]) seen[i] = clocks[i];
    }
  }

 private:
  /// What `thread` has seen of the others since the last barrier of the block.
  std::uint32_t* seen_by(int thread) {
    Clocks& row = rows_[thread];
    if (row_epoch_[thread] != epoch_) {
      row.assign(std::size_t(threads_), 0);
      seen_[thread] = row.data();
      row_epoch_[thread] = epoch_;
    }
    return seen_[thread];
  }

  bool ordered(const Mark& before, const Mark& now) const {
    return before.epoch != now.epoch || (before.atomic && now.atomic) ||
           comes_after({before.epoch, before.clock, before.thread}, now.thread);
  }

  [[noreturn]] void complain_uninitialised(int offset, Place place) {
    report(Bug::uninitialised, "reads shared byte " + std::to_string(offset - reserved_bytes) +
                                   ", where nothing was written, at " + text_of_place(place));
  }

  [[noreturn]] void complain(Bug bug, int offset, Access kind, const Mark& other, const char* why, Place place) {
    const std::string verb = kind == Access::read ? "reads" : kind == Access::write ? "writes" : "changes atomically";
    report(bug, verb + " shared byte " + std::to_string(offset - reserved_bytes) + " at " + text_of_place(place) +
                    ": " + why + " by " + current->block->threads[other.thread].name() + " at " +
                    text_of_place(other.place));
  }

  Cell* cells_;
  int used_ = 0;
  int threads_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint32_t clocks_[max_threads_per_block] = {};
  Clocks rows_[max_threads_per_block];
  std::uint32_t* seen_[max_threads_per_block] = {};  // their data
  std::uint32_t row_epoch_[max_threads_per_block] = {};
};

namespace {

Shadow* watched = nullptr;
std::uintptr_t watched_base = 0, watched_bytes = 0;

std::vector<std::unique_ptr<Shadow>>& shadows() {
  static std::vector<std::unique_ptr<Shadow>> pool;
  return pool;
}

}  // namespace

bool checks_races() { return hooks_called; }

Shadow* shadow_number(int index) {
  while (int(shadows().size()) <= index) shadows().push_back(std::make_unique<Shadow>());
  return shadows()[std::size_t(index)].get();
}

void reset(Shadow& shadow, unsigned char* window_base, int threads) { shadow.reset(window_base, threads); }

void watch(Shadow* shadow) {
  watched = shadow;
  watched_base = shadow ? reinterpret_cast<std::uintptr_t>(shadow->base) : 0;
  watched_bytes = shadow ? window_bytes : 0;
}

void order_all(Block& block) {
  if (!block.shadow) return;
  block.shadow->order_all();
  share_knowledge(block);
}

void release_to(Clocks& clocks, const Thread& thread) { thread.block->shadow->release_to(clocks, thread.number); }

void release_to(Released& released, const Thread& thread) {
  if (!thread.block->shadow) return;
  release_to(released.clocks, thread);
  if (const Knowledge* extra = extra_knowledge(thread)) merge(released.known, *extra);
}

void acquire_from(const Released& released, Thread& thread) {
  if (!thread.block->shadow) return;
  thread.block->shadow->acquire_from(released.clocks, thread.number);
  if (!released.known.empty()) add_knowledge(thread, released.known);
}

Moment moment_of(const Thread& thread) { return thread.block->shadow->moment_of(thread.number); }
bool comes_after(Moment before, const Thread& now) { return now.block->shadow->comes_after(before, now.number); }

void copy_issued(const Copy& copy) {
  if (watched) watched->set_in_flight(reinterpret_cast<std::uintptr_t>(copy.shared) - watched_base, copy.bytes, true);
}

void copy_landed(const Copy& copy) {
  if (watched) watched->set_in_flight(reinterpret_cast<std::uintptr_t>(copy.shared) - watched_base, copy.bytes, false);
}

void check_access(const volatile void* address, int bytes, Access access, Site at) {
  check_again(address, bytes, access, at);
  const bool shared = reinterpret_cast<std::uintptr_t>(address) - watched_base < watched_bytes;
  if (watched != nullptr && counting()) count_access(address, bytes, shared, place_of(at));
}

void check_again(const volatile void* address, int bytes, Access access, Site at) {
  check_addressable(address, bytes, at);
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - watched_base;
  if (offset < watched_bytes) watched->access(offset, bytes, access, place_of(at));
  const auto device_offset = reinterpret_cast<std::uintptr_t>(address) - device_base;
  if (device_offset < device_bytes) device_access(device_offset, bytes, access, place_of(at));
}

}  // namespace simt

// ---- hooks ----------------------------------------------------------------------------------------
namespace {

inline void hook(const void* address, int bytes, simt::Access access, void* from) {
  const auto place = reinterpret_cast<std::uintptr_t>(from);
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - simt::watched_base;
  const auto device_offset = reinterpret_cast<std::uintptr_t>(address) - simt::device_base;
  const bool shared = offset < simt::watched_bytes;
  if (shared) {
    simt::watched->access(offset, bytes, access, place);
  } else if (device_offset < simt::device_bytes && simt::current != nullptr) {
    simt::device_access(device_offset, bytes, access, place);
  } else {
    return;
  }
  if (simt::counting()) simt::count_access(address, bytes, shared, place);
}

}  // namespace

extern "C" {
void __tsan_init() { simt::hooks_called = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* p, unsigned long bytes) {
  hook(p, int(bytes), simt::Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* p, unsigned long bytes) {
  hook(p, int(bytes), simt::Access::write, __builtin_return_address(0));
}

#define SIMT_HOOKS(bytes)                                                                                         \
  void __tsan_read##bytes(void* p) { hook(p, bytes, simt::Access::read, __builtin_return_address(0)); }           \
  void __tsan_write##bytes(void* p) { hook(p, bytes, simt::Access::write, __builtin_return_address(0)); }         \
  void __tsan_unaligned_read##bytes(void* p) { hook(p, bytes, simt::Access::read, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* p) { hook(p, bytes, simt::Access::write, __builtin_return_address(0)); }
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)

// Host code's atomics (doctest has some) are rerouted too; they only have to work.
#define SIMT_ATOMICS(bits, T)                                                                                       \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {                    \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {                      \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }
SIMT_ATOMICS(8, unsigned char)
SIMT_ATOMICS(16, unsigned short)
SIMT_ATOMICS(32, unsigned int)
SIMT_ATOMICS(64, unsigned long)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}
