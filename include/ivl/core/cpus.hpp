// How many CPUs this process may use.
#pragma once
#include <string>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Fewer than the machine's under taskset, in a container that pins the process, or under a quota. Part of a CPU counts
/// as none: threads that outrun a quota are all stopped for the rest of its period. `root` is where /proc and /sys lie.
int usable_cpus(const std::string& root = "");

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/core/cpus.ipp"
#endif
