// Every flow of the model cards: prompts and ids are the reference's, and whole conversations with the toys are those
// that transformers has with them (tests/golden/make_flows.py).
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "tests/programs/run.hpp"
#include "tests/text/golden_tokenizers.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const Json& golden_flows() {
  static const Json golden = parse_json(text_of(IVL_SOURCE_DIR "/tests/golden/flows.json"), "flows.json");
  return golden;
}

/// The toy's folder. The one with the template of the Qwen3 kind is made of the other.
std::string folder_of(const std::string& toy_name) {
  if (toy_name == "hf") return "examples/drawn_scenes/checkpoint";
  if (toy_name == "internvl3_5_gpt_oss") return "examples/drawn_scenes_moe/checkpoint";
  const auto folder = work_folder() / "flows_github";
  if (!std::filesystem::exists(folder))
    REQUIRE(run("convert --from examples/drawn_scenes/checkpoint --to " + folder.string() + " --format github").code ==
            0);
  return folder.string();
}

std::optional<std::string> system_of(const Json& flow) {
  return flow["system"].is_null() ? std::nullopt : std::optional(flow["system"].get<std::string>());
}

std::vector<std::string> files_of(const Json& flow) {
  std::vector<std::string> files;
  for (const std::string name : flow["images"]) files.push_back(demo + name + ".png");
  return files;
}

/// A prompt's ids with minus the number of its rows for each picture.
std::vector<int> ids_with_runs(const Processor& processor, const Prompt& prompt) {
  std::vector<int> ids;
  auto place = prompt.pictures.begin();
  for (std::size_t at = 0; at <= prompt.ids.size(); ++at) {
    for (; place != prompt.pictures.end() && place->at == at; ++place)
      ids.push_back(-processor.tokens_of(place->picture));
    if (at < prompt.ids.size()) ids.push_back(prompt.ids[at]);
  }
  return ids;
}

/// A prompt's text with "<U+27E8>N<U+27E9>" for a picture of N > 1 rows.
std::string compact_text(const Processor& processor, std::optional<std::string_view> system,
                         std::span<const Turn> history, std::string_view question, std::span<const Picture> pictures) {
  std::string text;
  for (const Segment& segment : processor.segments(system, history, question, int(pictures.size()))) {
    text += segment.text;
    if (segment.picture >= 0)
      text += "\u27e8" + std::to_string(processor.tokens_of(pictures[std::size_t(segment.picture)])) + "\u27e9";
  }
  return text;
}

/// A picture that has so many tiles, of one pixel each.
Picture picture_of(int tiles) { return Picture::from_pixel_values(std::vector<float>(std::size_t(3 * tiles)), 1); }

std::string flags_of(const Json& flow) {
  std::string flags = " --threads 1 --checkpoint " + folder_of(flow["toy"]) + " --max-tiles " +
                      flow["max_tiles"].dump() + " --max-new-tokens " + golden_flows()["longest"].dump();
  if (const auto system = system_of(flow)) flags += " --system '" + *system + "'";
  if (flow["combined"]) flags += " --combined";
  return flags;
}

/// What is typed for a flow: its pictures, then its questions, which may have several lines.
std::string lines_of(const Json& flow) {
  std::string lines = "/clear\n";
  for (const std::string& file : files_of(flow)) lines += "/image " + file + "\n";
  for (const Json& turn : flow["turns"]) {
    std::string question = turn["question"];
    for (std::size_t at = 0; (at = question.find('\n', at)) != question.npos; at += 2) question.insert(at, "\\");
    lines += question + "\n";
  }
  return lines;
}

std::vector<Json> lines_of_json(const std::string& text) {
  std::vector<Json> objects;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) objects.push_back(parse_json(line, "answers"));
  return objects;
}

int rows_of(const std::vector<int>& ids) {
  int rows = 0;
  for (const int id : ids) rows += id < 0 ? -id : 1;
  return rows;
}

void check_answer(const Json& found, const Json& turn) {
  CAPTURE(found.dump());
  CHECK(found["question"] == turn["question"]);
  CHECK(found["text"] == turn["answer"]);
  CHECK(found["ids"] == turn["ids"]);
  CHECK(found["prompt_tokens"] == rows_of(turn["prompt_ids"]));
  CHECK(found["finish"] == "stop_token");
}

}  // namespace

TEST_CASE("conversations of every flow with the toys are those of transformers, to the last token") {
  // Those with the same flags are one run of chat.
  std::vector<std::pair<std::string, std::vector<Json>>> runs;
  for (const Json& flow : golden_flows()["toys"]) {
    const std::string flags = flags_of(flow);
    auto same = std::find_if(runs.begin(), runs.end(), [&](const auto& run) { return run.first == flags; });
    if (same == runs.end()) same = runs.insert(same, {flags, {}});
    same->second.push_back(flow);
  }
  CHECK(runs.size() == 8);
  int turns = 0;
  for (const auto& [flags, flows] : runs) {
    CAPTURE(flags);
    std::string lines;
    for (const Json& flow : flows) lines += lines_of(flow);
    const Ran ran = run("chat --json --quiet" + flags, lines);
    REQUIRE(ran.code == 0);
    CHECK(ran.err.empty());
    const std::vector<Json> answers = lines_of_json(ran.out);
    std::size_t answer = 0;
    for (const Json& flow : flows) {
      CAPTURE(flow["flow"]);
      for (const Json& turn : flow["turns"]) {
        REQUIRE(answer < answers.size());
        check_answer(answers[answer++], turn);
        ++turns;
      }
    }
    CHECK(answer == answers.size());
  }
  CHECK(turns == 37);
}

TEST_CASE("a flow's prompts are the reference's text and ids, with the history that it returned") {
  for (const Json& flow : golden_flows()["toys"]) {
    CAPTURE(flow["toy"]);
    CAPTURE(flow["flow"]);
    const std::filesystem::path folder = std::filesystem::path(IVL_SOURCE_DIR) / folder_of(flow["toy"]);
    const Processor processor = load_processor(folder);
    std::vector<Picture> pictures;
    for (const std::string& file : files_of(flow))
      pictures.emplace_back(PictureFile(std::filesystem::path(IVL_SOURCE_DIR) / file),
                            processor.tile_rules(flow["max_tiles"].get<int>()));
    if (flow["combined"]) pictures = {Picture::combined(pictures)};
    std::vector<Turn> history;
    for (const Json& turn : flow["turns"]) {
      const std::string question = turn["question"];
      CHECK(compact_text(processor, system_of(flow), history, question, pictures) == turn["prompt"].get<std::string>());
      CHECK(ids_with_runs(processor, processor.prompt(system_of(flow), history, question, pictures)) ==
            turn["prompt_ids"].get<std::vector<int>>());
      history.push_back({question, turn["answer"]});
    }
  }
}

TEST_CASE("the cards' own questions have the reference's prompts and ids in the real tokenizers") {
  std::map<std::string, Processor> processors;
  for (const Json& card : golden_flows()["card"]) {
    CAPTURE(card["flow"]);
    const std::string name = card["tokenizer"];
    CAPTURE(name);
    if (!processors.contains(name)) {
      const auto folder = test::real_tokenizer(name);
      if (folder.empty()) return;
      ModelFacts facts;
      facts.format = FolderFormat::github;
      facts.prompt_template = card["template"];
      processors.try_emplace(name, facts, 1, 256, Tokenizer::from_folder(folder), folder.string());
    }
    const Processor& processor = processors.at(name);
    std::vector<Picture> pictures;
    for (const int tiles : card["tiles"]) pictures.push_back(picture_of(tiles));
    std::vector<Turn> history;
    for (const Json& turn : card["history"]) history.push_back({turn[0], turn[1]});
    const std::string question = card["question"];
    CHECK(compact_text(processor, {}, history, question, pictures) == card["prompt"].get<std::string>());
    CHECK(ids_with_runs(processor, processor.prompt({}, history, question, pictures)) ==
          card["ids"].get<std::vector<int>>());
  }
}

TEST_CASE("the flows' first questions in one batch have the answers of each alone") {
  for (const std::string toy_name : {"hf", "internvl2_5", "internvl3_5_gpt_oss"}) {
    CAPTURE(toy_name);
    std::string requests, flags;
    std::vector<Json> turns;
    for (const Json& flow : golden_flows()["toys"]) {
      if (flow["toy"] != toy_name || flow["combined"] || flow["max_tiles"] != 4) continue;
      flags = flags_of(flow);
      turns.push_back(flow["turns"][0]);
      requests += Json{{"question", turns.back()["question"]}, {"images", files_of(flow)}}.dump() + "\n";
    }
    REQUIRE(turns.size() == 6);
    for (const std::string together : {"8", "2"}) {
      const Ran ran = run("batch_chat --json --quiet --requests - --together " + together + flags, requests);
      REQUIRE(ran.code == 0);
      const std::vector<Json> answers = lines_of_json(ran.out);
      REQUIRE(answers.size() == turns.size());
      for (std::size_t n = 0; n < turns.size(); ++n) check_answer(answers[n], turns[n]);
    }
  }
}
