// bench_model --checkpoint-type internvl3_5_1b [--device cpu|cuda] [--weights q4_k_m] [--numbers exact|int8]
//             [--threads N] [--only NAME] [--json]: see model.hpp.
#include "bench/model.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "bench/ceilings.hpp"
#include "ivl/cpu/cpu.hpp"

namespace {

using namespace ivl;

class CpuMachine {
 public:
  using Context = cpu::Context;

  explicit CpuMachine(Context& ctx) : ctx_(ctx), reads_(ctx) {}

  static std::unique_ptr<bench::Filled<Context>> open(const bench::Options& options, std::size_t) {
    return std::make_unique<bench::Filled<Context>>(options.threads, options.numbers);
  }
  static void wait(Context&) {}

  /// The most memory that this process ever had (VmHWM).
  static double peak_mib(Context&) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmHWM:")) return double(std::stoll(line.substr(6))) / 1024;
    }
    fail<Error>("/proc/self/status: expected a line VmHWM, found none");
  }

  std::string description() const {
    std::ostringstream text;
    text << name_of(ctx_.level()) << ", " << ctx_.threads() << " threads";
    if (ctx_.numbers() == cpu::Numbers::int8) text << ", products in int8";
    if (const std::string formats = exact_formats(ctx_); !formats.empty()) text << " but those with " << formats;
    text << "; ceilings: reading memory, " << bench::arithmetic_name();
    return text.str();
  }
  double read_bytes_per_s() { return reads_.sample(); }
  double flops_per_s() { return bench::arithmetic_sample(ctx_); }

 private:
  Context& ctx_;
  bench::ReadCeiling reads_;
};

template <VlmConfig C>
constexpr auto run = bench::run_model<C, CpuMachine>;

const bench::CheckpointTypes checkpoint_types = {
    {"drawn_scenes", run<drawn_scenes>},
    {"internvl3_1b", run<internvl3_1b>},
    {"internvl3_2b", run<internvl3_2b>},
    {"internvl3_8b", run<internvl3_8b>},
    {"internvl3_14b", run<internvl3_14b>},
    {"internvl3_38b", run<internvl3_38b>},
    {"internvl3_78b", run<internvl3_78b>},
    {"internvl3_5_1b", run<internvl3_5_1b>},
    {"internvl3_5_2b", run<internvl3_5_2b>},
    {"internvl3_5_4b", run<internvl3_5_4b>},
    {"internvl3_5_8b", run<internvl3_5_8b>},
    {"internvl3_5_14b", run<internvl3_5_14b>},
    {"internvl3_5_38b", run<internvl3_5_38b>},
    {"internvl3_5_gpt_oss_20b_a4b_6_layers", run<bench::with_layers(internvl3_5_gpt_oss_20b_a4b, 6)>},
    {"internvl3_5_30b_a3b_6_layers", run<bench::with_layers(internvl3_5_30b_a3b, 6)>},
};

}  // namespace

int main(int count, char** arguments) {
  std::string type, device = "cpu", weights = "bf16";
  bench::Options options;
  CLI::App app("Speed and memory of a model with random weights");
  app.add_option("--checkpoint-type", type, "whose shapes")->required();
  app.add_option("--device", device, "cpu or cuda")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
  std::vector<std::string> mixtures;
  for (const auto& row : detail::mixture_rows) mixtures.emplace_back(row.name);
  app.add_option("--weights", weights, "the mixture of types that a GGUF file would hold")
      ->capture_default_str()
      ->check(CLI::IsMember(mixtures));
  options.add_to(app);
  options.add_numbers_to(app);
  CLI11_PARSE(app, count, arguments);
  options.weights = *find_mixture(weights);
  try {
    if (device == "cuda" && options.numbers == cpu::Numbers::int8)
      fail<Error>("--numbers int8: expected --device cpu, found cuda");
    if (device == "cuda")
      bench::run_on_cuda(type, options);
    else
      bench::run_type(checkpoint_types, type, options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_model: %s\n", error.what());
    return 1;
  }
}
