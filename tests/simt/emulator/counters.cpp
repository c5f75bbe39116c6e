// What warps do, counted for whoever asks. Threads run one after another here, so what a warp does at once is put
// together again: the n-th access that each lane makes through one instruction, since the warp met last, is one access
// of the warp. Where lanes go different ways between two meetings that is a guess.
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <unordered_map>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

constexpr int sector_bytes = 32, bank_bytes = 4, banks = 32;

std::map<const void*, Counts>& all_counts() {
  static std::map<const void*, Counts> counts;
  return counts;
}
Counts& counts() { return all_counts()[shape.kernel]; }

/// The lanes' addresses in one access of a warp.
struct WarpAccess {
  int bytes = 0;
  bool shared = false;
  std::uintptr_t addresses[32];
  unsigned lanes = 0;
};

struct Pending {
  std::map<std::pair<Place, int>, WarpAccess> accesses;  // by instruction and how often a lane came there
  std::map<std::pair<int, Place>, int> times;            // by lane and instruction
};
std::unordered_map<const Warp*, Pending> pending;

/// Lanes whose bytes the banks give at once: 128 of them.
int passes_over_banks(const WarpAccess& access, int first_lane, int lanes) {
  std::set<std::uintptr_t> words[banks];
  for (int lane = first_lane; lane < first_lane + lanes; ++lane) {
    if (!(access.lanes >> lane & 1u)) continue;
    const std::uintptr_t begin = access.addresses[lane] / bank_bytes;
    const std::uintptr_t end = (access.addresses[lane] + std::uintptr_t(access.bytes) - 1) / bank_bytes;
    for (std::uintptr_t word = begin; word <= end; ++word) words[word % banks].insert(word);
  }
  std::size_t most = 0;
  for (const auto& bank : words) most = std::max(most, bank.size());
  return int(most);
}

void count_shared(const WarpAccess& access, Counts& counts) {
  ++counts.shared_accesses;
  const int lanes = std::min(32, 32 * bank_bytes / std::max(access.bytes, bank_bytes));
  for (int first = 0; first < 32; first += lanes)
    counts.extra_passes += std::max(0, passes_over_banks(access, first, lanes) - 1);
}

void count_device(const WarpAccess& access, Counts& counts) {
  ++counts.device_accesses;
  std::set<std::uintptr_t> sectors, bytes;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(access.lanes >> lane & 1u)) continue;
    for (int i = 0; i < access.bytes; ++i) bytes.insert(access.addresses[lane] + std::uintptr_t(i));
  }
  for (const std::uintptr_t byte : bytes) sectors.insert(byte / sector_bytes);
  counts.sectors += std::int64_t(sectors.size());
  counts.least += (std::int64_t(bytes.size()) + sector_bytes - 1) / sector_bytes;
}

std::string readable(const std::string& symbol) {
  char* const name = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, nullptr);
  const std::string text = name == nullptr ? symbol : name;
  std::free(name);
  return text;
}

bool asked_in_environment() {
  const char* const text = std::getenv("IVL_SIMT_COUNTS");
  if (text == nullptr || !std::strcmp(text, "0")) return false;
  std::atexit([] { std::fputs(table_of_counts().c_str(), stderr); });
  return true;
}

}  // namespace

bool& counting() {
  static bool on = asked_in_environment();
  return on;
}

Counts counts_of(const void* kernel) { return all_counts()[kernel]; }

std::string table_of_counts() {
  std::map<std::string, Counts> by_name;
  for (const auto& [kernel, counts] : all_counts()) by_name[readable(function_at(kernel))] = counts;
  std::string text =
      "launches,blocks,matrix products,matrix loads,exchanges,barriers,shared accesses,extra passes,device accesses,"
      "sectors,least sectors,kernel\n";
  for (const auto& [name, c] : by_name) {
    for (const std::int64_t number : {c.launches, c.blocks, c.matrix_products, c.matrix_loads, c.exchanges, c.barriers,
                                      c.shared_accesses, c.extra_passes, c.device_accesses, c.sectors, c.least})
      text += std::to_string(number) + ",";
    text += name + "\n";
  }
  return text;
}

void count_launch(std::int64_t blocks) {
  pending.clear();
  ++counts().launches;
  counts().blocks += blocks;
}

void count_access(const volatile void* address, int bytes, bool shared, Place place) {
  Pending& mine = pending[current->warp];
  const int time = mine.times[{current->lane, place}]++;
  WarpAccess& access = mine.accesses[{place, time}];
  access.bytes = bytes;
  access.shared = shared;
  access.addresses[current->lane] = reinterpret_cast<std::uintptr_t>(address);
  access.lanes |= 1u << current->lane;
}

void count_meeting(const Warp& warp) {
  const auto found = pending.find(&warp);
  if (found == pending.end()) return;
  for (const auto& [instruction, access] : found->second.accesses) {
    if (access.shared) {
      count_shared(access, counts());
    } else {
      count_device(access, counts());
    }
  }
  pending.erase(found);
}

void count_exchange(const char* name) {
  Counts& mine = counts();
  if (!std::strncmp(name, "mma", 3)) {
    ++mine.matrix_products;
  } else if (!std::strncmp(name, "ldmatrix", 8)) {
    ++mine.matrix_loads;
  } else {
    ++mine.exchanges;
  }
}

void count_barrier(Block& block) {
  counts().barriers += std::int64_t(block.warps.size());
  for (const Warp& warp : block.warps) count_meeting(warp);
}

}  // namespace simt
