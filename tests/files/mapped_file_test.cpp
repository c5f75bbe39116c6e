#include "ivl/files/mapped_file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/temporary_folder.hpp"

using namespace ivl;

namespace {

/// Bytes of this process's memory that files back.
long resident_file_bytes() {
  std::ifstream status("/proc/self/statm");
  long total_pages = 0, resident_pages = 0, file_pages = -1;
  status >> total_pages >> resident_pages >> file_pages;
  REQUIRE(file_pages >= 0);
  return file_pages * ::sysconf(_SC_PAGESIZE);
}

int sum(std::span<const std::byte> bytes) {
  int total = 0;
  for (const std::byte byte : bytes) total += int(byte);
  return total;
}

}  // namespace

TEST_CASE("a mapped file shows its bytes, also after a move") {
  const test::TemporaryFolder folder;
  MappedFile file(folder.write("three", "abc"));
  const MappedFile moved(std::move(file));
  REQUIRE(moved.bytes().size() == 3);
  CHECK(moved.bytes()[2] == std::byte('c'));
  MappedFile assigned(folder.write("other", "x"));
  assigned = MappedFile(folder / "three");
  CHECK(assigned.bytes().size() == 3);
}

TEST_CASE("releasing pages gives memory back and leaves the bytes readable") {
  const test::TemporaryFolder folder;
  const std::string content(std::size_t(16) << 20, 'a');
  const MappedFile file(folder.write("big", content));
  const int want = sum(file.bytes());
  const long before = resident_file_bytes();
  file.release(file.bytes());
  CHECK(before - resident_file_bytes() > long(15) << 20);
  CHECK(sum(file.bytes()) == want);
}

TEST_CASE("only whole pages inside the range are released") {
  const test::TemporaryFolder folder;
  const MappedFile file(folder.write("small", std::string(10000, 'a')));
  for (const std::size_t begin : {0, 1, 4095, 4096, 4097, 9999, 10000}) {
    for (std::size_t size = 0; begin + size <= 10000; size += 1111) file.release(file.bytes().subspan(begin, size));
  }
  CHECK(sum(file.bytes()) == 10000 * 'a');
}

TEST_CASE("what cannot be mapped is named with its reason") {
  const test::TemporaryFolder folder;
  const auto error = [&](const char* name) {
    return test::error_of<FileError>([&] { MappedFile file(folder / name); });
  };
  const std::string path = (folder / "").string();
  SUBCASE("missing") { CHECK(error("nothing") == path + "nothing: cannot open: No such file or directory"); }
  SUBCASE("a folder") {
    std::filesystem::create_directory(folder / "inside");
    CHECK(error("inside") == path + "inside: expected a regular file, found a folder");
  }
  SUBCASE("empty") {
    folder.write("empty", "");
    CHECK(error("empty") == path + "empty: the file is empty");
  }
  SUBCASE("a named pipe, without waiting for a writer") {
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK(error("pipe") == path + "pipe: expected a regular file, found a named pipe");
  }
  SUBCASE("a device") {
    CHECK(test::error_of<FileError>([] { MappedFile file("/dev/zero"); }) ==
          "/dev/zero: expected a regular file, found a device or socket");
  }
}
