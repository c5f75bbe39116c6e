// The bodies of usable_memory.hpp.
#pragma once
#include <algorithm>
#include <fstream>
#include <string_view>

#include "ivl/core/control_groups.hpp"
#include "ivl/core/usable_memory.hpp"

namespace ivl {
namespace detail {

/// The number behind `name` in a file of lines such as "inactive_file 4096" or "MemAvailable: 4 kB".
IVL_INLINE std::optional<std::int64_t> number_in_lines(const std::string& file, std::string_view name) {
  std::ifstream lines(file);
  for (std::string word; lines >> word;) {
    std::int64_t number = 0;
    if (word == name && lines >> number) return number;
    lines.clear();
  }
  return std::nullopt;
}

/// What the folder of a control group leaves of its limit, the cache of files not counted: the system takes that back.
/// Version 2 writes a number or "max" into memory.max, version 1 a number near 2^63 where there is no limit.
IVL_INLINE std::optional<std::int64_t> left_in_group(const std::string& group) {
  for (const bool second : {true, false}) {
    std::ifstream most(group + (second ? "/memory.max" : "/memory.limit_in_bytes"));
    std::ifstream now(group + (second ? "/memory.current" : "/memory.usage_in_bytes"));
    std::int64_t limit = 0, used = 0;
    if (!(most >> limit && now >> used)) continue;
    for (const std::string name : {"inactive_file", "active_file"})
      used -= number_in_lines(group + "/memory.stat", second ? name : "total_" + name).value_or(0);
    return std::max<std::int64_t>(0, limit - used);
  }
  return std::nullopt;
}

}  // namespace detail

IVL_INLINE std::optional<std::int64_t> usable_memory_bytes(const std::string& root) {
  std::optional<std::int64_t> usable = detail::number_in_lines(root + "/proc/meminfo", "MemAvailable:");
  if (usable) *usable *= 1024;
  detail::each_control_group(root, "memory", [&](const std::string& group) {
    if (const auto left = detail::left_in_group(group)) usable = std::min(usable.value_or(*left), *left);
  });
  return usable;
}

}  // namespace ivl
