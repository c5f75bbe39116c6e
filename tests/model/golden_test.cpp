// Tiny random checkpoints of every dense architecture against what transformers computes from them
// (tests/golden/make_models.py), in both file formats.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "../support/run_model.hpp"
#include "ivl/io/json.hpp"
#include "ivl/io/safetensors.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/engine.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

constexpr VlmConfig qwen3_tiny{
    .vit = {.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 80, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 3, .hidden = 48, .attention = {.heads = 5, .kv_heads = 1, .head_dim = 32, .head_norm = true}, .mlp_hidden = 48}};
constexpr VlmConfig qwen3_small_stream{
    .vit = {.layers = 1, .hidden = 64, .heads = 1, .mlp_hidden = 48, .tile_px = 112},
    .projector = {},
    .decoder = {.layers = 1, .hidden = 80, .attention = {.heads = 2, .kv_heads = 1, .head_dim = 128, .head_norm = true}, .mlp_hidden = 112}};
constexpr VlmConfig qwen2_gqa7{
    .vit = {.layers = 3, .hidden = 32, .heads = 1, .mlp_hidden = 112, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 3, .hidden = 48, .attention = {.heads = 7, .kv_heads = 1, .head_dim = 32, .qkv_bias = true}, .mlp_hidden = 48}};
constexpr VlmConfig qwen2_dynamic{
    .vit = {.layers = 1, .hidden = 32, .heads = 1, .mlp_hidden = 48, .tile_px = 84},
    .projector = {},
    .decoder = {.layers = 3, .hidden = 64, .attention = {.heads = 2, .kv_heads = 1, .head_dim = 32, .qkv_bias = true}, .mlp_hidden = 80}};
constexpr VlmConfig vit6b_qwen3{
    .vit = {.layers = 1, .hidden = 96, .heads = 3, .mlp_hidden = 112, .tile_px = 56, .norm = NormKind::rms_norm, .qkv_bias = false, .qk_norm = true},
    .projector = {},
    .decoder = {.layers = 1, .hidden = 48, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64, .head_norm = true}, .mlp_hidden = 80}};

/// One golden file: what transformers made of one prompt.
struct Golden {
  explicit Golden(const fs::path& path)
      : tensors(path), facts(read_json(fs::path(path).replace_extension(".json"))), name(path.stem().string()) {}

  bool has(const std::string& tensor) const { return tensors.find(tensor) != nullptr; }
  std::vector<float> floats(const std::string& tensor) const {
    const TensorView& view = require(tensor);
    std::vector<float> values(std::size_t(*elements_of(view.shape)));
    if (view.dtype == Dtype::bf16) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        bf16 value;
        std::memcpy(&value, view.bytes.data() + 2 * i, 2);
        values[i] = to_float(value);
      }
    } else {
      REQUIRE(view.dtype == Dtype::f32);
      std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    }
    return values;
  }
  std::vector<std::int32_t> ints(const std::string& tensor) const {
    const TensorView& view = require(tensor);
    REQUIRE(view.dtype == Dtype::i32);
    std::vector<std::int32_t> values(view.bytes.size() / 4);
    std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    return values;
  }
  double number(const char* key) const { return field<double>(facts, key, name); }

  Safetensors tensors;
  Json facts;
  std::string name;

 private:
  const TensorView& require(const std::string& tensor) const {
    const TensorView* view = tensors.find(tensor);
    REQUIRE_MESSAGE(view != nullptr, tensor);
    return *view;
  }
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double(a[i]) - double(b[i]));
    if (!std::isfinite(difference)) return HUGE_VAL;
    largest = std::max(largest, difference);
  }
  return largest;
}

/// Kullback-Leibler divergence of softmax(other) from softmax(exact), in double.
double divergence(const float* exact, const float* other, int width) {
  const auto log_sum = [width](const float* logits) {
    const double largest = *std::max_element(logits, logits + width);
    double sum = 0;
    for (int i = 0; i < width; ++i) sum += std::exp(logits[i] - largest);
    return largest + std::log(sum);
  };
  const double a = log_sum(exact), b = log_sum(other);
  double kl = 0;
  for (int i = 0; i < width; ++i) kl += std::exp(exact[i] - a) * ((exact[i] - a) - (other[i] - b));
  return kl;
}

std::vector<std::int32_t> greedy(cpu::Context& ctx, const auto& checkpoint, const Golden& golden, const std::vector<std::int32_t>& sources,
                                 const std::vector<float>& image_rows, int max_rows) {
  constexpr VlmConfig config = std::remove_cvref_t<decltype(checkpoint.vlm)>::config;
  Engine<config, cpu::Context, float> engine(ctx, checkpoint.vlm, {.kv_tokens = int(sources.size()) + 64, .max_rows = max_rows});
  Prompt prompt{sources, {}};
  prompt.images.rows = int(image_rows.size()) / config.decoder.hidden;
  prompt.images.memory = allocate(ctx, image_rows.size() * sizeof(float));
  upload(ctx, prompt.images.memory.data, image_rows.data(), image_rows.size() * sizeof(float));
  const auto sequence = engine.start(checkpoint.processor.tokenizer(), prompt, {.max_new_tokens = int(golden.ints("greedy_ids").size())});
  while (engine.step()) {
  }
  return {sequence->generated().begin(), sequence->generated().end()};
}

template <VlmConfig C>
void check_golden(cpu::Context& ctx, const Checkpoint<C>& checkpoint, const Golden& golden) {
  CAPTURE(golden.name);
  const Vlm<C>& vlm = checkpoint.vlm;
  const int vocabulary = vlm.facts.vocab_rows;
  const auto ids = golden.ints("input_ids");

  // The prompt's text gives the reference's ids, and its <IMG_CONTEXT> tokens are where pictures go.
  int rows = 0;
  for (const int tiles : field<std::vector<int>>(golden.facts, "tiles", golden.name)) rows += tiles * C.tokens_per_tile();
  const auto text = field<std::string>(golden.facts, "prompt", golden.name);
  std::vector<std::int32_t> sources = checkpoint.processor.sources(text, rows);
  REQUIRE(sources.size() == ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) REQUIRE((sources[i] == ids[i] || sources[i] < 0));

  // Both sides round in float; the reference's logits are this far from its own in double, ours may be as far three
  // times over (another order of sums), and stages before the logits stay within that of their own size.
  const double logits_bound = 4 * golden.number("float32_to_float64_max");
  const double relative_bound = logits_bound / golden.number("logits_std");
  const Look look = [&](const std::string& stage, const std::vector<float>& values) {
    if (!golden.has(stage)) return;
    CAPTURE(stage);
    const auto want = golden.floats(stage);
    double square = 0;
    for (const float value : want) square += double(value) * value;
    const double size = std::sqrt(square / double(want.size()));
    const double difference = largest_difference(values, want);
    CHECK(difference <= relative_bound * size);
  };
  std::vector<float> image_rows;
  if (rows > 0) image_rows = run_vision<float>(ctx, vlm, golden.floats("pixel_values"), look);
  const auto logits = run_language<float>(ctx, vlm, sources, image_rows, look);
  CHECK(largest_difference(logits, golden.floats("logits")) <= logits_bound);

  for (const int max_rows : {512, 7, 1}) CHECK(greedy(ctx, checkpoint, golden, sources, image_rows, max_rows) == golden.ints("greedy_ids"));

  // bfloat16: over these prompts, no further from the float logits than 1.25 times the reference's own bfloat16 run.
  if (golden.has("kl_input_ids")) {
    const auto prompts = golden.ints("kl_input_ids");
    const auto reference = golden.floats("kl_bfloat16");
    const std::size_t length = std::size_t(golden.tensors.find("kl_input_ids")->shape[1]);
    const std::size_t number = prompts.size() / length;
    const int image_token = *checkpoint.processor.tokenizer().id_of(image_context_token);
    double ours = 0;
    for (std::size_t n = 0; n < number; ++n) {
      std::vector<float> pixels = golden.floats("pixel_values");
      for (float& pixel : pixels) pixel *= 1 - float(n) / float(number);
      std::vector<std::int32_t> prompt(prompts.begin() + std::ptrdiff_t(n * length), prompts.begin() + std::ptrdiff_t((n + 1) * length));
      int row = 0;
      for (std::int32_t& id : prompt) {
        if (id == image_token) id = -1 - row++;
      }
      REQUIRE(row == rows);
      const Look nothing = [](auto&&...) {};
      const auto exact = run_language<float>(ctx, vlm, prompt, run_vision<float>(ctx, vlm, pixels, nothing), nothing);
      const auto rounded = run_language<bf16>(ctx, vlm, prompt, run_vision<bf16>(ctx, vlm, pixels, nothing), nothing);
      for (std::size_t at = 0; at < exact.size(); at += std::size_t(vocabulary)) ours += divergence(&exact[at], &rounded[at], vocabulary);
    }
    const double theirs = std::accumulate(reference.begin(), reference.end(), 0.0);
    MESSAGE(golden.name << " bfloat16 mean KL: " << ours / double(prompts.size()) << ", reference " << theirs / double(prompts.size()));
    CHECK(ours <= 1.25 * theirs);
  }
}

template <VlmConfig C>
void check_case(const std::string& name) {
  const fs::path folder = fs::path(IVL_SOURCE_DIR) / "tests/golden/models" / name;
  cpu::Context ctx(2);
  int goldens = 0;
  for (const char* format : {"hf", "github"}) {
    CAPTURE(format);
    const Checkpoint<C> checkpoint = load<C>(ctx, folder / format);
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".safetensors") continue;
      check_golden(ctx, checkpoint, Golden(entry.path()));
      ++goldens;
    }
  }
  CHECK(goldens >= 2);
}

TEST_CASE("Qwen3 behind the 300M kind of tower is the reference") { check_case<qwen3_tiny>("qwen3_tiny"); }
TEST_CASE("Qwen3 with activations so small that epsilons show is the reference") { check_case<qwen3_small_stream>("qwen3_small_stream"); }
TEST_CASE("Qwen2.5 with seven query heads a key head is the reference") { check_case<qwen2_gqa7>("qwen2_gqa7"); }
TEST_CASE("Qwen2.5 with dynamic NTK is the reference on both sides of its context") { check_case<qwen2_dynamic>("qwen2_dynamic"); }
TEST_CASE("The 6B kind of tower is the reference") { check_case<vit6b_qwen3>("vit6b_qwen3"); }

}  // namespace
