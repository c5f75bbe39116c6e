// What transformers makes of the tiny checkpoints (tests/golden/make_models.py), and the comparison of a backend with
// it.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/taps.hpp"
#include "ivl/model/vision_encoder.hpp"
#include "tests/support/engine_on.hpp"

namespace ivl_test {

using namespace ivl;

/// One golden file: what transformers made of one prompt.
struct Golden {
  explicit Golden(const std::filesystem::path& path)
      : tensors(path),
        facts(read_json(std::filesystem::path(path).replace_extension(".json"))),
        name(path.stem().string()) {}

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

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
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
inline double divergence(const float* exact, const float* other, int width) {
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

inline double mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}
inline double median(std::vector<float> values) {
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The prompt of a golden file: its ids, and its pixel values where <IMG_CONTEXT> tokens stand.
template <VlmConfig C>
Prompt prompt_of(const Checkpoint<C>& checkpoint, const Golden& golden) {
  const int image_token = checkpoint.processor.tokenizer().id_of(image_context_token).value();
  const auto tiles = field<std::vector<int>>(golden.facts, "tiles", golden.name);
  std::vector<float> pixels;
  if (golden.has("pixel_values")) pixels = golden.floats("pixel_values");
  Prompt prompt;
  std::size_t done = 0;  // values of pixels
  int rows = 0;          // of the picture that began last
  for (const std::int32_t id : golden.ints("input_ids")) {
    if (id != image_token) {
      prompt.ids.push_back(id);
      rows = 0;
      continue;
    }
    if (rows++ > 0) continue;
    const auto number = std::size_t(tiles.at(prompt.pictures.size()) * 3 * C.vit.tile_px * C.vit.tile_px);
    prompt.pictures.push_back(
        {prompt.ids.size(),
         Picture::from_pixel_values(
             {pixels.begin() + std::ptrdiff_t(done), pixels.begin() + std::ptrdiff_t(done + number)}, C.vit.tile_px)});
    done += number;
  }
  REQUIRE(done == pixels.size());
  return prompt;
}

template <class Context, VlmConfig C>
std::vector<std::int32_t> greedy(Context& ctx, const Checkpoint<C>& checkpoint, const Golden& golden, int max_rows) {
  const auto wanted = golden.ints("greedy_ids").size();
  RunnerAndEngine<C, Context, float> on(ctx, checkpoint.vlm,
                                        {.kv_tokens = int(golden.ints("input_ids").size()) + 64, .max_rows = max_rows});
  return ids_of(*run(on.engine, {.prompt = prompt_of(checkpoint, golden),
                                 .generation = {.max_new_tokens = int(wanted), .ignore_stop_ids = true},
                                 .tokenizer = &checkpoint.processor.tokenizer()}));
}

/// How much of a golden file a test has time for.
struct Effort {
  std::vector<int> step_rows = {512, 7, 1};  ///< engines that take so many rows a step
  std::size_t bfloat16_prompts = 1000;       ///< at most so many
};

template <class Context, VlmConfig C>
void check_golden(Context& ctx, const Checkpoint<C>& checkpoint, const Golden& golden, const Effort& effort = {}) {
  CAPTURE(golden.name);
  const Vlm<C>& vlm = checkpoint.vlm;
  const int vocabulary = vlm.facts.vocab_rows;
  const auto ids = golden.ints("input_ids");

  // The prompt's text gives the reference's ids, and its <IMG_CONTEXT> tokens are where pictures go.
  int rows = 0;
  for (const int tiles : field<std::vector<int>>(golden.facts, "tiles", golden.name))
    rows += tiles * C.tokens_per_tile();
  const auto text = field<std::string>(golden.facts, "prompt", golden.name);
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  const int image_token = tokenizer.id_of(image_context_token).value();
  std::vector<std::int32_t> sources;
  if (const auto bos = tokenizer.bos()) sources.push_back(*bos);
  tokenizer.encode(text, sources);
  REQUIRE(sources == ids);
  int row = 0;
  for (std::int32_t& id : sources) {
    if (rows > 0 && id == image_token) id = -1 - row++;
  }
  REQUIRE(row == rows);

  // Both sides round in float; the reference's logits are this far from its own in double, ours may be as far three
  // times over (another order of sums), and stages before the logits stay within that of their own size.
  const double logits_bound = 4 * golden.number("float32_to_float64_max");
  const double relative_bound = logits_bound / golden.number("logits_std");
  const auto look = [&](const Stage& stage, auto stage_rows) {
    if (!golden.has(name_of(stage))) return;
    CAPTURE(name_of(stage));
    const auto want = golden.floats(name_of(stage));
    double square = 0;
    for (const float value : want) square += double(value) * value;
    const double size = std::sqrt(square / double(want.size()));
    const double difference = largest_difference(to_floats(ctx, stage_rows).values, want);
    CHECK(difference <= relative_bound * size);
  };
  OwnedRows<float, C.decoder.hidden> pictures;
  if (rows > 0)
    pictures = features(ctx, vlm, patches_of<float>(ctx, vlm, golden.floats("pixel_values")), look).projected;
  const auto logits = ivl::logits<float>(ctx, vlm, sources, pictures, look).values;
  CHECK(largest_difference(logits, golden.floats("logits")) <= logits_bound);

  for (const int max_rows : effort.step_rows)
    CHECK(greedy(ctx, checkpoint, golden, max_rows) == golden.ints("greedy_ids"));

  // bfloat16: over these prompts, no further from the float logits than 1.25 times the reference's own bfloat16 run.
  if (golden.has("kl_input_ids") && effort.bfloat16_prompts > 0) {
    const auto prompts = golden.ints("kl_input_ids");
    const auto reference = golden.floats("kl_bfloat16");
    const std::size_t length = std::size_t(golden.tensors.find("kl_input_ids")->shape[1]);
    const std::size_t number = prompts.size() / length, used = std::min(number, effort.bfloat16_prompts);
    std::vector<float> ours;
    for (std::size_t n = 0; n < used; ++n) {
      std::vector<float> pixels = golden.floats("pixel_values");
      for (float& pixel : pixels) pixel *= 1 - float(n) / float(number);
      std::vector<std::int32_t> prompt(prompts.begin() + std::ptrdiff_t(n * length),
                                       prompts.begin() + std::ptrdiff_t((n + 1) * length));
      row = 0;
      for (std::int32_t& id : prompt) {
        if (id == image_token) id = -1 - row++;
      }
      REQUIRE(row == rows);
      const auto logits_in = [&]<class Scalar>(Scalar) {
        const auto seen = features(ctx, vlm, patches_of<Scalar>(ctx, vlm, pixels));
        return ivl::logits<Scalar>(ctx, vlm, prompt, seen.projected).values;
      };
      const auto exact = logits_in(float{}), rounded = logits_in(bf16{});
      for (std::size_t at = 0; at < exact.size(); at += std::size_t(vocabulary))
        ours.push_back(float(divergence(&exact[at], &rounded[at], vocabulary)));
    }
    std::vector<float> theirs(reference.begin(), reference.begin() + std::ptrdiff_t(ours.size()));
    if (C.decoder.sparse()) {
      // Where rounding sends a row to another expert it is lost, here as in the reference, and one such row can
      // outweigh all the others of a mean: it counts as ten ordinary rows.
      CHECK(median(ours) <= 1.25 * median(theirs));
      const float most = 10 * float(median(theirs));
      for (float& value : ours) value = std::min(value, most);
      for (float& value : theirs) value = std::min(value, most);
    }
    MESSAGE(golden.name << " bfloat16 mean KL: " << mean(ours) << ", reference " << mean(theirs));
    CHECK(mean(ours) <= 1.25 * mean(theirs));
  }
}

/// The rows that an encoder makes of pictures are those of their pixel values, bit by bit.
template <class Context, VlmConfig C>
void check_pictures(Context& ctx, const Vlm<C>& vlm, const std::vector<Image>& images, const TileRules& rules) {
  ThreadPool pool(1);
  VisionEncoder<C, Context, float> encoder(ctx, vlm);
  for (const Image& image : images) {
    const Picture picture = Picture::view(image, rules);
    std::vector<float> pixels(std::size_t(picture.tiles()) * 3 * std::size_t(rules.tile_px * rules.tile_px));
    make_pixel_values<float>(pool, picture, pixel_statistics(vlm.facts.image), pixels);
    const auto wanted = to_floats(ctx, features(ctx, vlm, patches_of<float>(ctx, vlm, pixels)).projected.view()).values;
    CHECK(to_floats(ctx, encoder(picture).view()).values == wanted);
    CHECK(to_floats(ctx, encoder(Picture::from_pixel_values(pixels, rules.tile_px)).view()).values == wanted);
  }
}

}  // namespace ivl_test
