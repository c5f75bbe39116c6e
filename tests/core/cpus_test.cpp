#include "ivl/core/cpus.hpp"

#include <doctest/doctest.h>

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/temporary_folder.hpp"

using namespace ivl;

#ifdef __linux__
TEST_CASE("usable CPUs are those of the process, not of the machine") {
  int found = 0;
  std::thread([&found] {  // the mask is a thread's own
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all)) ++cpu;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) found = usable_cpus();
  })
      .join();
  CHECK(found == 1);
}
#endif

/// A root folder with files of our own instead of the kernel's.
class Root {
 public:
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = folder_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  int cpus() const { return usable_cpus(folder_.path().string()); }

 private:
  test::TemporaryFolder folder_;
};

TEST_CASE("a quota limits the usable CPUs, rounded down, and never to none") {
  const int all = usable_cpus("/no such folder");
  REQUIRE(all >= 1);
  const Root root;
  CHECK(root.cpus() == all);
  root.write("proc/self/cgroup", "0::/\n");
  root.write("sys/fs/cgroup/cpu.max", "max 100000\n");
  CHECK(root.cpus() == all);
  root.write("sys/fs/cgroup/cpu.max", "199000 100000\n");
  CHECK(root.cpus() == 1);
  root.write("sys/fs/cgroup/cpu.max", "250000 100000\n");
  CHECK(root.cpus() == std::min(all, 2));
  root.write("sys/fs/cgroup/cpu.max", "20000 100000\n");
  CHECK(root.cpus() == 1);
  root.write("sys/fs/cgroup/cpu.max", "nonsense\n");
  CHECK(root.cpus() == all);
}

TEST_CASE("of nested control groups the least quota counts, in both versions") {
  const int all = usable_cpus("/no such folder");
  {
    const Root root;  // version 2, the limit is the outer group's
    root.write("proc/self/cgroup", "0::/outer/inner\n");
    root.write("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
    CHECK(root.cpus() == all);
    root.write("sys/fs/cgroup/outer/cpu.max", "50000 50000\n");
    CHECK(root.cpus() == 1);
  }
  for (const std::string folder : {"sys/fs/cgroup/cpu/docker/1f", "sys/fs/cgroup/cpu"}) {
    const Root root;  // version 1, by the host's path, or as a container that sees its own group as the root
    root.write("proc/self/cgroup", "9:cpuset:/\n4:cpuacct,cpu:/docker/1f\n0::/\n");
    root.write(folder + "/cpu.cfs_period_us", "100000\n");
    root.write(folder + "/cpu.cfs_quota_us", "-1\n");
    CHECK(root.cpus() == all);
    root.write(folder + "/cpu.cfs_quota_us", "150000\n");
    CHECK(root.cpus() == 1);
  }
}
