// The prompts and ids of every flow of the model cards are the reference's (tests/golden/make_flows.py).
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/model/checkpoint.hpp"
#include "tests/text/golden_tokenizers.hpp"

namespace {

using namespace ivl;

const std::filesystem::path source_folder = IVL_SOURCE_DIR;

Json golden_flows() { return read_json(source_folder / "tests/golden/flows.json"); }

/// With the prompts of a GitHub folder that names this template.
Processor github_processor(const std::string& prompt_template, const std::filesystem::path& tokenizer_folder,
                           int tile_px, int tokens_per_tile) {
  ModelFacts facts;
  facts.format = FolderFormat::github;
  facts.prompt_template = prompt_template;
  return {facts, tile_px, tokens_per_tile, Tokenizer::from_folder(tokenizer_folder), tokenizer_folder.string()};
}

/// Of the toy that the golden file calls so.
Processor toy_processor(const std::string& name) {
  const auto folder =
      source_folder / "examples" / (name == "internvl3_5_gpt_oss" ? "drawn_scenes_moe" : "drawn_scenes");
  if (name != "internvl2_5") return load_processor(folder / "checkpoint");
  return github_processor(name, folder / "checkpoint", 112, 16);
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

}  // namespace

TEST_CASE("a flow's prompts are the reference's text and ids, with the history that it returned") {
  const Json golden = golden_flows();
  for (const Json& flow : golden["toys"]) {
    CAPTURE(flow["toy"]);
    CAPTURE(flow["flow"]);
    const Processor processor = toy_processor(flow["toy"]);
    std::vector<Picture> pictures;
    for (const std::string name : flow["images"])
      pictures.emplace_back(PictureFile(source_folder / "examples/drawn_scenes/demo" / (name + ".png")),
                            processor.tile_rules(flow["max_tiles"].get<int>()));
    if (flow["combined"]) pictures = {Picture::combined(pictures)};
    const auto system = flow["system"].is_null() ? std::nullopt : std::optional(flow["system"].get<std::string>());
    std::vector<Turn> history;
    for (const Json& turn : flow["turns"]) {
      const std::string question = turn["question"];
      CHECK(compact_text(processor, system, history, question, pictures) == turn["prompt"].get<std::string>());
      CHECK(ids_with_runs(processor, processor.prompt(system, history, question, pictures)) ==
            turn["prompt_ids"].get<std::vector<int>>());
      history.push_back({question, turn["answer"]});
    }
  }
}

TEST_CASE("the cards' own questions have the reference's prompts and ids in the real tokenizers") {
  const Json golden = golden_flows();
  std::map<std::string, Processor> processors;
  for (const Json& card : golden["card"]) {
    CAPTURE(card["flow"]);
    const std::string name = card["tokenizer"];
    CAPTURE(name);
    if (!processors.contains(name)) {
      const auto folder = test::real_tokenizer(name);
      if (folder.empty()) return;
      processors.emplace(name, github_processor(card["template"], folder, 1, 256));
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
