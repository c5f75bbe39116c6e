// What generation_config.json and a request say about tokens, against transformers' own processors (make_sampling.py),
// and in an engine.
#include "ivl/serve/token_rules.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../support/checkpoint_copy.hpp"
#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/chat.hpp"
#include "ivl/serve/sampling.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

// ---- against transformers -------------------------------------------------------------------------------------------

struct GoldenRow {
  std::vector<float> logits;
  std::vector<std::int32_t> tokens;
};

/// SplitMix64's number `index`, written anew.
std::uint64_t split_mix(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t word = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
  word = (word ^ word >> 27) * 0x94d049bb133111ebu;
  return word ^ word >> 31;
}

/// As make_sampling.py describes it.
GoldenRow golden_row(std::uint64_t n, std::size_t width, std::size_t length) {
  GoldenRow row;
  for (std::size_t i = 0; i < width; ++i) {
    const std::uint64_t word = split_mix(n, i);
    int sum = -131070;
    for (int part = 0; part < 4; ++part) sum += int(word >> 16 * part & 0xffff);
    const float logit = float(sum) * 0x1p-14f;
    row.logits.push_back(n % 5 == 0 ? std::nearbyint(logit * 16) / 16 : logit);
  }
  for (std::size_t i = 0; i < length; ++i)
    row.tokens.push_back(std::int32_t(split_mix(~n, i) % (n % 2 == 0 ? 6 : width)));
  return row;
}

TEST_CASE("What generation_config.json says of tokens leaves of 1000 rows what transformers leaves") {
  const std::filesystem::path folder = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/sampling";
  const Json golden = read_json(folder / "golden.json");
  const Safetensors tensors(folder / "ids.safetensors");
  const auto width = golden["width"].get<std::size_t>(), length = golden["length"].get<std::size_t>();
  const int prompt = golden["prompt"], generated = int(length) - prompt;
  const double at[] = {0, 1 - 0x1p-53, golden["at"][0], golden["at"][1]};
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  cpu::Context ctx(1);
  std::set<std::string> keys;
  REQUIRE(golden["cases"].size() == tensors.size());
  for (const Json& one : golden["cases"]) {
    const std::string name = one["name"];
    CAPTURE(name);
    copy.edit_json("generation_config.json", [&](Json& json) {
      json = one["options"];
      for (const auto& option : json.items()) keys.insert(option.key());
      json["eos_token_id"] = golden["eos_token_id"];
      if (!json.contains("top_k")) json["top_k"] = 0;
    });
    const ModelFacts facts = read_checkpoint_config(copy.path()).facts;
    const Sampling sampling = resolved({}, facts.sampling);
    const TokenRules rules = token_rules({}, facts, nullptr, int(width), facts.stop_ids, prompt, 100);
    const TensorView& view = *tensors.find(name);
    REQUIRE(view.dtype == Dtype::i16);
    REQUIRE(view.bytes.size() == 2 * 4 * 1000);
    const auto left_out = one["left_out"].get<std::set<std::uint64_t>>();
    std::uint64_t n = one["first"];
    int wrong = 0;
    for (std::size_t r = 0; r < 1000; ++r, ++n) {
      while (left_out.contains(n)) ++n;
      GoldenRow row = golden_row(n, width, length);
      rules.edit(row.tokens, generated, row.logits);
      std::vector<std::int32_t> uses(width);
      for (std::size_t i = 0; i < length; ++i) {
        std::int32_t& use = uses[std::size_t(row.tokens[i])];
        use = int(i) < prompt ? 1 : std::max(use, 1) + 1;
      }
      for (std::size_t i = 0; i < 4; ++i) {
        std::vector<float> logits = row.logits;
        std::vector<std::int32_t> counted = uses;
        Draw what = draw_of(sampling, 0, int(width), penalises(sampling) ? counted.data() : nullptr);
        what.uniform = at[i];
        std::int32_t id = -1;
        draw(ctx, &what, Rows<float>(logits.data(), 1, std::int64_t(width)), &id);
        std::int16_t wanted;
        std::memcpy(&wanted, view.bytes.data() + 2 * (4 * r + i), 2);
        wrong += id != wanted;
      }
    }
    CHECK(wrong == 0);
  }
  for (const char* key :
       {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
        "no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "min_new_tokens", "min_length"})
    CHECK(keys.contains(key));
}

// ---- in an engine ---------------------------------------------------------------------------------------------------

/// The tiny model, and requests with every option of generation at work.
struct Ruled {
  cpu::Context ctx{2};
  Checkpoint<qwen3_tiny> checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));

  std::shared_ptr<Sequence> answer(std::vector<std::int32_t> prompt, const GenerationOptions& generation) {
    RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(ctx, checkpoint.vlm, {.kv_tokens = 512});
    return run(on.engine, request(std::move(prompt), generation));
  }
  Request request(std::vector<std::int32_t> prompt, const GenerationOptions& generation) const {
    return {.prompt = {std::move(prompt)}, .generation = generation, .tokenizer = &checkpoint.processor.tokenizer()};
  }
  std::vector<std::int32_t> ids(std::vector<std::int32_t> prompt, const GenerationOptions& generation) {
    return ids_of(*answer(std::move(prompt), generation));
  }
};

std::vector<GenerationOptions> each_option(const std::vector<std::int32_t>& greedy) {
  const SamplingOptions hot{.temperature = 1.5f, .top_k = 0, .seed = 11};
  std::vector<GenerationOptions> options(12);
  for (GenerationOptions& option : options) option = {.max_new_tokens = 25, .ignore_stop_ids = true};
  options[1].sampling = hot;
  options[2].sampling = {.temperature = 0.7f, .top_k = 30, .top_p = 0.9f, .min_p = 0.01f, .seed = 12};
  options[3].sampling = {.frequency_penalty = 0.4f, .presence_penalty = 0.3f};
  options[4].sampling = hot;
  options[4].sampling.frequency_penalty = 1;
  options[5].sampling = {.temperature = 1, .top_k = 50, .repetition_penalty = 1.3f, .presence_penalty = -0.5f};
  options[6].no_repeat_ngram_size = 1;
  options[7].no_repeat_ngram_size = 2;
  options[7].sampling = hot;
  options[8].bad_words_ids = {{greedy[0]}, {greedy[1], greedy[2]}};
  options[8].sampling = {.repetition_penalty = 1.2f, .frequency_penalty = 0.2f};
  options[9].sequence_bias = {{{greedy[3]}, 4}, {{greedy[3], 70}, 9}};
  options[9].sampling = hot;
  options[10].ignore_stop_ids = false;
  options[10].stop_ids = greedy;
  options[10].min_new_tokens = 7;
  options[10].sampling = {.presence_penalty = 0.6f};
  options[11].bad_words = {"a", "the"};
  options[11].sampling = {.temperature = 2, .top_p = 0.8f, .repetition_penalty = 0.9f, .seed = 13};
  return options;
}

TEST_CASE("Every option of generation gives beside others, and after a restart, what it gives alone") {
  const std::vector<std::int32_t> prompt{5, 6, 7, 6, 7, 8, 9, 200, 6};
  std::vector<std::vector<std::int32_t>> alone;
  std::vector<GenerationOptions> options;
  {
    Ruled first;
    options = each_option(first.ids(prompt, {.max_new_tokens = 25, .ignore_stop_ids = true}));
    for (const GenerationOptions& option : options) alone.push_back(first.ids(prompt, option));
  }
  for (std::size_t i = 0; i < alone.size(); ++i) {  // each says something of its own
    CAPTURE(i);
    CHECK(std::count(alone.begin(), alone.end(), alone[i]) == 1);
  }
  Ruled again;  // weights, threads and engine are new
  for (const int together : {2, 5, 12}) {
    CAPTURE(together);
    RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(
        again.ctx, again.checkpoint.vlm,
        {.kv_tokens = 40 * together, .max_sequences = together, .max_rows = together + 3});
    std::vector<std::shared_ptr<Sequence>> answers;
    for (const GenerationOptions& option : options) {
      answers.push_back(on.engine.start(again.request(prompt, option)));
      on.engine.step();  // so that they are at different tokens
    }
    on.engine.run();
    for (std::size_t i = 0; i < alone.size(); ++i) {
      CAPTURE(i);
      CHECK(ids_of(*answers[i]) == alone[i]);
    }
  }
}

TEST_CASE("A conversation goes on after a restart as it would have, with penalties and rules") {
  const GenerationOptions generation{
      .max_new_tokens = 12,
      .sampling = {.temperature = 1.2f, .repetition_penalty = 1.2f, .frequency_penalty = 0.5f, .seed = 21},
      .ignore_stop_ids = true,
      .no_repeat_ngram_size = 3};
  Ruled model;
  const Processor& processor = model.checkpoint.processor;
  Runner<qwen3_tiny, cpu::Context, float> runner(model.ctx, model.checkpoint.vlm);
  std::vector<Turn> turns;
  {
    Chat chat(runner, processor, {.kv_tokens = 1024});
    for (const char* question : {"Who are you?", "Are you sure?", "Why?"}) chat.ask(question, {}, generation);
    CHECK(chat.statistics().cached_tokens > 0);
    turns = chat.history();
  }
  const Turn last = turns.back();
  turns.pop_back();
  Chat resumed(runner, processor, {.kv_tokens = 1024, .history = turns});
  CHECK(resumed.ask(last.question, {}, generation) == last.answer);
  CHECK(resumed.statistics().cached_tokens == 0);
}

TEST_CASE("Rules hold for every token of an answer") {
  Ruled model;
  const std::vector<std::int32_t> prompt{5, 6, 7, 6, 7, 8, 9, 200, 6};
  GenerationOptions options{.max_new_tokens = 40, .ignore_stop_ids = true};
  const auto greedy = model.ids(prompt, options);
  const auto whole = [&](const std::vector<std::int32_t>& answer) {
    std::vector<std::int32_t> tokens = prompt;
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    return tokens;
  };
  const auto pairs_twice = [&](const std::vector<std::int32_t>& tokens) {
    std::set<std::vector<std::int32_t>> pairs;
    for (std::size_t i = 1; i < tokens.size(); ++i) pairs.insert({tokens[i - 1], tokens[i]});
    return tokens.size() - 1 - pairs.size();
  };
  const std::size_t of_prompt = pairs_twice(prompt);
  CHECK(of_prompt == 1);
  CHECK(pairs_twice(whole(greedy)) > of_prompt);
  options.no_repeat_ngram_size = 2;
  const auto without_pairs = model.ids(prompt, options);
  CHECK(pairs_twice(whole(without_pairs)) == of_prompt);
  options.no_repeat_ngram_size = {};

  const auto holds = [](const std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& part) {
    return std::ranges::search(tokens, part).begin() != tokens.end();
  };
  options.bad_words_ids = {{greedy[3], greedy[4]}, {greedy[0]}};
  const auto clean = model.ids(prompt, options);
  CHECK(!holds(clean, {greedy[3], greedy[4]}));
  CHECK(!holds(clean, {greedy[0]}));
  options.bad_words_ids = {};

  // A bias where the ids before it stand, not elsewhere.
  options.sequence_bias = {{{greedy[1], 33}, 1000}};
  const auto biased = model.ids(prompt, options);
  CHECK(std::vector(biased.begin(), biased.begin() + 3) == std::vector{greedy[0], greedy[1], 33});
  options.sequence_bias = {{{34}, 1000}};
  CHECK(model.ids(prompt, options) == std::vector<std::int32_t>(40, 34));
}

TEST_CASE("Penalties and rules see the prompt where the caller says so, else but for chats of GitHub folders") {
  Ruled model;
  const std::vector<std::int32_t> prompt{5, 6, 7};
  GenerationOptions options{.max_new_tokens = 6, .ignore_stop_ids = true};
  const auto first = [&](std::optional<bool> count_prompt) {
    options.count_prompt = count_prompt;
    return model.ids(prompt, options)[0];
  };
  const std::int32_t plain = first({});
  options.bad_words_ids = {{7, plain}};
  CHECK(first(true) != plain);
  CHECK(first(false) == plain);
  CHECK(first({}) == first(true));
  options.bad_words_ids = {};
  options.sequence_bias = {{{6}, 1000}};
  options.sampling.repetition_penalty = 1e6f;
  CHECK(first(true) != 6);
  CHECK(first(false) == 6);
  CHECK(std::ranges::count(model.ids(prompt, options), 6) == 1);
  options.sampling = {};
  options.no_repeat_ngram_size = 1;
  CHECK(first(true) != 6);
  CHECK(first(false) == 6);
  CHECK(std::ranges::count(model.ids(prompt, options), 6) == 1);

  // The word of the question comes again where the folder's reference does not see it.
  options.count_prompt = {};
  for (const char* format : {"hf", "github"}) {
    CAPTURE(format);
    const auto checkpoint = load<qwen3_tiny>(model.ctx, tiny_folder("qwen3_tiny", format));
    options.sequence_bias = {{{*checkpoint.processor.tokenizer().id_of("q")}, 1000}};
    Runner<qwen3_tiny, cpu::Context, float> runner(model.ctx, checkpoint.vlm);
    Chat chat(runner, checkpoint.processor, {.kv_tokens = 512});
    CHECK(chat.ask("q", {}, options).starts_with("q") == (std::string_view(format) == "github"));
  }
}

TEST_CASE("No stop token ends an answer before min_new_tokens, and the first behind it does") {
  Ruled model;
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const auto all_but_few = [&] {  // stop tokens: all but ids 0 to 4
    std::vector<int> ids;
    for (int id = 5; id < model.checkpoint.vlm.facts.vocab_rows; ++id) ids.push_back(id);
    return ids;
  }();
  GenerationOptions options{.max_new_tokens = 20, .stop_ids = all_but_few};
  CHECK(model.answer(prompt, options)->generated().empty());
  const auto check = [&](std::size_t tokens) {
    const auto sequence = model.answer(prompt, options);
    CHECK(sequence->generated().size() == tokens);
    for (const std::int32_t id : sequence->generated()) CHECK(id < 5);
    CHECK(sequence->finish() == Finish::stop_token);
  };
  options.min_new_tokens = 6;
  check(6);
  options.min_length = 20;  // the former wins
  check(6);
  options.min_new_tokens = {};
  check(17);
  model.checkpoint.vlm.facts.sampling.min_new_tokens = 4;  // a request's own wins
  check(17);
  options.min_length = {};
  check(4);
  options.min_new_tokens = 0;
  check(0);
}

TEST_CASE("max_length counts the prompt, and max_new_tokens wins over it") {
  Ruled model;
  GenerationOptions options{.max_length = 9, .ignore_stop_ids = true};
  CHECK(model.ids({1, 2, 3}, options).size() == 6);
  options.max_new_tokens = 4;
  CHECK(model.ids({1, 2, 3}, options).size() == 4);
  options.max_new_tokens = {};
  options.max_length = 3;
  CHECK(what_of<RequestError>([&] {
          model.ids({1, 2, 3}, options);
        }) == "max_length: expected more than the 3 tokens of the prompt, found 3");
}

TEST_CASE("A checkpoint's rules and stop strings hold where the request has none of its own") {
  Ruled model;
  const std::vector<std::int32_t> prompt{5, 6, 7, 6, 7, 8, 9, 200, 6};
  GenerationOptions own{.max_new_tokens = 30, .ignore_stop_ids = true};
  const auto greedy = model.answer(prompt, own);
  const std::vector<std::int32_t> plain = ids_of(*greedy);
  const std::vector<GenerationOptions> all = each_option(plain);
  SamplingFacts& proposed = model.checkpoint.vlm.facts.sampling;
  const auto check = [&](const GenerationOptions& asked) {
    const auto wanted = model.ids(prompt, asked);
    CHECK(wanted != plain);
    proposed = {.frequency_penalty = asked.sampling.frequency_penalty.value_or(0),
                .presence_penalty = asked.sampling.presence_penalty.value_or(0),
                .no_repeat_ngram_size = asked.no_repeat_ngram_size.value_or(0),
                .bad_words_ids = asked.bad_words_ids,
                .sequence_bias = asked.sequence_bias};
    GenerationOptions nothing{.max_new_tokens = asked.max_new_tokens, .ignore_stop_ids = true};
    CHECK(model.ids(prompt, nothing) == wanted);
    nothing.no_repeat_ngram_size = 0;
    nothing.sampling = {.frequency_penalty = 0, .presence_penalty = 0};
    if (asked.bad_words_ids.empty() && asked.sequence_bias.empty()) {
      nothing.max_new_tokens = 30;
      CHECK(model.ids(prompt, nothing) == plain);
    }
    proposed = {};
  };
  check(all[3]);
  check(all[6]);
  own.bad_words_ids = {{plain[2]}};
  check(own);
  own.bad_words_ids = {};
  own.sequence_bias = {{{plain[5]}, -2}, {{40}, 1}};
  check(own);
  own.sequence_bias = {};

  const std::size_t letter = greedy->text().find_first_of("abcdefghijklmnopqrstuvwxyz");
  REQUIRE(letter != std::string::npos);
  const std::string stop(1, greedy->text()[letter]);
  proposed.stop_strings = {stop};
  const auto stopped = model.answer(prompt, own);
  CHECK(stopped->finish() == Finish::stop_string);
  CHECK(stopped->text() == greedy->text().substr(0, letter));
}

TEST_CASE("Bad words are the tokens of a text, at its start and behind a space") {
  Ruled model;
  const Tokenizer& tokenizer = model.checkpoint.processor.tokenizer();
  const auto rules_of = [&](std::vector<std::string> words) {
    const GenerationOptions options{.bad_words = std::move(words)};
    return token_rules(options, {}, &tokenizer, tokenizer.size(), std::vector{3}, 5, 100);
  };
  const auto id = [&](std::string_view token) { return *tokenizer.id_of(token); };
  std::set<std::vector<std::int32_t>> found;
  for (const SequenceBias& bias : rules_of({" a", "The", "qz"}).biases) {
    CHECK(bias.bias == -std::numeric_limits<float>::infinity());
    found.insert(bias.ids);
  }
  CHECK(found == std::set<std::vector<std::int32_t>>{{id("a")},
                                                     {id(" a")},
                                                     {id("T"), id("h"), id("e")},
                                                     {id(" The")},
                                                     {id("q"), id("z")},
                                                     {id(" "), id("q"), id("z")}});
  CHECK(what_of<RequestError>([&] { rules_of({" "}); }) == "bad_words: expected text, found an empty word");
}

TEST_CASE("What means nothing, or cannot be, is refused by name") {
  const auto refusal = [](const GenerationOptions& options, int longest = 100) {
    return what_of<RequestError>([&] { token_rules(options, {}, nullptr, 300, std::vector{7}, 10, longest); });
  };
  CHECK(refusal({}) == "");
  CHECK(refusal({.min_new_tokens = 100}) == "");
  CHECK(refusal({.min_new_tokens = 101}) == "min_new_tokens: expected at most 100, the longest answer, found 101");
  CHECK(refusal({.min_length = 111}) == "min_new_tokens: expected at most 100, the longest answer, found 101");
  CHECK(refusal({.min_new_tokens = -1}) == "min_new_tokens: expected 0 or more, found -1");
  CHECK(refusal({.min_length = -2}) == "min_length: expected 0 or more, found -2");
  CHECK(refusal({.no_repeat_ngram_size = -1}) == "no_repeat_ngram_size: expected 0 (none) or more, found -1");
  CHECK(refusal({.bad_words_ids = {{}}}) == "bad_words_ids: expected at least one token, found none");
  CHECK(refusal({.bad_words_ids = {{5, 300}}}) == "bad_words_ids: token 300 is not one of the 300 that may be drawn");
  CHECK(refusal({.bad_words = {"x"}}) == "bad_words: expected a tokenizer to make tokens of them with, found none");
  CHECK(refusal({.sequence_bias = {{{-1}, 1}}}) == "sequence_bias: token -1 is not one of the 300 that may be drawn");
  CHECK(refusal({.sequence_bias = {{{1}, std::numeric_limits<float>::infinity()}}}) ==
        "sequence_bias: expected a number or -infinity, found inf");
  CHECK(refusal({.sequence_bias = {{{1}, std::nanf("")}}}) ==
        "sequence_bias: expected a number or -infinity, found nan");

  const auto sampling = [](const SamplingOptions& options, const SamplingFacts& facts = {}) {
    return what_of<RequestError>([&] { resolved(options, facts); });
  };
  CHECK(sampling({.do_sample = true}) == "");
  CHECK(sampling({.do_sample = true, .temperature = 0}) == "temperature: expected more than 0 with do_sample, found 0");
  CHECK(sampling({.frequency_penalty = std::nanf("")}) == "frequency_penalty: expected a number, found nan");
  CHECK(sampling({.presence_penalty = std::nanf("")}) == "presence_penalty: expected a number, found nan");
  CHECK(resolved({.do_sample = false, .temperature = 2}, {}).temperature == 0);
  CHECK(resolved({.do_sample = true}, {.temperature = 0.6f}).temperature == 0.6f);
  CHECK(resolved({.temperature = 0.5f}, {}).temperature == 0.5f);
  CHECK(resolved({}, {.temperature = 0.6f}).temperature == 0);
}

TEST_CASE("Where rules leave no token, the answer ends with an error that names them") {
  Ruled model;
  GenerationOptions options{.max_new_tokens = 3, .ignore_stop_ids = true};
  for (int id = 0; id < model.checkpoint.processor.tokenizer().size(); ++id) options.bad_words_ids.push_back({id});
  CHECK(what_of<RequestError>([&] {
          model.ids({1, 2}, options);
        }) ==
        "bad words, n-grams and stop tokens before min_new_tokens: expected a token that may be chosen, found none");
}

// ---- several answers ------------------------------------------------------------------------------------------------

TEST_CASE("Several answers to a question are those of their seeds, and the first stays in the conversation") {
  Ruled model;
  const Processor& processor = model.checkpoint.processor;
  Runner<qwen3_tiny, cpu::Context, float> runner(model.ctx, model.checkpoint.vlm);
  const GenerationOptions generation{
      .max_new_tokens = 8, .sampling = {.temperature = 1.5f, .seed = 5}, .ignore_stop_ids = true};
  const std::vector<Picture> pictures{Picture(noise_picture(60, 60, 3), processor.tile_rules())};
  const auto alone = [&](int n, std::vector<Turn> history, std::vector<Picture> before, std::string_view question,
                         const std::vector<Picture>& shown) {
    Chat chat(runner, processor, {.kv_tokens = 512, .history = std::move(history), .pictures = std::move(before)});
    GenerationOptions with_seed = generation;
    with_seed.sampling.seed = seed_of_answer(5, n);
    return chat.ask_about(shown, question, with_seed);
  };
  std::vector<std::string> streamed(3), wanted;
  for (int n = 0; n < 3; ++n) wanted.push_back(alone(n, {}, {}, "What?", pictures));
  CHECK(std::set<std::string>(wanted.begin(), wanted.end()).size() == 3);
  CHECK(seed_of_answer(5, 0) == 5);

  Chat chat(runner, processor, {.kv_tokens = 512});
  CHECK(chat.ask_several(3, pictures, "What?", generation,
                         [&](int n, std::string_view text) { streamed[std::size_t(n)] += text; }) == wanted);
  CHECK(std::equal(streamed.begin(), streamed.end(), wanted.begin(),
                   [](const std::string& a, const std::string& b) { return a.find(b) != a.npos; }));
  CHECK(chat.statistics().tiles == 0);  // the last one's: all before the question's last token is known
  CHECK(chat.statistics().cached_tokens == chat.statistics().prompt_tokens - 1);
  REQUIRE(chat.history().size() == 1);
  CHECK(chat.history()[0].answer == wanted[0]);
  const std::vector<Turn> history = chat.history();
  CHECK(chat.ask_several(1, {}, "Why?", generation)[0] == alone(0, history, pictures, "Why?", {}));

  const std::size_t turns = chat.history().size();
  CHECK(what_of<RequestError>([&] { chat.ask_several(0, {}, "Why?", generation); }) ==
        "answers: expected at least 1, found 0");
  CHECK_THROWS_AS(chat.ask_several(3, {}, "Why?", generation,
                                   [](int n, std::string_view) {
                                     if (n == 1) throw RequestError("enough");
                                   }),
                  RequestError);
  CHECK(chat.history().size() == turns);

  // In steps of all, where there is room, and one after the other to the reader all the same.
  Engine engine(runner, {.kv_tokens = 1024, .max_sequences = 3});
  Chat together(engine, processor);
  std::string order, text;
  CHECK(together.ask_several(3, pictures, "What?", generation, [&](int n, std::string_view piece) {
    if (order.empty() || order.back() != char('0' + n)) order += char('0' + n);
    text += piece;
  }) == wanted);
  CHECK(order == "012");
  CHECK(text == streamed[0] + streamed[1] + streamed[2]);
  CHECK(engine.status().steps < 2 + 2 * 8);  // the first two compute the pages, and there are eight tokens of each
  Chat own(runner, processor);
  CHECK(own.ask_several(3, pictures, "What?", generation) == wanted);
}

}  // namespace
