// Flags that the CPU's benchmarks share.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/core/thread_pool.hpp"

namespace ivl::bench {

struct Options {
  int threads = usable_cpus();
  std::string only;  ///< figures with this in their name; empty: all
  bool json = false;
  GgufMixture weights = GgufMixture::bf16;  ///< of whole models

  void add_to(CLI::App& app) {
    app.add_option("--threads", threads, "of the CPU")->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--only", only, "figures with this in their name");
    app.add_flag("--json", json, "one object a line");
  }
  bool wanted(std::string_view name) const { return name.find(only) != name.npos; }
};

}  // namespace ivl::bench
