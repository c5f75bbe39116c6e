// How much memory this process can still have.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Bytes that are free, or that the system can free, on the machine and in the process's control groups; nothing where
/// nobody says. Swap does not count. `root` is where /proc and /sys lie.
std::optional<std::int64_t> usable_memory_bytes(const std::string& root = "");

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/core/usable_memory.ipp"
#endif
