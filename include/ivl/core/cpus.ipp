// The bodies of cpus.hpp.
#pragma once
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "ivl/core/control_groups.hpp"
#include "ivl/core/cpus.hpp"

namespace ivl {
namespace detail {

/// CPU seconds a second that the folder of a control group grants; infinite where it sets no limit. Version 2 writes
/// "200000 100000" or "max 100000" into cpu.max, version 1 the same two numbers, or -1, into two files.
IVL_INLINE double granted_by_group(const std::string& group) {
  double quota = 0, period = 0;
  std::ifstream both(group + "/cpu.max"), first(group + "/cpu.cfs_quota_us"), second(group + "/cpu.cfs_period_us");
  const bool limited = both ? bool(both >> quota >> period) : first >> quota && second >> period;
  return limited && quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

/// The least that the process's control groups and those around them grant.
IVL_INLINE double granted_cpus(const std::string& root) {
  double granted = std::numeric_limits<double>::infinity();
  each_control_group(root, "cpu",
                     [&](const std::string& group) { granted = std::min(granted, granted_by_group(group)); });
  return granted;
}

}  // namespace detail

IVL_INLINE int usable_cpus(const std::string& root) {
  int cpus = int(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
#endif
  return std::max(1, int(std::min(double(cpus), detail::granted_cpus(root))));
}

}  // namespace ivl
