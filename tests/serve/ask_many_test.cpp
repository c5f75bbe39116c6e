// The functions of examples/ask_many.hpp: prompts that wait for room say what each says alone, and so do samplers and
// masks of one's own beside others.
#include "examples/ask_many.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// The tiny model, and prompts about pictures of different sizes.
struct ManyPrompts {
  cpu::Context ctx{2};
  Checkpoint<qwen3_tiny> checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  std::vector<Prompt> prompts;

  ManyPrompts() {
    for (std::uint32_t n = 0; n < 6; ++n) {
      Prompt prompt{{1, 2, 3, int(40 + n)}};
      for (std::uint32_t picture = 0; picture < 1 + n % 2; ++picture) {
        const Image image = noise_picture(60 + 70 * int(n), 60, 10 * picture + n);
        prompt.pictures.push_back({1 + picture, Picture(image, checkpoint.processor.tile_rules(6))});
      }
      prompts.push_back(prompt);
    }
  }
  std::vector<std::int32_t> alone(const Prompt& prompt, const GenerationOptions& generation) {
    RunnerAndEngine<qwen3_tiny, cpu::Context, bf16> on(ctx, checkpoint.vlm, {.kv_tokens = 320});
    return ids_of(*run(on.engine, {.prompt = prompt, .generation = generation}));
  }
};

int feature_rows(const Prompt& prompt) {
  int rows = 0;
  for (const Prompt::Place& place : prompt.pictures) rows += place.picture.tiles() * qwen3_tiny.tokens_per_tile();
  return rows;
}

TEST_CASE("Prompts with pictures wait for rows of features and of keys, and each says what it says alone") {
  ManyPrompts many;
  const GenerationOptions generation{.max_new_tokens = 9, .ignore_stop_ids = true};
  int largest = 0, all = 0;
  for (const Prompt& prompt : many.prompts) {
    largest = std::max(largest, feature_rows(prompt));
    all += feature_rows(prompt);
  }
  REQUIRE(all > largest + 8);
  // Room for the largest prompt's pictures alone, for some more, and for all.
  for (const int features : {largest, largest + 8, all}) {
    CAPTURE(features);
    RunnerAndEngine<qwen3_tiny, cpu::Context, bf16> on(
        many.ctx, many.checkpoint.vlm,
        {.kv_tokens = 2048, .max_sequences = 4, .max_rows = 64, .feature_tokens = features});
    const auto sequences = ask_many::answers(on.engine, many.prompts, generation);
    REQUIRE(sequences.size() == many.prompts.size());
    for (std::size_t n = 0; n < sequences.size(); ++n) {
      CAPTURE(n);
      CHECK(sequences[n]->finish() == Finish::length);
      CHECK(ids_of(*sequences[n]) == many.alone(many.prompts[n], generation));
      int tiles = 0;
      for (const Prompt::Place& place : many.prompts[n].pictures) tiles += place.picture.tiles();
      CHECK(sequences[n]->statistics().tiles == tiles);
    }
  }
}

TEST_CASE("A request that is refused takes back those that were to run with it") {
  ManyPrompts many;
  RunnerAndEngine<qwen3_tiny, cpu::Context, bf16> on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 512});
  many.prompts.back().ids.push_back(-7);
  CHECK(contains(what_of<RequestError>([&] { ask_many::answers(on.engine, many.prompts, {.max_new_tokens = 4}); }),
                 "token -7"));
  CHECK(!on.engine.step());
}

TEST_CASE("A sampler of one's own draws the same beside others as alone, and at temperature 0 is greedy") {
  ManyPrompts many;
  GenerationOptions greedy{.max_new_tokens = 12, .ignore_stop_ids = true};
  const auto with = [&](GenerationOptions own) {
    own.max_new_tokens = greedy.max_new_tokens;
    own.ignore_stop_ids = true;
    return own;
  };
  RunnerAndEngine<qwen3_tiny, cpu::Context, bf16> on(many.ctx, many.checkpoint.vlm,
                                                     {.kv_tokens = 2048, .max_sequences = 3});
  greedy.sampling.temperature = 0;
  const GenerationOptions cold = with(ask_many::gumbel(0, 3)), warm = with(ask_many::gumbel(1, 3));
  const auto coldest = ask_many::answers(on.engine, many.prompts, cold);
  const auto drawn = ask_many::answers(on.engine, many.prompts, warm);
  int differing = 0;
  for (std::size_t n = 0; n < many.prompts.size(); ++n) {
    CAPTURE(n);
    const auto wanted = many.alone(many.prompts[n], greedy);
    CHECK(ids_of(*coldest[n]) == wanted);
    CHECK(ids_of(*drawn[n]) == many.alone(many.prompts[n], warm));
    differing += ids_of(*drawn[n]) == wanted ? 0 : 1;
  }
  CHECK(differing > 0);
}

TEST_CASE("What a mask of one's own forbids does not come, and the rest comes as it would") {
  ManyPrompts many;
  const GenerationOptions greedy{.max_new_tokens = 12, .sampling = {.temperature = 0}, .ignore_stop_ids = true};
  const auto masked = [&](std::vector<int> forbidden) {
    GenerationOptions own = ask_many::without(std::move(forbidden));
    own.max_new_tokens = greedy.max_new_tokens;
    own.sampling = greedy.sampling;
    own.ignore_stop_ids = true;
    return many.alone(many.prompts[0], own);
  };
  const auto plain = many.alone(many.prompts[0], greedy);
  CHECK(masked({}) == plain);
  const auto changed = masked({plain[0]});
  CHECK(std::find(changed.begin(), changed.end(), plain[0]) == changed.end());
}

}  // namespace
