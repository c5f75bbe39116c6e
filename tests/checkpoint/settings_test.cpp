// Every key of the settings files: the table, its page in docs/folders.md, and what is refused.
#include "ivl/files/settings.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/text/tokenizer.hpp"
#include "tests/support/checkpoint_copy.hpp"
#include "tests/support/text.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

using Place = std::pair<SettingsOf, std::string>;

const std::map<std::string, SettingsOf> headings = {
    {"`config.json`, HF format", SettingsOf::model_hf},
    {"`config.json`, GitHub format", SettingsOf::model_github},
    {"`vision_config`", SettingsOf::vision},
    {"`text_config` and `llm_config`", SettingsOf::language},
    {"`rope_scaling` and `rope_parameters`", SettingsOf::rope},
    {"Every object of `config.json`", SettingsOf::any_model},
    {"`preprocessor_config.json`, and `image_processor` of `processor_config.json`", SettingsOf::image_processor},
    {"`processor_config.json`", SettingsOf::processor},
    {"`generation_config.json`", SettingsOf::generation},
    {"`tokenizer_config.json`", SettingsOf::tokenizer},
};

std::string name_of_use(SettingUse use) {
  return use == SettingUse::obeyed ? "obeyed" : use == SettingUse::checked ? "checked" : "harmless";
}

struct Documented {
  std::string use, text;
};

/// The tables behind "## Keys".
std::map<Place, Documented> documented() {
  std::ifstream file(fs::path(IVL_SOURCE_DIR) / "docs/folders.md");
  REQUIRE(file);
  std::map<Place, Documented> result;
  const SettingsOf* object = nullptr;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("### ")) {
      CAPTURE(line);
      REQUIRE(headings.contains(line.substr(4)));
      object = &headings.at(line.substr(4));
    }
    if (!object || !line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::istringstream cells_of(line.substr(2));
    for (std::string cell; std::getline(cells_of, cell, '|');) cells.push_back(cell);
    REQUIRE(cells.size() == 3);
    const std::string use = cells[1].substr(1, cells[1].size() - 2);
    for (std::size_t at = cells[0].find('`'); at != std::string::npos; at = cells[0].find('`', at + 1)) {
      const std::size_t end = cells[0].find('`', at + 1);
      const std::string key = cells[0].substr(at + 1, end - at - 1);
      CAPTURE(key);
      CHECK(result.emplace(Place(*object, key), Documented{use, cells[2]}).second);
      at = end;
    }
  }
  return result;
}

std::string refusal(SettingsOf object, const std::string& key, const Json& value) {
  std::vector<std::string> notes;
  return test::error_of<ConfigError>([&] { check_settings(object, {{key, value}}, "file", notes); });
}

/// A checked key whose passing values depend on the folder, so that its reader checks it.
struct InFolder {
  SettingsOf object;
  const char *model, *format, *file, *place;
  Json good, bad;
};

const std::vector<InFolder>& in_folders() {
  using enum SettingsOf;
  const char *config = "config.json", *images = "preprocessor_config.json", *tokens = "tokenizer_config.json";
  static const std::vector<InFolder> all = {
      {model_hf, "qwen3_tiny", "hf", config, "/architectures", {"InternVLForConditionalGeneration"}, {"InternVL"}},
      {model_hf, "qwen3_tiny", "hf", config, "/model_type", "internvl", "internvl_flash"},
      {model_hf, "qwen3_tiny", "hf", config, "/image_seq_length", 4, 256},
      {model_hf, "qwen3_tiny", "hf", config, "/image_token_id", 308, 309},
      {model_github, "qwen3_tiny", "github", config, "/architectures", {"InternVLChatModel"}, {"InternVL"}},
      {model_github, "qwen3_tiny", "github", config, "/model_type", "internvl_chat", "internvl_flash"},
      {model_github, "qwen3_tiny", "github", config, "/force_image_size", 56, 448},
      {vision, "qwen3_tiny", "hf", config, "/vision_config/architectures", {"InternVisionModel"}, {"CLIPVisionModel"}},
      {vision, "qwen3_tiny", "hf", config, "/vision_config/model_type", "internvl_vision", "clip"},
      {language, "qwen3_tiny", "hf", config, "/text_config/attention_bias", false, true},
      {language, "qwen3_tiny", "hf", config, "/text_config/qkv_bias", false, true},
      {language, "qwen2_gqa7", "github", config, "/llm_config/qkv_bias", true, false},
      {language, "qwen3_moe_tiny", "hf", config, "/text_config/norm_topk_prob", true, false},
      {rope, "qwen3_tiny", "hf", config, "/text_config/rope_scaling", {{"factor", 1.0}}, {{"factor", 2.0}}},
      {rope, "qwen2_dynamic", "hf", config, "/text_config/rope_scaling/original_max_position_embeddings", 64, 32},
      {image_processor, "qwen3_tiny", "hf", images, "/size", 56, {{"height", 56}, {"width", 28}}},
      {image_processor,
       "qwen3_tiny",
       "hf",
       images,
       "",
       {{"do_center_crop", true}, {"crop_size", 56}},
       {{"do_center_crop", true}, {"crop_size", 28}}},
      {image_processor, "qwen3_tiny", "hf", images, "/image_processor_type", "GotOcr2ImageProcessorPil",
       "CLIPImageProcessor"},
      {processor, "qwen3_tiny", "hf", "processor_config.json", "/image_seq_length", 4, 256},
      {tokenizer, "qwen3_tiny", "hf", tokens, "/add_bos_token", false, true},
      {tokenizer, "qwen3_tiny", "hf", tokens, "/add_prefix_space", false, true},
      {tokenizer, "qwen2_gqa7", "github", tokens, "/tokenizer_class", "Qwen2Tokenizer", "LlamaTokenizer"},
  };
  return all;
}

/// The last name of a JSON pointer, or of the object that stands in for a whole file.
std::string key_of(const InFolder& row) {
  const std::string place = row.place;
  if (place.empty()) return "crop_size";
  if (row.object == SettingsOf::rope && row.bad.is_object()) return "factor";
  return place.substr(place.rfind('/') + 1);
}

void set(const fs::path& folder, const InFolder& row, const Json& value) {
  Json document = fs::exists(folder / row.file) ? read_json(folder / row.file) : Json::object();
  document[Json::json_pointer(row.place)] = value;
  std::ofstream(folder / row.file) << document.dump();
}

TEST_CASE("The table and docs/folders.md know the same keys, with the same use and values") {
  const auto pages = documented();
  std::set<Place> rows;
  for (const Setting& setting : known_settings()) {
    CAPTURE(setting.key);
    const Place place(setting.object, setting.key);
    CHECK(rows.insert(place).second);
    const auto page = pages.find(place);
    REQUIRE(page != pages.end());
    CHECK(page->second.use == name_of_use(setting.use));
    if (!setting.values.empty())
      for (const Json& value : Json::parse(setting.values))
        CHECK(contains(page->second.text, "`" + value.dump() + "`"));
  }
  for (const auto& [place, page] : pages) {
    CAPTURE(place.second);
    CHECK(rows.contains(place));
  }
}

TEST_CASE("Every key that the table checks passes its values and null, and is refused by name otherwise") {
  int count = 0;
  for (const Setting& setting : known_settings()) {
    const std::string key(setting.key);
    CAPTURE(key);
    CHECK((setting.values.empty() || setting.use == SettingUse::checked));
    if (setting.values.empty()) continue;
    ++count;
    for (const Json& value : Json::parse(setting.values)) {
      CHECK(refusal(setting.object, key, value) == "");
      for (const Json& other : {Json(1234), Json("another"), Json(!value.is_boolean() || !value.get<bool>()),
                                Json::array({5, 6}), Json{{"a", 1}}})
        CHECK(refusal(setting.object, key, other).starts_with("file: " + key + ": expected "));
    }
    CHECK(refusal(setting.object, key, nullptr) == "");
  }
  CHECK(count > 90);
  CHECK(refusal(SettingsOf::image_processor, "rescale_factor", 1.0 / 255) == "");
  CHECK(refusal(SettingsOf::generation, "num_beams", 4) == "file: num_beams: expected 1, found 4");
  CHECK(refusal(SettingsOf::model_github, "use_llm_lora", 16) ==
        "file: use_llm_lora: expected 0, found 16; merge the LoRA weights into the model first");
}

TEST_CASE("Every key that depends on the rest of a folder is refused by name there") {
  std::set<Place> covered{{SettingsOf::tokenizer, "legacy"}};  // the next test
  for (const InFolder& row : in_folders()) {
    const std::string key = key_of(row);
    CAPTURE(key);
    covered.emplace(row.object, key);
    const CheckpointCopy copy(tiny_folder(row.model, row.format));
    const auto error = [&] { return test::error_of<Error>([&] { load_processor(copy.path()); }); };
    const bool whole = std::string(row.place).empty();
    const auto put = [&](const Json& value) {
      if (whole)
        copy.edit_json(row.file, [&](Json& json) { json.update(value); });
      else
        set(copy.path(), row, value);
    };
    put(row.good);
    CHECK(error() == "");
    put(row.bad);
    const std::string said = error();
    CAPTURE(said);
    CHECK(contains(said, std::string("/") + row.file + ": "));
    CHECK(contains(said, key + ": expected "));
  }
  for (const Setting& setting : known_settings())
    if (setting.use == SettingUse::checked && setting.values.empty()) {
      CAPTURE(setting.key);
      CHECK(covered.contains(Place(setting.object, setting.key)));
    }
}

TEST_CASE("legacy is refused beside tokenizer.model alone") {
  const test::TemporaryFolder folder;
  fs::copy_file(fs::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer/sentence_piece/tokenizer.model",
                folder / "tokenizer.model");
  const auto error_with = [&](bool legacy) {
    std::ofstream(folder / "tokenizer_config.json") << Json{{"legacy", legacy}}.dump();
    return test::error_of<Error>([&] { Tokenizer::from_folder(folder.path()); });
  };
  CHECK(error_with(true) == "");
  CHECK(contains(error_with(false), "tokenizer_config.json: tokenizer legacy: false is not implemented"));
}

TEST_CASE("All that transformers writes by itself is known, and passes") {
  const std::map<std::string, SettingsOf> objects = {{"model_hf", SettingsOf::model_hf},
                                                     {"vision", SettingsOf::vision},
                                                     {"language", SettingsOf::language},
                                                     {"generation", SettingsOf::generation},
                                                     {"image_processor", SettingsOf::image_processor},
                                                     {"tokenizer", SettingsOf::tokenizer}};
  for (const char* version : {"4.57.6", "5.23.0"}) {
    const Json keys =
        read_json(fs::path(IVL_SOURCE_DIR) / "tests/golden/settings" / (std::string("keys_") + version + ".json"));
    for (const auto& [name, list] : keys.items())
      for (const Json& object : list) {
        CHECK(object.size() > 4);
        std::vector<std::string> notes;
        CHECK(test::error_of<Error>([&] { check_settings(objects.at(name), object, name, notes); }) == "");
        CHECK(notes == std::vector<std::string>());
      }
  }
}

TEST_CASE("Keys that nobody knows are noted, file by file, and stop nothing") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  CHECK(read_checkpoint_config(copy.path()).notes == std::vector<std::string>());
  for (const char* file :
       {"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json"})
    copy.edit_json(file, [](Json& json) { json["a\n"] = json["b"] = 1; });
  copy.edit_json("config.json", [](Json& json) { json["vision_config"]["c"] = Json::array(); });
  const auto place = [&](const char* file) { return (copy / file).string(); };
  const std::string ab = ": unknown keys 'a\\x0a', 'b' are not obeyed";
  CHECK(read_checkpoint_config(copy.path()).notes ==
        std::vector{place("config.json") + ab, place("config.json") + ": vision_config: unknown key 'c' is not obeyed",
                    place("generation_config.json") + ab, place("preprocessor_config.json") + ab,
                    place("tokenizer_config.json") + ab});
}

TEST_CASE("processor_config.json says what preprocessor_config.json did, and wins over it") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  Json images = read_json(copy / "preprocessor_config.json");
  images["max_patches"] = 4;
  images["image_mean"] = {0.5, 0.25, 0.125};
  const auto write = [&] {
    std::ofstream(copy / "processor_config.json")
        << Json{{"image_processor", images}, {"image_seq_length", 4}, {"processor_class", "InternVLProcessor"}}.dump();
  };
  write();
  CheckpointConfig config = read_checkpoint_config(copy.path());
  CHECK(config.facts.image.max_tiles == 4);
  CHECK(config.facts.image.mean == std::array{0.5f, 0.25f, 0.125f});
  REQUIRE(config.notes.size() == 1);
  CHECK(config.notes[0] == (copy / "preprocessor_config.json").string() +
                               ": not read, since processor_config.json has image_processor, which wins");
  fs::remove(copy / "preprocessor_config.json");
  config = read_checkpoint_config(copy.path());
  CHECK(config.facts.image.max_tiles == 4);
  CHECK(config.notes.empty());

  images.erase("image_mean");
  images.erase("image_std");
  write();
  config = read_checkpoint_config(copy.path());  // the class's own, as the golden keys show
  const Json clip =
      read_json(fs::path(IVL_SOURCE_DIR) / "tests/golden/settings/keys_5.23.0.json")["image_processor"][0];
  for (std::size_t colour = 0; colour < 3; ++colour) {
    CHECK(config.facts.image.mean[colour] == clip["image_mean"][colour].get<float>());
    CHECK(config.facts.image.deviation[colour] == clip["image_std"][colour].get<float>());
  }

  const Json size = images["size"];
  images.erase("size");
  write();
  CHECK(test::error_of<ConfigError>([&] { read_checkpoint_config(copy.path()); }) ==
        (copy / "processor_config.json").string() +
            ": image_processor: size: expected a value, found none, for which transformers takes 384 x 384");
  images["size"] = size;
  images["resample"] = 2;
  write();
  CHECK(test::error_of<ConfigError>([&] { read_checkpoint_config(copy.path()); }) ==
        (copy / "processor_config.json").string() + ": image_processor: resample: expected 3, found 2");
}

TEST_CASE("Stop ids: the whole model's, or else the language model's") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  fs::remove(copy / "generation_config.json");
  CHECK(read_checkpoint_config(copy.path()).facts.stop_ids == std::vector{282});
  copy.edit_json("config.json", [](Json& json) { json["eos_token_id"] = {281, 280}; });
  CHECK(read_checkpoint_config(copy.path()).facts.stop_ids == std::vector{281, 280});
}

}  // namespace
