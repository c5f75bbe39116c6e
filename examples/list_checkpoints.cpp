// What there is to run, how large it is, what a token costs, and whether it fits here; or what a checkpoint holds. The
// costs are counted: each checkpoint's layers run through a context that computes nothing.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/ceilings.hpp"
#include "checkpoint_contents.hpp"
#include "ivl/config/published.hpp"
#include "ivl/core/usable_memory.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/image/tile_grid.hpp"
#include "ivl/model/predict.hpp"
#include "program.hpp"

using Json = nlohmann::ordered_json;

/// Memory of the largest GPU that nvidia-smi knows; nothing without a GPU.
static std::optional<std::int64_t> gpu_memory_bytes() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen("nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null", "r"), pclose);
  std::optional<std::int64_t> most;
  long long mib = 0;
  while (pipe && std::fscanf(pipe.get(), "%lld", &mib) == 1) most = std::max<std::int64_t>(most.value_or(0), mib << 20);
  return most;
}

/// What the layers of a checkpoint would do, over weights in the smallest format that its files may have.
template <std::size_t Row>
static ivl::Prediction prediction_of(int context) {
  constexpr const ivl::PublishedCheckpoint& p = ivl::published_checkpoints[Row];
  ivl::ModelFacts facts;
  facts.family = p.family;
  facts.vocab_rows = p.vocab_rows;
  return ivl::predict<p.config>(facts, context, ivl::StoredAs::mxfp4);
}

template <std::size_t... Row>
static std::vector<ivl::Prediction> predictions(int context, std::index_sequence<Row...>) {
  return {prediction_of<Row>(context)...};
}

static Json json_of(const ivl::Tally& tally) {
  return {{"flops", std::int64_t(tally.flops)}, {"bytes", std::int64_t(tally.bytes())}};
}

/// Bytes a second that all threads together read, the best of three times; nothing where memory is short for it.
static std::optional<double> read_bandwidth(std::optional<std::int64_t> usable_bytes) {
  if (usable_bytes.value_or(0) < std::int64_t(2) << 30) return std::nullopt;
  ivl::cpu::Context ctx;
  ivl::bench::ReadCeiling ceiling(ctx);
  double best = 0;
  for (int i = 0; i < 3; ++i) best = std::max(best, ceiling.sample());
  return best;
}

static void print_contents(const std::string& path, const std::string& mmproj, int context, bool as_json) {
  const CheckpointContents contents(path, mmproj);
  const auto memory = ivl::usable_memory_bytes();
  context = std::min(context, contents.config.facts.context_length);
  const std::int64_t kv = contents.kv_bytes_per_token(), needed = contents.placed_bytes + kv * context;
  const auto bandwidth = read_bandwidth(memory);
  const double token = double(contents.bytes_per_token(context));
  if (as_json) {
    Json line = contents.json();
    line["fits"] = {{"context", context}, {"cpu", memory ? Json(needed <= *memory) : Json(nullptr)}};
    line["speed"] = {{"bytes_per_token", contents.bytes_per_token(context)},
                     {"read_bytes_per_second", bandwidth ? Json(*bandwidth) : Json(nullptr)},
                     {"tokens_per_second_at_most", bandwidth ? Json(*bandwidth / token) : Json(nullptr)}};
    return print_text(line.dump() + "\n");
  }
  std::printf("type:     %s (%s, %d layers)\ncontext:  %d tokens, %lld bytes of keys and values each\n",
              contents.type.c_str(), std::string(name_of(contents.config.facts.family)).c_str(),
              contents.config.vlm.decoder.layers, contents.config.facts.context_length, static_cast<long long>(kv));
  std::printf("weights:  %.3f GB\nfits:     with %d tokens %.3f GB, %s\n", double(contents.bytes) / 1e9, context,
              double(needed) / 1e9,
              !memory             ? "of memory that is not known"
              : needed <= *memory ? "which is free on this machine"
                                  : "more than is free on this machine");
  if (bandwidth)
    std::printf(
        "speed:    at most %.1f tokens a second on this CPU, whose threads read %.1f GB a second here and now: a token "
        "behind %d reads %.3f GB\n\n",
        *bandwidth / token, *bandwidth / 1e9, context, token / 1e9);
  else
    std::printf("speed:    not measured, which takes 2 GiB of free memory\n\n");
  std::printf("%-36s %-8s %8s %12s\n", "kind", "format", "tensors", "MB");
  for (const auto& [key, count] : contents.counts)
    std::printf("%-36s %-8s %8d %12.3f\n", key.first.c_str(), key.second.c_str(), count.tensors,
                double(count.bytes) / 1e6);
}

int main(int argc, char** argv) {
  CLI::App app(
      "Lists the checkpoints that the library runs: parameters, bytes, tokens of a picture, and whether they fit "
      "here.\nOr what one on disk holds: its structure, and which tensors are in which format.");
  bool json = false;
  std::string path, mmproj;
  int width = 1920, height = 1080, max_tiles = 12, context = 4096;
  auto* of_path = app.add_option("path", path, "checkpoint folder or GGUF file (default: all that the library runs)");
  app.add_option("--mmproj", mmproj,
                 "of a GGUF file: the GGUF file of its tower and projector (default: the one that lies beside it)")
      ->needs(of_path);
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

  return run_program(app, argc, argv, [&] {
    if (!path.empty()) return print_contents(path, mmproj, context, json);
    const auto cpu = ivl::usable_memory_bytes(), gpu = gpu_memory_bytes();
    const auto gib = [](std::int64_t bytes) { return double(bytes) / (1 << 30); };
    if (!json) {
      std::printf("memory: CPU %s, GPU %s\n\n",
                  cpu ? (std::to_string(int(gib(*cpu))) + " GiB free").c_str() : "unknown",
                  gpu ? (std::to_string(int(gib(*gpu))) + " GiB").c_str() : "none found");
      std::printf("%-28s %12s %10s %10s %10s %12s %8s %10s %10s %12s   %s\n", "type", "parameters", "active",
                  "bf16 GiB", "mxfp4 GiB", "KV B/token", "tokens", "Gflop/tok", "GB/tok", "Tflop/tile", "fits");
    }
    const auto predicted = predictions(context, std::make_index_sequence<std::size(ivl::published_checkpoints)>{});
    for (std::size_t row = 0; row < predicted.size(); ++row) {
      const ivl::PublishedCheckpoint& p = ivl::published_checkpoints[row];
      const ivl::Prediction& prediction = predicted[row];
      const ivl::VlmConfig& c = p.config;
      const std::int64_t kv = ivl::kv_bytes_per_token(c.decoder);
      Json bytes = {{"bf16", ivl::weight_bytes(c, p.vocab_rows)}};
      if (c.decoder.attention.sinks)
        bytes["mxfp4"] = ivl::weight_bytes_mxfp4(c, p.vocab_rows);  // what GPT-OSS's files may hold
      const ivl::TileRules rules{.tile_px = c.vit.tile_px, .min_tiles = 1, .max_tiles = max_tiles, .thumbnail = true};
      const int tiles = ivl::choose_grid(width, height, rules).tiles(rules);
      const std::int64_t least = prediction.weight_bytes + kv * context;
      const auto fits = [&](std::optional<std::int64_t> memory) {
        return memory ? Json(least <= *memory) : Json(nullptr);
      };
      const std::int64_t parameters = ivl::parameters(c, p.vocab_rows),
                         active = ivl::active_parameters(c, p.vocab_rows);
      if (json) {
        const Json line = {
            {"type", p.type},
            {"name", p.name},
            {"parameters", parameters},
            {"active_parameters", active},
            {"bytes", bytes},
            {"kv_bytes_per_token", kv},
            {"picture",
             {{"width", width}, {"height", height}, {"tiles", tiles}, {"tokens", tiles * c.tokens_per_tile()}}},
            {"context", context},
            {"prediction",
             {{"tile", json_of(prediction.tile)},
              {"prompt", json_of(prediction.prefill)},
              {"token", json_of(prediction.token)}}},
            {"fits", {{"cpu", fits(cpu)}, {"gpu", fits(gpu)}}}};
        print_text(line.dump() + "\n");
        continue;
      }
      std::string places;
      if (cpu && least <= *cpu) places += "CPU ";
      if (gpu && least <= *gpu) places += "GPU ";
      char mxfp4[32] = "-";
      if (bytes.contains("mxfp4")) std::snprintf(mxfp4, sizeof mxfp4, "%.1f", gib(bytes["mxfp4"]));
      std::printf("%-28s %10.2f B %8.2f B %10.1f %10s %12lld %8d %10.1f %10.2f %12.2f   %s\n",
                  std::string(p.type).c_str(), double(parameters) / 1e9, double(active) / 1e9, gib(bytes["bf16"]),
                  mxfp4, static_cast<long long>(kv), tiles * c.tokens_per_tile(), prediction.token.flops / 1e9,
                  prediction.token.bytes() / 1e9, prediction.tile.flops / 1e12, places.empty() ? "-" : places.c_str());
    }
    if (!json)
      std::printf(
          "\ntokens: of a picture of %d x %d px in at most %d tiles; Gflop and GB: of one more token behind %d, "
          "weights in the smallest format;\nfits: those weights and the keys and values of %d tokens\n",
          width, height, max_tiles, context, context);
  });
}
