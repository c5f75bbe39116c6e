#include "ivl/core/usable_memory.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

/// What /proc and /sys of some machine say.
class MemoryRoot {
 public:
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = folder_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::int64_t bytes() const { return usable_memory_bytes(folder_.path().string()).value_or(-1); }

 private:
  test::TemporaryFolder folder_;
};

TEST_CASE("usable memory is the machine's where no control group has less") {
  const MemoryRoot root;
  CHECK(root.bytes() == -1);
  root.write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:  5 kB\nMemAvailable:    4000 kB\n");
  CHECK(root.bytes() == 4096000);
  root.write("proc/self/cgroup", "0::/outer/inner\n");
  root.write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  root.write("sys/fs/cgroup/outer/inner/memory.current", "1000\n");
  CHECK(root.bytes() == 4096000);
  root.write("sys/fs/cgroup/outer/memory.max", "3000000\n");
  root.write("sys/fs/cgroup/outer/memory.current", "1000000\n");
  CHECK(root.bytes() == 2000000);
  root.write("sys/fs/cgroup/outer/memory.stat", "anon 700000\nfile 300000\ninactive_file 200000\nactive_file 50000\n");
  CHECK(root.bytes() == 2250000);
  root.write("sys/fs/cgroup/outer/memory.current", "9000000\n");
  CHECK(root.bytes() == 0);
}

TEST_CASE("usable memory of a control group of version 1") {
  const MemoryRoot root;
  root.write("proc/self/cgroup", "9:cpuset:/\n4:memory:/docker/1f\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
  CHECK(root.bytes() > std::int64_t(1) << 60);
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "8000\n");
  root.write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\ntotal_active_file 100\n");
  CHECK(root.bytes() == 3600);
}

#ifdef __linux__
TEST_CASE("some memory is usable here") { CHECK(usable_memory_bytes().value_or(0) > 1 << 20); }
#endif

}  // namespace
