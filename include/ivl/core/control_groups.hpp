// Where Linux keeps what a container or a service may use.
#pragma once
#include <fstream>
#include <string>

namespace ivl::detail {

/// Calls visit(folder) for the folders of the process's control groups of a controller, such as "cpu", in both
/// versions, and of the groups around them. A container may see its own group as the root and be told the host's path
/// of it, so every folder on the way up is visited, there or not. `root` is where /proc and /sys lie.
template <class Visit>
void each_control_group(const std::string& root, const std::string& controller, const Visit& visit) {
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/some/group"; version 2: "0::/some/group"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers != ",," && controllers.find("," + controller + ",") == std::string::npos) continue;
    for (std::string group = line.substr(second + 1);; group.resize(group.rfind('/'))) {
      for (const std::string& mount : {std::string(), "/" + controller, std::string("/unified")})
        visit(root + "/sys/fs/cgroup" + mount + group);
      if (group.find('/') == std::string::npos) break;
    }
  }
}

}  // namespace ivl::detail
