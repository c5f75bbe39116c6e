// Races in device memory, for the race checker's build. All of it is one range of addresses, and each byte has a cell
// with the number of the stretch that wrote it last: what one thread wrote between two of its synchronisations, or one
// copy or fill of a stream.
//
// Ordered are: accesses of one block, as in shared memory; a write and what comes after it by way of an acquire that
// read what a release behind the write had stored, and of the barriers on both sides; two works of streams of which one
// waits for the other. Atomics do not race with atomics, and order nothing unless fences stand around them.
//
// Reads leave no trace: a write that comes too early for one is seen where the order of blocks lets it come first.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "tests/simt/emulator/internal.hpp"

namespace simt {

std::uintptr_t device_base = 0, device_bytes = 0;

namespace {

struct Stretch {
  std::int64_t work;  // of a stream
  int stream;
  unsigned block;  // in the work's grid, or no_block
  Moment moment;
  Place place;  // of the first access
};
constexpr unsigned no_block = ~0u;

/// A stretch's number, doubled, and whether the access was atomic; 0: nothing was written.
using Cell = std::uint32_t;
Cell* cells = nullptr;

// Stretches of works that the host has not waited for. Plain memory, since hooks come here.
Stretch* stretches = nullptr;
std::uint32_t capacity = 0, first_kept = 1, next_number = 1;

// The work under way.
std::int64_t work_number = 0;
int work_stream = 0;
StreamClock work_knows;
std::uint32_t first_unordered = 1;  // all stretches before it come before this work
std::uint32_t first_of_work = 1, first_of_phase = 1;
std::map<const void*, Knowledge> published;

struct Begin {
  std::int64_t work;
  std::uint32_t first;  // its first stretch
};
std::map<int, std::deque<Begin>> begins;  // by stream, of what the host has not waited for

std::uint32_t new_stretch(unsigned block, Moment moment, Place place) {
  if (next_number >= 1u << 31) throw std::bad_alloc();
  const std::uint32_t used = next_number - first_kept;
  if (used == capacity) {
    capacity = capacity == 0 ? 1 << 16 : 2 * capacity;
    stretches = static_cast<Stretch*>(std::realloc(stretches, capacity * sizeof(Stretch)));
    if (stretches == nullptr) throw std::bad_alloc();
  }
  stretches[used] = {work_number, work_stream, block, moment, place};
  return next_number++;
}

const Stretch& stretch_of(Cell cell) { return stretches[(cell >> 1) - first_kept]; }

bool sees(const Knowledge& known, const Stretch& before) {
  const auto seen = known.find(before.block);
  if (seen == known.end()) return false;
  const Seen& upto = seen->second;
  if (before.moment.epoch != upto.epoch) return before.moment.epoch < upto.epoch;
  return std::size_t(before.moment.thread) < upto.clocks.size() &&
         upto.clocks[std::size_t(before.moment.thread)] >= before.moment.clock;
}

bool is_work_known(const Stretch& before) {
  const auto known = work_knows.find(before.stream);
  return known != work_knows.end() && known->second >= before.work;
}

bool is_ordered(Cell cell, bool atomic) {
  const std::uint32_t number = cell >> 1;
  if (number < first_unordered) return true;
  const Stretch& before = stretch_of(cell);
  if (before.work != work_number) return is_work_known(before);
  if (current == nullptr || number < first_of_phase || (atomic && (cell & 1) != 0)) return true;
  const Block& block = *current->block;
  if (before.block == block.number) return comes_after(before.moment, *current);
  const Knowledge* const extra = extra_knowledge(*current);
  return sees(block.known, before) || (extra != nullptr && sees(*extra, before));
}

std::string text_of(const Stretch& stretch) {
  if (stretch.block == no_block) return "a copy or fill of stream " + std::to_string(stretch.stream);
  const std::string place = " (what it wrote begins at " + text_of_place(stretch.place) + ")";
  if (stretch.work != work_number)
    return "a thread of an earlier kernel in stream " + std::to_string(stretch.stream) + place;
  return "thread " + simt::text_of(index_of(unsigned(stretch.moment.thread), shape.block)) + " of block " +
         simt::text_of(index_of(stretch.block, shape.grid)) + place;
}

[[noreturn]] void complain(Cell cell, Access kind, Place place) {
  const Stretch& before = stretch_of(cell);
  const std::string verb = kind == Access::write ? "writes" : kind == Access::atomic ? "changes atomically" : "reads";
  const std::string where = place == 0 ? "" : " at " + text_of_place(place);
  if (before.work != work_number) {
    report(Bug::stream, "stream " + std::to_string(work_stream) + " " + verb + " device memory" + where +
                            " without a wait for the write by " + text_of(before));
  }
  report(Bug::race, verb + " device memory" + where + ": nothing orders it behind the write by " + text_of(before));
}

void check_cells(const Cell* begin, std::size_t count, Access kind, Place place) {
  const Cell limit = first_unordered << 1;
  Cell last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (begin[i] < limit || begin[i] == last) continue;
    last = begin[i];
    if (!is_ordered(last, kind == Access::atomic || kind == Access::atomic_read)) complain(last, kind, place);
  }
}

/// The running thread's stretch: a new one after each synchronisation in which it took part.
std::uint32_t stretch_of_current(Place place) {
  Thread& thread = *current;
  const Moment now = moment_of(thread);
  if (thread.stretch.number < first_of_phase || thread.stretch.epoch != now.epoch ||
      thread.stretch.clock != now.clock) {
    thread.stretch = {now.epoch, now.clock, new_stretch(thread.block->number, now, place)};
  }
  return thread.stretch.number;
}

void fill(Cell* begin, std::size_t count, Cell value) {
  for (std::size_t i = 0; i < count; ++i) begin[i] = value;
}

/// All that the running thread may hand on: what it knows, and how far its own block has come as it sees it.
Knowledge own_knowledge() {
  Knowledge known = current->block->known;
  if (const Knowledge* extra = extra_knowledge(*current)) merge(known, *extra);
  Seen& own = known[current->block->number];
  own = {moment_of(*current).epoch, {}};
  release_to(own.clocks, *current);
  return known;
}

Ordering& ordering_of(Thread& thread) {
  if (thread.ordering == nullptr) {
    thread.ordering = std::make_unique<Ordering>();
    thread.block->acquirers.push_back(&thread);
  }
  return *thread.ordering;
}

bool is_checked() { return current != nullptr && current->block->shadow != nullptr; }

}  // namespace

void device_access(std::uintptr_t offset, int bytes, Access kind, Place place) {
  Cell* const begin = cells + offset;
  check_cells(begin, std::size_t(bytes), kind, place);
  if (kind == Access::read || kind == Access::atomic_read) return;
  fill(begin, std::size_t(bytes), stretch_of_current(place) << 1 | Cell(kind == Access::atomic));
}

void check_read_only(const void* address, int bytes, Site at) {
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - device_base;
  if (offset >= device_bytes) return;
  for (int i = 0; i < bytes; ++i) {
    if (cells[offset + std::uintptr_t(i)] >= first_of_work << 1)
      report(Bug::race, "reads through the read-only path what this grid has written", at);
  }
}

// ---- streams --------------------------------------------------------------------------------------
void begin_work(int stream, std::int64_t number, const StreamClock& known) {
  if (device_bytes == 0) return;
  work_stream = stream;
  work_number = number;
  work_knows = known;
  published.clear();
  first_of_work = first_of_phase = first_unordered = next_number;
  bool all_known_to_host = true;
  for (const auto& [other, works] : begins) {
    all_known_to_host &= works.empty();
    const auto upto = known.find(other);
    for (const Begin& begin : works) {
      if (upto != known.end() && begin.work <= upto->second) continue;
      first_unordered = std::min(first_unordered, begin.first);
      break;
    }
  }
  if (all_known_to_host) first_kept = next_number;
  begins[stream].push_back({number, next_number});
}

void host_waited(const StreamClock& known) {
  for (auto& [stream, works] : begins) {
    const auto upto = known.find(stream);
    while (upto != known.end() && !works.empty() && works.front().work <= upto->second) works.pop_front();
  }
}

void read_by_stream(const void* address, std::size_t bytes) {
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - device_base;
  if (offset < device_bytes) check_cells(cells + offset, bytes, Access::read, 0);
}

void written_by_stream(void* address, std::size_t bytes) {
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - device_base;
  if (offset >= device_bytes) return;
  check_cells(cells + offset, bytes, Access::write, 0);
  fill(cells + offset, bytes, new_stretch(no_block, {}, 0) << 1);
}

// ---- memory ---------------------------------------------------------------------------------------
namespace {

constexpr std::size_t range_bytes = std::size_t(1) << 38;  // address space: only touched pages cost memory

std::uintptr_t used_bytes = 0;
std::multimap<std::size_t, void*> freed;  // by size

void* map_range(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

std::size_t rounded(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

void* allocate_watched(std::size_t bytes) {
  if (!checks_races()) {  // its ends are the address sanitizer's to watch
    void* memory = nullptr;
    return posix_memalign(&memory, 256, bytes) == 0 ? memory : nullptr;
  }
  if (device_bytes == 0) {
    cells = static_cast<Cell*>(map_range(range_bytes * sizeof(Cell)));
    device_base = reinterpret_cast<std::uintptr_t>(map_range(range_bytes));
    device_bytes = range_bytes;
  }
  const auto again = freed.find(rounded(bytes));
  if (again != freed.end()) {
    void* const memory = again->second;
    freed.erase(again);
    return memory;
  }
  if (rounded(bytes) > range_bytes - used_bytes) return nullptr;
  void* const memory = reinterpret_cast<void*>(device_base + used_bytes);
  used_bytes += rounded(bytes);
  return memory;
}

void free_watched(void* memory, std::size_t bytes) {
  if (device_bytes == 0) return std::free(memory);
  const auto offset = reinterpret_cast<std::uintptr_t>(memory) - device_base;
  // What nobody has written since is zero again: no stretch.
  madvise(memory, rounded(bytes), MADV_DONTNEED);
  madvise(cells + offset, rounded(bytes) * sizeof(Cell), MADV_DONTNEED);
  freed.emplace(rounded(bytes), memory);
}

// ---- what threads know ----------------------------------------------------------------------------
void merge(Knowledge& known, const Knowledge& more) {
  for (const auto& [block, seen] : more) {
    Seen& mine = known[block];
    if (mine.epoch > seen.epoch) continue;
    if (mine.epoch < seen.epoch) {
      mine = seen;
      continue;
    }
    mine.clocks.resize(std::max(mine.clocks.size(), seen.clocks.size()));
    for (std::size_t i = 0; i < seen.clocks.size(); ++i) mine.clocks[i] = std::max(mine.clocks[i], seen.clocks[i]);
  }
}

const Knowledge* extra_knowledge(const Thread& thread) {
  return thread.ordering == nullptr || thread.ordering->acquired.empty() ? nullptr : &thread.ordering->acquired;
}

void add_knowledge(Thread& thread, const Knowledge& more) { merge(ordering_of(thread).acquired, more); }

void share_knowledge(Block& block) {
  for (Thread* thread : block.acquirers) {
    merge(block.known, thread->ordering->acquired);
    thread->ordering->acquired.clear();
    if (thread->ordering->before_fence.empty() && thread->ordering->wants_fence.empty()) thread->ordering.reset();
  }
  std::erase_if(block.acquirers, [](const Thread* thread) { return thread->ordering == nullptr; });
}

void order_grid() { first_of_phase = next_number; }

void publish(const void* address, bool replaces) {
  if (!is_checked()) return;
  if (replaces) published.erase(address);
  merge(published[address], own_knowledge());
}

void obtain(const void* address) {
  if (!is_checked()) return;
  const auto found = published.find(address);
  if (found != published.end()) add_knowledge(*current, found->second);
}

void touch_relaxed(const void* address) {
  if (!is_checked()) return;
  if (current->ordering != nullptr) merge(published[address], current->ordering->before_fence);
  const auto found = published.find(address);
  if (found != published.end()) merge(ordering_of(*current).wants_fence, found->second);
}

void fence() {
  if (!is_checked()) return;
  Ordering& ordering = ordering_of(*current);
  merge(ordering.acquired, ordering.wants_fence);
  ordering.before_fence = own_knowledge();
}

}  // namespace simt
