// What there is to run, how large it is, and whether it fits here.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ivl/config/published.hpp"
#include "ivl/image/tile_grid.hpp"

using Json = nlohmann::ordered_json;

/// Memory that programs can still have, by /proc/meminfo; nothing where there is no such file.
static std::optional<std::int64_t> cpu_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoll(line.substr(13)) * 1024;
  }
  return std::nullopt;
}

/// Memory of the largest GPU that nvidia-smi knows; nothing where there is none.
static std::optional<std::int64_t> gpu_memory_bytes() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen("nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null", "r"), pclose);
  std::optional<std::int64_t> most;
  long long mib = 0;
  while (pipe && std::fscanf(pipe.get(), "%lld", &mib) == 1) most = std::max<std::int64_t>(most.value_or(0), mib << 20);
  return most;
}

int main(int argc, char** argv) {
  CLI::App app(
      "Lists the checkpoints that the library runs: parameters, bytes, tokens of a picture, and whether they fit "
      "here.");
  bool json = false;
  int width = 1920, height = 1080, max_tiles = 12, context = 4096;
  app.add_flag("--json", json, "one JSON object a checkpoint, a line each");
  app.add_option("--width", width, "of the picture whose tokens are counted, px")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--height", height, "px")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--max-tiles", max_tiles, "most tiles of the picture")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--context", context, "tokens whose keys and values must fit beside the weights")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  const auto cpu = cpu_memory_bytes(), gpu = gpu_memory_bytes();
  const auto gib = [](std::int64_t bytes) { return double(bytes) / (1 << 30); };
  if (!json) {
    std::printf("memory: CPU %s, GPU %s\n\n", cpu ? (std::to_string(int(gib(*cpu))) + " GiB free").c_str() : "unknown",
                gpu ? (std::to_string(int(gib(*gpu))) + " GiB").c_str() : "none found");
    std::printf("%-28s %12s %10s %10s %10s %12s %8s   %s\n", "type", "parameters", "active", "bf16 GiB", "mxfp4 GiB",
                "KV B/token", "tokens", "fits");
  }
  for (const ivl::PublishedCheckpoint& p : ivl::published_checkpoints) {
    const ivl::VlmConfig& c = p.config;
    const std::int64_t kv = ivl::kv_bytes_per_token(c.decoder);
    Json bytes = {{"bf16", ivl::weight_bytes(c, p.vocab_rows)}};
    if (c.decoder.attention.sinks)
      bytes["mxfp4"] = ivl::weight_bytes_mxfp4(c, p.vocab_rows);  // what GPT-OSS's files may hold
    const ivl::TileRules rules{.tile_px = c.vit.tile_px, .min_tiles = 1, .max_tiles = max_tiles, .thumbnail = true};
    const int tiles = ivl::choose_grid(width, height, rules).tiles(rules);
    const std::int64_t least = bytes.back().get<std::int64_t>() + kv * context;
    const auto fits = [&](std::optional<std::int64_t> memory) {
      return memory ? Json(least <= *memory) : Json(nullptr);
    };
    const std::int64_t parameters = ivl::parameters(c, p.vocab_rows), active = ivl::active_parameters(c, p.vocab_rows);
    if (json) {
      std::cout
          << Json{{"type", p.type},
                  {"name", p.name},
                  {"parameters", parameters},
                  {"active_parameters", active},
                  {"bytes", bytes},
                  {"kv_bytes_per_token", kv},
                  {"picture",
                   {{"width", width}, {"height", height}, {"tiles", tiles}, {"tokens", tiles * c.tokens_per_tile()}}},
                  {"context", context},
                  {"fits", {{"cpu", fits(cpu)}, {"gpu", fits(gpu)}}}}
          << '\n';
      continue;
    }
    std::string places;
    if (cpu && least <= *cpu) places += "CPU ";
    if (gpu && least <= *gpu) places += "GPU ";
    char mxfp4[32] = "-";
    if (bytes.contains("mxfp4")) std::snprintf(mxfp4, sizeof mxfp4, "%.1f", gib(bytes["mxfp4"]));
    std::printf("%-28s %10.2f B %8.2f B %10.1f %10s %12lld %8d   %s\n", std::string(p.type).c_str(),
                double(parameters) / 1e9, double(active) / 1e9, gib(bytes["bf16"]), mxfp4, static_cast<long long>(kv),
                tiles * c.tokens_per_tile(), places.empty() ? "-" : places.c_str());
  }
  if (!json)
    std::printf(
        "\ntokens: of a picture of %d x %d px in at most %d tiles; fits: weights in the smallest format and %d "
        "tokens\n",
        width, height, max_tiles, context);
}
