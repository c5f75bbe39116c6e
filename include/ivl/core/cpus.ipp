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

/// The least that the process's control groups and those around them grant. A container may see its own group as the
/// root and be told the host's path of it, so every folder on the way up is looked for.
IVL_INLINE double granted_cpus(const std::string& root) {
  double granted = std::numeric_limits<double>::infinity();
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/some/group"; version 2: "0::/some/group"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
    for (std::string group = line.substr(second + 1);; group.resize(group.rfind('/'))) {
      for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"})
        granted = std::min(granted, granted_by_group(root + mount + group));
      if (group.find('/') == std::string::npos) break;
    }
  }
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
