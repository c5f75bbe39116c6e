#include "ivl/core/pace.hpp"

#include <doctest/doctest.h>

using namespace ivl;

namespace {

constexpr float us = ticks_per_us;

/// A kind of which one run was seen, which took one thread so long.
Pace::Kind known(float ticks) {
  Pace::Kind kind;
  Pace::learn(kind, ticks);
  return kind;
}

}  // namespace

TEST_CASE("a run gets threads for the work there is, and no more than tasks") {
  Pace pace(8, 8);
  CHECK(pace.width(Pace::Kind(), 1000, 0) == 8);  // not known yet
  CHECK(pace.width(known(2 * us), 1000, 0) == 1);
  CHECK(pace.width(known(11 * us), 1000, 0) == 5);
  CHECK(pace.width(known(1e12f), 1000, 0) == 8);
  CHECK(pace.width(known(1e12f), 3, 0) == 3);
}

TEST_CASE("a small run is timed one time in 32, one that grew at once") {
  Pace::Kind kind = known(2 * us);
  CHECK(kind.untimed == 31);
  Pace::learn(kind, 50 * us);
  CHECK(kind.untimed == 0);
  CHECK(known(100 * us).untimed == 0);
}

TEST_CASE("an estimate follows what runs take; an interrupted one counts as twice as long") {
  Pace::Kind kind = known(100 * us);
  CHECK(!Pace::learn(kind, 5000 * us));
  CHECK(kind.ticks <= 150 * us);
  for (int run = 0; run < 20; ++run) CHECK(Pace::learn(kind, 10 * us));
  CHECK(kind.ticks < 11 * us);
  for (int run = 0; run < 20; ++run) Pace::learn(kind, 300 * us);
  CHECK(kind.ticks > 250 * us);
}

TEST_CASE("losses halve the threads, and they come back when 32 times the loss has passed") {
  Pace pace(8, 8);
  const Pace::Kind kind = known(800 * us);
  const Ticks ms = 1000 * ticks_per_us;
  pace.settle(kind.ticks, 8, 700 * ticks_per_us, 0);  // four threads would have needed 200 us
  CHECK(pace.width(kind, 100, 0) == 4);
  pace.settle(kind.ticks, 4, 2 * ms, 0);
  CHECK(pace.width(kind, 100, 0) == 2);
  pace.settle(kind.ticks, 2, 3800 * ticks_per_us, 0);
  CHECK(pace.width(kind, 100, 0) == 1);
  CHECK(pace.width(kind, 100, 90 * ms) == 1);
  CHECK(pace.width(kind, 100, 100 * ms) == 2);
  CHECK(pace.width(kind, 100, 100 * ms) == 4);
  CHECK(pace.width(kind, 100, 100 * ms) == 8);
}

TEST_CASE("what was gained pays for a rare interruption") {
  Pace pace(2, 2);
  const Pace::Kind kind = known(100 * us);
  for (int run = 0; run < 1000; ++run) pace.settle(kind.ticks, 2, 55 * ticks_per_us, 0);
  pace.settle(kind.ticks, 2, 3000 * ticks_per_us, 0);
  CHECK(pace.width(kind, 100, 0) == 2);
  pace.settle(kind.ticks, 2, 3000 * ticks_per_us, 0);
  CHECK(pace.width(kind, 100, 0) == 1);
}

TEST_CASE("more threads than CPUs are used until they have lost, and never again") {
  Pace pace(16, 2);
  const Pace::Kind kind = known(1600 * us);
  CHECK(pace.width(kind, 100, 0) == 16);
  for (int run = 0; run < 20; ++run) {
    const int width = pace.width(kind, 100, run);
    pace.settle(kind.ticks, width, 800 * ticks_per_us, run);  // two CPUs work
  }
  CHECK(pace.width(kind, 100, 0) == 2);
  CHECK(pace.width(kind, 100, Ticks(1) << 50) == 2);
}
