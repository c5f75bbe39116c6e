// Loading and answering takes the memory of the weights and little more. Measured in a process of its own.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/runner.hpp"
#include "ivl/serve/chat.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__)  // which multiplies memory and time: the test then only runs
constexpr bool is_measured = false;
#else
constexpr bool is_measured = true;
#endif

/// So large that a second copy of the weights cannot hide behind what the bounds allow for other things.
constexpr VlmConfig mid_size{.vit = {.layers = 2, .hidden = 256, .heads = 4, .mlp_hidden = 1024, .tile_px = 112},
                             .projector = {},
                             .decoder = {.layers = is_measured ? 8 : 1,
                                         .hidden = 1024,
                                         .attention = {.heads = 8, .kv_heads = 4, .head_dim = 64, .head_norm = true},
                                         .mlp_hidden = 3072}};
constexpr int vocab_rows = is_measured ? 30000 : 2000, kv_tokens = 1024;
constexpr std::int64_t mib = 1 << 20;
constexpr const char* folder_variable = "IVL_MEMORY_TEST_FOLDER";

/// The largest resident size that this process ever had.
std::int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::stoll(line.substr(6));
  }
  return -1;
}

struct WrittenSizes {
  std::int64_t all = 0, largest = 0;
};

/// A random checkpoint in three shards.
WrittenSizes write_checkpoint(const fs::path& folder) {
  fs::copy_file(tiny_folder("qwen3_tiny", "hf") / "tokenizer.json", folder / "tokenizer.json");
  Json config = read_json(tiny_folder("qwen3_tiny", "hf") / "config.json");
  config.erase("image_seq_length");  // of other sizes
  Json &vision = config["vision_config"], &text = config["text_config"];
  vision["num_hidden_layers"] = mid_size.vit.layers;
  vision["hidden_size"] = mid_size.vit.hidden;
  vision["num_attention_heads"] = mid_size.vit.heads;
  vision["intermediate_size"] = mid_size.vit.mlp_hidden;
  vision["image_size"] = mid_size.vit.tile_px;
  text["num_hidden_layers"] = mid_size.decoder.layers;
  text["hidden_size"] = mid_size.decoder.hidden;
  text["num_attention_heads"] = mid_size.decoder.attention.heads;
  text["num_key_value_heads"] = mid_size.decoder.attention.kv_heads;
  text["head_dim"] = mid_size.decoder.attention.head_dim;
  text["intermediate_size"] = mid_size.decoder.mlp_hidden;
  text["vocab_size"] = vocab_rows;
  std::ofstream(folder / "config.json") << config;

  Vlm<mid_size> vlm;
  vlm.facts.format = FolderFormat::hf;
  vlm.facts.vocab_rows = vocab_rows;
  // Every tensor is the beginning of these.
  const auto pool = random_values<bf16>(std::max(vocab_rows, 4096) * mid_size.decoder.hidden, 0, 0.05f, 1);
  std::vector<NamedTensor> shards[3];
  Json map = Json::object();
  WrittenSizes sizes;
  const Binding wanted = bind_weights(weight_slots(vlm), vlm.facts, NoTensors{});
  Binding::each_tensor(wanted, [&](const BoundTensor& tensor) {
    const std::size_t number = std::size_t(*elements_of(tensor.shape));
    const std::size_t shard = map.size() % 3;
    map[tensor.name] = "part-" + std::to_string(shard) + ".safetensors";
    shards[shard].push_back({tensor.name, {Dtype::bf16, tensor.shape, std::as_bytes(std::span(pool).first(number))}});
    sizes.all += std::int64_t(number) * 2;
    sizes.largest = std::max(sizes.largest, std::int64_t(number) * 2);
  });
  for (int shard = 0; shard < 3; ++shard)
    write_safetensors(folder / ("part-" + std::to_string(shard) + ".safetensors"), shards[shard]);
  std::ofstream(folder / "model.safetensors.index.json") << Json{{"weight_map", map}};
  return sizes;
}

TEST_CASE("child of the memory test" * doctest::skip()) {
  const char* folder = std::getenv(folder_variable);
  REQUIRE(folder != nullptr);
  const std::int64_t before = peak_bytes();
  cpu::Context ctx(2);
  const auto checkpoint = load<mid_size>(ctx, folder);
  const std::int64_t loaded = peak_bytes();
  Runner runner(ctx, checkpoint.vlm);
  Chat chat(runner, checkpoint.processor, {.kv_tokens = kv_tokens});
  chat.ask("What is this?", {{noise_picture(300, 200, 1)}}, {.max_new_tokens = 5});
  CHECK(chat.statistics().new_tokens == 5);
  std::ofstream(fs::path(folder) / "peaks") << before << ' ' << loaded << ' ' << peak_bytes();
}

TEST_CASE("Peak memory is the weights, the keys and values, and little more") {
  const test::TemporaryFolder folder;
  const WrittenSizes weights = write_checkpoint(folder.path());
  if (is_measured) REQUIRE(weights.all > 280 * mib);

  REQUIRE(::setenv(folder_variable, folder.path().c_str(), 1) == 0);
  std::string arguments[] = {"memory_test", "--no-skip", "--test-case=child of the memory test"};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(), nullptr};
  posix_spawn_file_actions_t quiet;
  REQUIRE(::posix_spawn_file_actions_init(&quiet) == 0);
  REQUIRE(::posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0) == 0);
  ::pid_t child = 0;
  REQUIRE(::posix_spawn(&child, "/proc/self/exe", &quiet, nullptr, argv, environ) == 0);
  ::posix_spawn_file_actions_destroy(&quiet);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);

  std::int64_t before = 0, loaded = 0, answered = 0;
  std::ifstream(folder / "peaks") >> before >> loaded >> answered;
  REQUIRE(answered >= loaded);
  REQUIRE(loaded >= before);
  REQUIRE(before > 0);
  const std::int64_t kv = kv_bytes_per_token(mid_size.decoder) * kv_tokens;
  MESSAGE("weights " << weights.all / mib << " MiB, peaks: " << before / mib << " MiB before loading, " << loaded / mib
                     << " loaded, " << answered / mib << " after an answer; keys and values " << kv / mib);
  if (!is_measured) return;
  CHECK(loaded >= weights.all);
  CHECK(answered <= std::int64_t(double(weights.all) * 1.15) + kv + 300 * mib);
  // While loading, the largest tensor is there twice: in the file's pages and placed.
  CHECK(loaded - before <= weights.all + weights.largest + 16 * mib);
  CHECK(answered - before <= weights.all + std::max(weights.largest, kv + 32 * mib) + 16 * mib);
}

}  // namespace
