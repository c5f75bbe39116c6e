// Flags that the CPU's benchmarks share.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/cpu/context.hpp"

namespace ivl::bench {

struct Options {
  int threads = usable_cpus();
  std::string only;  ///< figures with this in their name; empty: all
  bool json = false;
  cpu::Numbers numbers = cpu::Numbers::exact;
  GgufMixture weights = GgufMixture::bf16;  ///< of whole models

  void add_to(CLI::App& app) {
    app.add_option("--threads", threads, "of the CPU")->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--only", only, "figures with this in their name");
    app.add_flag("--json", json, "one object a line");
  }
  /// Of programs that multiply any matrices.
  void add_numbers_to(CLI::App& app) {
    app.add_option_function<std::string>(
           "--numbers",
           [this](const std::string& name) { numbers = name == "int8" ? cpu::Numbers::int8 : cpu::Numbers::exact; },
           "of matrix products on the CPU")
        ->default_str("exact")
        ->check(CLI::IsMember({"exact", "int8"}));
  }
  bool wanted(std::string_view name) const { return name.find(only) != name.npos; }
};

}  // namespace ivl::bench
