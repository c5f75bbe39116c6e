// Runs the examples as a user does, through the shell.
#pragma once
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temporary_folder.hpp"
#include "tests/support/text.hpp"

namespace ivl::programs {

using ivl_test::contains;

/// Of this test program alone.
inline const test::TemporaryFolder& work_folder() {
  static const test::TemporaryFolder folder;
  return folder;
}

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Ran {
  int code = -1;
  std::string out, err;
};

/// `command` begins with a program's name. What it reads from standard input is `input`.
inline Ran run(const std::string& command, const std::string& input = "") {
  const auto file = [](const char* name) { return (work_folder() / name).string(); };
  std::ofstream(file("in"), std::ios::binary) << input;
  // A redirection within `command` comes later, and wins.
  const std::string line = "cd " IVL_SOURCE_DIR " && exec <" + file("in") + " >" + file("out") + " 2>" + file("err") +
                           "; " IVL_BIN_DIR "/" + command;
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(file("out")), text_of(file("err"))};
}

inline const std::string toy = " --checkpoint examples/drawn_scenes/checkpoint --threads 1";
inline const std::string demo = "examples/drawn_scenes/demo/";
inline const std::string balloons = " --image " + demo + "balloons.png --question \"How many red circles are there?\"";

}  // namespace ivl::programs
