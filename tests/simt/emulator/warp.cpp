// Warp-wide operations: one rendezvous, `collective`, and what is built on it.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

std::string lane_name(const Round& round, int lane) {
  return "lane " + std::to_string(lane) + " in " + round.name + " at " + text_of(round.sites[lane]);
}

bool same(const char* one, const char* other) { return one == other || !std::strcmp(one, other); }

/// Instantiations of one template are different instructions, too.
bool same_line(Site a, Site b) {
  return a.line() == b.line() && a.column() == b.column() && same(a.file_name(), b.file_name()) &&
         same(a.function_name(), b.function_name());
}

std::string mask_text(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

template <class Body>
void for_each_lane(unsigned mask, const Body& body) {
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1u) body(lane);
  }
}

}  // namespace

void collective(unsigned mask, const char* name, Together together, void* argument, void (*execute)(Round&), Site at) {
  Thread& thread = *current;
  Warp& warp = *thread.warp;
  const unsigned me = 1u << thread.lane;
  if (!(mask & me)) {
    report(Bug::bad_lane,
           std::string(name) + ": lane " + std::to_string(thread.lane) + " is not in its own mask " + mask_text(mask),
           at);
  }
  if (const unsigned missing = mask & ~warp.live) {
    const int lane = __builtin_ctz(missing);
    report(Bug::bad_lane,
           std::string(name) + ": lane " + std::to_string(lane) + " of mask " + mask_text(mask) +
               (warp.lanes[lane] ? " has exited" : " does not exist in this warp"),
           at);
  }

  Round* round = nullptr;
  for (Round& open : warp.rounds) {
    if (!(open.mask & me)) continue;  // can end without this lane
    const int other = __builtin_ctz(open.arrived);
    const bool ours = open.mask == mask && same(open.name, name);
    if (!ours && (open.arrived & mask)) {
      report(Bug::divergence,
             std::string(name) + " with mask " + mask_text(mask) + ", while " + lane_name(open, other) +
                 " waits with mask " + mask_text(open.mask),
             at);
    }
    if (ours && together == Together::same_line && !same_line(open.sites[other], at)) {
      report(Bug::divergence,
             std::string(name) + " needs all lanes at one instruction, but here is lane " +
                 std::to_string(thread.lane) + " and " + lane_name(open, other),
             at);
    }
    if (ours) round = &open;
  }
  if (round == nullptr) {
    warp.rounds.emplace_back();
    round = &warp.rounds.back();
    round->mask = mask;
    round->name = name;
  }
  round->arrived |= me;
  round->sites[thread.lane] = at;
  round->arguments[thread.lane] = argument;
  if (round->arrived != mask) {
    wait(name, at);
    return;
  }
  Round done = *round;
  warp.rounds.erase(warp.rounds.begin() + (round - warp.rounds.data()));
  execute(done);
  if (counting()) count_exchange(name), count_meeting(warp);
  std::vector<Thread*> others;
  for_each_lane(mask & ~me, [&](int lane) { others.push_back(warp.lanes[lane]); });
  wake_all(others);
}

// ---- shuffles -------------------------------------------------------------------------------------
std::uint64_t shuffle(unsigned mask, std::uint64_t value, Shuffle kind, int operand, int width, Site at) {
  struct Argument {
    std::uint64_t value;
    int source;
    std::uint64_t result;
  };
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    report(Bug::bad_lane, "shuffle: width " + std::to_string(width) + ", expected a power of two up to 32", at);
  }
  const int lane = current->lane, first = lane / width * width;
  int source = lane;
  switch (kind) {
    case Shuffle::indexed:
      source = first + (operand & (width - 1));
      break;
    case Shuffle::up:
      source = lane - operand >= first ? lane - operand : lane;
      break;
    case Shuffle::down:
      source = lane + operand < first + width ? lane + operand : lane;
      break;
    // Into a later segment hardware hands back the lane's own value, into an earlier one it reads.
    case Shuffle::exclusive_or:
      source = (lane ^ operand) < first + width ? lane ^ operand : lane;
      break;
  }
  if (source < 0 || source > 31 || !(mask >> source & 1u)) {
    report(Bug::bad_lane,
           "shuffle: lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
               ", which is not in mask " + mask_text(mask),
           at);
  }
  static constexpr const char* names[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync"};
  Argument argument{value, source, 0};
  collective(
      mask, names[int(kind)], Together::same_operation, &argument,
      [](Round& round) {
        for_each_lane(round.mask, [&](int to) {
          auto& wanted = *static_cast<Argument*>(round.arguments[to]);
          wanted.result = static_cast<Argument*>(round.arguments[wanted.source])->value;
        });
      },
      at);
  return argument.result;
}

// ---- votes and reductions -------------------------------------------------------------------------
unsigned ballot(unsigned mask, bool predicate, const char* name, Site at) {
  unsigned argument = predicate;
  collective(
      mask, name, Together::same_operation, &argument,
      [](Round& round) {
        unsigned result = 0;
        for_each_lane(round.mask, [&](int lane) { result |= *static_cast<unsigned*>(round.arguments[lane]) << lane; });
        for_each_lane(round.mask, [&](int lane) { *static_cast<unsigned*>(round.arguments[lane]) = result; });
      },
      at);
  return argument;
}

unsigned reduce(unsigned mask, unsigned value, Reduce kind, Site at) {
  struct Argument {
    unsigned value;
    Reduce kind;
  };
  static constexpr const char* names[] = {"__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
                                          "__reduce_and_sync", "__reduce_or_sync",  "__reduce_xor_sync",
                                          "__reduce_min_sync", "__reduce_max_sync"};
  Argument argument{value, kind};
  collective(
      mask, names[int(kind)], Together::same_operation, &argument,
      [](Round& round) {
        const auto at_lane = [&](int lane) -> Argument& { return *static_cast<Argument*>(round.arguments[lane]); };
        const int first = __builtin_ctz(round.mask);
        unsigned result = at_lane(first).value;
        for_each_lane(round.mask & (round.mask - 1), [&](int lane) {
          const unsigned value = at_lane(lane).value;
          switch (at_lane(first).kind) {
            case Reduce::add:
              result += value;
              break;
            case Reduce::min:
              result = std::min(result, value);
              break;
            case Reduce::max:
              result = std::max(result, value);
              break;
            case Reduce::bit_and:
              result &= value;
              break;
            case Reduce::bit_or:
              result |= value;
              break;
            case Reduce::bit_xor:
              result ^= value;
              break;
            case Reduce::signed_min:
              result = unsigned(std::min(int(result), int(value)));
              break;
            case Reduce::signed_max:
              result = unsigned(std::max(int(result), int(value)));
              break;
          }
        });
        for_each_lane(round.mask, [&](int lane) { at_lane(lane).value = result; });
      },
      at);
  return argument.value;
}

void warp_barrier(unsigned mask, Site at) {
  collective(
      mask, "__syncwarp", Together::same_operation, nullptr,
      [](Round& round) {
        Released released;
        for_each_lane(round.mask, [&](int lane) { release_to(released, *current->warp->lanes[lane]); });
        for_each_lane(round.mask, [&](int lane) { acquire_from(released, *current->warp->lanes[lane]); });
      },
      at);
}

}  // namespace simt
