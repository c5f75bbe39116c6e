// How every program of this folder starts, prints and ends.
//
// Exit codes: 0 done; 1 an error, which one line on stderr tells; 2 flags that are wrong; 130 ended by Ctrl-C.
#pragma once
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "ivl/core/level.hpp"
#include "ivl/core/version.hpp"

/// Standard output is lost, such as on a full disk. No ivl::Error: no other question or file would help.
struct OutputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail_output() {
  const int code = errno;
  throw OutputError("standard output: cannot write: " +
                    (code ? std::generic_category().message(code) : "a part of it is lost"));
}

/// To standard output. Throws OutputError where the text does not arrive.
inline void print_text(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) fail_output();
}

/// Reads the flags, --help and --version among them, and runs body(), which may return an exit code. Anything thrown
/// becomes one line on stderr.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, Body&& body) {
  const std::string built_for(name_of(ivl::compiled_level));
  if (app.get_footer().empty())
    app.footer("Exit codes: 0 done, 1 an error (one line on stderr), 2 wrong flags, 130 ended by Ctrl-C.");
  app.set_version_flag("--version", "ivl " + std::string(ivl::version) + ", built for " + built_for);
  try {
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& said) {  // --help and --version too
      const bool wrong = app.exit(said) != 0;
      if (!std::cout.flush()) fail_output();
      return wrong ? 2 : 0;
    }
    int code = 0;
    if constexpr (std::is_void_v<decltype(body())>)
      body();
    else
      code = body();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) || !std::cout.flush()) fail_output();
    return code;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
