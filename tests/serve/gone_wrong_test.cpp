// A model whose logits are no numbers ends the sequences that it happens to, with an error, and no others.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "../support/engine_on.hpp"
#include "../support/text.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// A prompt about a picture whose pixel values are all `value`: NaN spoils the rows behind it, and nothing else.
template <VlmConfig C>
Prompt about_pixels(float value) {
  const int tile_px = C.vit.tile_px;
  std::vector<float> values(std::size_t(3 * tile_px * tile_px), value);
  return {{1, 2, 3}, {{2, Picture::from_pixel_values(std::move(values), tile_px)}}};
}

std::string error_in(const Sequence& sequence) {
  REQUIRE(sequence.finish() == Finish::error);
  try {
    std::rethrow_exception(sequence.error());
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a sequence whose logits are NaN ends with an error that says where, and the others go on") {
  cpu::Context ctx(2);
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(ctx, checkpoint.vlm, {.kv_tokens = 2048, .max_sequences = 8});
  const Prompt bad = about_pixels<qwen3_tiny>(std::numeric_limits<float>::quiet_NaN());
  const Prompt good = about_pixels<qwen3_tiny>(0.5f);
  const GenerationOptions greedy{.max_new_tokens = 6, .sampling = {.temperature = 0}, .ignore_stop_ids = true};
  GenerationOptions drawn = greedy, masked = greedy, chosen = greedy;
  drawn.sampling = {.temperature = 1, .repetition_penalty = 1.3f};
  masked.mask = [](std::span<float> logits) { logits[0] = minus_infinity; };
  chosen.choose = [](std::span<const float>) { return 5; };
  const std::vector<std::int32_t> alone = ids_of(*run(on.engine, {.prompt = good, .generation = greedy}));

  std::vector<Request> requests;
  for (const GenerationOptions& generation : {greedy, drawn, masked, chosen}) {
    requests.push_back({.prompt = bad, .generation = generation});
    requests.push_back({.prompt = good, .generation = generation});
  }
  const int rows = checkpoint.processor.tokens_of(bad.pictures[0].picture);
  const auto sequences = run_all(on.engine, std::move(requests));
  for (std::size_t i = 0; i < sequences.size(); i += 2) {
    CAPTURE(i);
    const std::string error = error_in(*sequences[i]);
    CHECK(error.starts_with("model: token 1 of the answer, " + std::to_string(3 + rows + 1) +
                            " of the conversation, cannot be chosen"));
    CHECK_THROWS_AS(std::rethrow_exception(sequences[i]->error()), ModelError);
    CHECK(sequences[i]->generated().empty());
    CHECK(sequences[i + 1]->finish() == Finish::length);
  }
  CHECK(ids_of(*sequences[1]) == alone);
  CHECK(ids_of(*run(on.engine, {.prompt = good, .generation = greedy})) == alone);
}

TEST_CASE("a mask may forbid all tokens but one, and that it forbids all is its own error") {
  cpu::Context ctx(2);
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(ctx, checkpoint.vlm, {.kv_tokens = 256});
  for (const float temperature : {0.0f, 1.0f}) {
    GenerationOptions options{.max_new_tokens = 3, .sampling = {.temperature = temperature}, .ignore_stop_ids = true};
    options.mask = [](std::span<float> logits) {
      const float kept = logits[7];
      std::fill(logits.begin(), logits.end(), minus_infinity);
      logits[7] = kept;
    };
    const auto sequence = run(on.engine, {.prompt = {{1, 2}}, .generation = options});
    CHECK(ids_of(*sequence) == std::vector<std::int32_t>{7, 7, 7});

    options.mask = [](std::span<float> logits) { std::fill(logits.begin(), logits.end(), minus_infinity); };
    const auto none = on.engine.start({.prompt = {{1, 2}}, .generation = options});
    on.engine.run();
    CHECK(error_in(*none) == "mask: expected a token that may be chosen, found none");
  }
}
