// Answers under a constraint, in an engine: always of its texts, whatever the sampling, and beside others.
#include "ivl/text/constraint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../support/engine_on.hpp"
#include "../support/text.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/files/json.hpp"
#include "ivl/model/checkpoint.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// The tiny model, which knows nothing, and what it must say.
struct Constrained {
  cpu::Context ctx{2};
  Checkpoint<qwen3_tiny> checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::shared_ptr<const TokenTrie> tokens = std::make_shared<const TokenTrie>(tokenizer);
  std::shared_ptr<const Constraint> choice(const std::vector<std::string>& texts) const {
    return Constraint::choice(tokens, texts);
  }
  Request request(int first, std::shared_ptr<const Constraint> constraint, const SamplingOptions& sampling,
                  int max_new_tokens = 200) const {
    return {.prompt = {{first, 2, 3, 4, 2, 3, 4, 2, 3}},
            .generation = {.max_new_tokens = max_new_tokens, .sampling = sampling, .constraint = std::move(constraint)},
            .tokenizer = &tokenizer};
  }
};

TEST_CASE("Sequences under constraints say what each allows, beside each other and with guesses, as alone") {
  Constrained model;
  const std::vector<std::string> names{"red", "green", "gr\u00fcn", "greenish", ""};
  const std::vector<std::shared_ptr<const Constraint>> constraints{
      model.choice(names), Constraint::regex(model.tokens, "(ab){1,3}|[0-9]{3}-[0-9]{2}"),
      Constraint::json_schema(model.tokens, R"({"type": "object", "required": ["n", "l"], "additionalProperties": false,
          "properties": {"n": {"type": "integer", "minimum": 10, "maximum": 19}, "l": {"type": "array", "maxItems": 2,
          "items": {"enum": ["a", null]}}}})"),
      nullptr};
  const auto answers_of = [&](int together, int draft_tokens) {
    RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(
        model.ctx, model.checkpoint.vlm, {.kv_tokens = 4096, .max_sequences = together, .draft_tokens = draft_tokens});
    std::vector<Request> requests;
    for (int i = 0; i < 40; ++i) {
      const SamplingOptions hot{.temperature = 1.5f, .top_k = 0, .seed = std::uint64_t(i)};
      requests.push_back(model.request(1 + i % 7, constraints[std::size_t(i % 4)], i % 8 < 4 ? hot : SamplingOptions{},
                                       i % 4 == 3 ? 5 : 200));
    }
    return run_all(on.engine, std::move(requests));
  };
  const auto alone = answers_of(1, 0), together = answers_of(10, 4);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    CAPTURE(i);
    const std::string& text = alone[i]->text();
    CAPTURE(text);
    CHECK(together[i]->text() == text);
    if (i % 4 == 3) continue;
    CHECK(alone[i]->finish() == Finish::stop_token);
    CHECK(together[i]->statistics().drafted_tokens == 0);
    if (i % 4 == 0) CHECK(std::ranges::find(names, text) != names.end());
    if (i % 4 == 1) CHECK((text.starts_with("ab") ? text.size() % 2 == 0 && text.size() <= 6 : text.size() == 6));
    if (i % 4 != 2) continue;
    const Json json = parse_json(text, "answer");
    CHECK(json.size() == 2);
    CHECK((json["n"] >= 10 && json["n"] <= 19 && json["l"].is_array() && json["l"].size() <= 2));
  }
}

TEST_CASE("A constraint that an answer cannot follow is refused, or ends its own sequence") {
  Constrained model;
  RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(model.ctx, model.checkpoint.vlm,
                                                      {.kv_tokens = 512, .max_sequences = 3});
  const auto refused = [&](const auto& change) {
    Request request = model.request(1, model.choice({"red"}), {});
    change(request.generation);
    return what_of<RequestError>([&] { run(on.engine, std::move(request)); });
  };
  CHECK(refused([](GenerationOptions& generation) { generation.ignore_stop_ids = true; }) ==
        "constraint: expected a stop token to end the answer with, found none, or ignore_stop_ids");
  CHECK(refused([](GenerationOptions& generation) {
          generation.min_new_tokens = 20;
        }).starts_with("constraint, with what else the request forbids: expected a token that may be chosen"));
  CHECK(refused([](GenerationOptions& generation) { generation.choose = [](std::span<const float>) { return 5; }; }) ==
        "constraint: token 5 may not follow here");
  const Tokenizer other = Tokenizer::from_folder(IVL_SOURCE_DIR "/examples/drawn_scenes/checkpoint");
  CHECK(refused([&](GenerationOptions& generation) {
          generation.constraint =
              Constraint::choice(std::make_shared<const TokenTrie>(other), std::vector<std::string>{"x"});
        }).starts_with("constraint: expected the tokens of the request's tokenizer, which has "));

  // What is cut is the beginning of an allowed text.
  const auto cut = run(on.engine, model.request(1, model.choice({"red and green"}), {}, 2));
  CHECK(cut->finish() == Finish::length);
  CHECK(std::string_view("red and green").starts_with(cut->text()));
  CHECK(cut->generated().size() == 2);
}

}  // namespace
