// What planted bugs share: each test runs one kernel without and with its bug, in all orders, and says what must catch
// it.
#pragma once
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ivl/cuda/runtime/launch.cuh"
#include "tests/simt/support/device_test.hpp"

namespace planted {

using simt::Bug, simt::Order;

/// Which of our three builds sees the bug, and how.
struct Caught {
  bool wrong_values = false;           // in at least one order, wherever nothing is reported
  std::vector<Bug> reported = {};      // in every build, by the first thread that meets one of these
  std::vector<Bug> race_checker = {};  // reported by it alone
  std::vector<Bug> addresses = {};     // reported by the emulator where the address sanitizer is linked
  const char* sanitizer = nullptr;     // the process dies with this in its last words
  const char* says = "";               // part of the report
};

/// What a forked copy of this process says to stderr while it runs `body`.
template <class Body>
std::string last_words(const Body& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    try {
      body();
    } catch (...) {
    }
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t bytes; (bytes = read(ends[0], part, sizeof part)) > 0;) text.append(part, std::size_t(bytes));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return text;
}

/// `run(planted)` launches the kernel and returns whether its result is right.
template <class Run>
void check_planted(const Run& run, const Caught& caught) {
  for (const Order order : simt::all_orders) {
    const std::string order_name = simt::name_of(order);
    CAPTURE(order_name);
    simt::options().order = order;
    REQUIRE_NOTHROW(REQUIRE(run(false)));
  }
  if (caught.sanitizer != nullptr && simt::checks_addresses()) {
    simt::options().order = Order::fair;  // one of the two that for_each_order has there
    const std::string words = last_words([&] { run(true); });
    CHECK_MESSAGE(words.find(caught.sanitizer) != std::string::npos, words);
    CHECK_MESSAGE(words.find("_test.cpp:") != std::string::npos, words);
    return;
  }

  std::vector<Bug> expected = caught.reported;
  if (simt::checks_races() && !caught.race_checker.empty()) expected = caught.race_checker;
  if (simt::checks_addresses() && !caught.addresses.empty()) expected = caught.addresses;
  bool wrong = false;
  for (const Order order : simt::all_orders) {
    const std::string order_name = simt::name_of(order);
    CAPTURE(order_name);
    simt::options().order = order;
    std::optional<Bug> reported;
    std::string message;
    try {
      wrong |= !run(true);
    } catch (const simt::Error& error) {
      reported = error.bug;
      message = error.what();
    }
    CAPTURE(message);
    CHECK(reported.has_value() == !expected.empty());
    if (reported) CHECK(std::count(expected.begin(), expected.end(), *reported) == 1);
    if (reported) CHECK(message.find(caught.says) != std::string::npos);
    if (reported && *reported != Bug::launch_limit && *reported != Bug::stream) {
      CHECK(message.find("thread (") != std::string::npos);
      // Where the files are compiled as one, addr2line calls some places that one's.
      const bool has_place =
          message.find("_test.cpp:") != std::string::npos || message.find(".cxx:") != std::string::npos;
      CHECK(has_place);
    }
  }
  if (expected.empty()) CHECK(wrong == caught.wrong_values);
  simt::options().order = Order::fair;
}

}  // namespace planted
