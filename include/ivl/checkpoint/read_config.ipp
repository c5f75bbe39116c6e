// The bodies of read_config.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/config_reader.hpp"
#include "ivl/checkpoint/folder.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/read_decoder.hpp"
#include "ivl/checkpoint/read_gguf.hpp"
#include "ivl/checkpoint/read_quantization.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/settings.hpp"

namespace ivl {

namespace detail {

/// The two layouts are two classes of two libraries. `architectures` may be absent, `model_type` not.
inline FolderFormat read_format(const ConfigReader& config) {
  constexpr std::string_view types[] = {"internvl_chat", "internvl"};
  constexpr std::string_view chat[] = {"InternVLChatModel"}, conditional[] = {"InternVLForConditionalGeneration"};
  config.get<std::string>("model_type");
  const bool github = config.kind("model_type", types) == "internvl_chat";
  config.kind("architectures", github ? chat : conditional);
  return github ? FolderFormat::github : FolderFormat::hf;
}

inline VitConfig read_vit(const ConfigReader& vision, ModelFacts& facts) {
  const bool github = facts.format == FolderFormat::github;
  // Both formats and all sizes of the tower share these, whoever wrote the file.
  constexpr std::string_view types[] = {"intern_vit_6b", "internvl_vision"};
  constexpr std::string_view architectures[] = {"InternVisionModel", "InternVLVisionModel"};
  vision.kind("model_type", types);
  vision.kind("architectures", architectures);
  VitConfig vit;
  vit.layers = vision.size("num_hidden_layers");
  vit.hidden = vision.size("hidden_size");
  vit.heads = vision.size("num_attention_heads");
  vit.mlp_hidden = vision.size("intermediate_size");
  vit.patch_px = vision.square("patch_size");
  vit.tile_px = vision.square("image_size");
  const auto norm = vision.get<std::string>("norm_type");
  if (norm == "rms_norm")
    vit.norm = NormKind::rms_norm;
  else if (norm != "layer_norm")
    vision.refuse("norm_type", "layer_norm or rms_norm", norm);
  vit.qkv_bias = vision.get<bool>(github ? "qkv_bias" : "attention_bias");
  vit.qk_norm = vision.get<bool>(github ? "qk_normalization" : "use_qk_norm");
  facts.vision_norm_eps = vision.get<float>("layer_norm_eps");
  return vit;
}

/// `eos_token_id` is a number, a list of them, or absent.
inline std::vector<int> read_stop_ids(const ConfigReader& reader) {
  if (!reader.has("eos_token_id")) return {};
  if (reader.get<Json>("eos_token_id").is_array()) return reader.get<std::vector<int>>("eos_token_id");
  return {reader.get<int>("eos_token_id")};
}

/// What stands beside the two objects in one format.
inline void read_github_keys(const ConfigReader& config, CheckpointConfig& result) {
  ImageFacts& image = result.facts.image;
  const auto order = config.get_or<std::string>("ps_version", "v1");
  if (order != "v1" && order != "v2") config.refuse("ps_version", "v1 or v2", order);
  result.vlm.projector.order = order == "v1" ? ShuffleOrder::v1 : ShuffleOrder::v2;
  config.expect("force_image_size", result.vlm.vit.tile_px);
  result.facts.prompt_template = config.get<std::string>("template");
  image.thumbnail = config.get_or("use_thumbnail", false);
  image.min_tiles = config.get_or("min_dynamic_patch", 1);
  image.max_tiles = config.get_or("dynamic_image_size", false) ? config.get_or("max_dynamic_patch", 6) : 1;
}

inline void read_hf_keys(const ConfigReader& config, CheckpointConfig& result) {
  config.expect("image_seq_length", result.vlm.tokens_per_tile());
  result.facts.image_token_id = config.get_or("image_token_id", -1);
  if (auto ids = read_stop_ids(config); !ids.empty()) result.facts.stop_ids = std::move(ids);
}

/// `stop_strings` is a text, or a list of them.
inline std::vector<std::string> read_stop_strings(const ConfigReader& reader) {
  if (!reader.has("stop_strings")) return {};
  if (reader.get<Json>("stop_strings").is_array()) return reader.get<std::vector<std::string>>("stop_strings");
  return {reader.get<std::string>("stop_strings")};
}

/// `sequence_bias` is a list of [ids, bias]; without any an object too, which cannot have ids for keys.
inline std::vector<SequenceBias> read_sequence_bias(const ConfigReader& reader) {
  constexpr std::string_view key = "sequence_bias";
  std::vector<SequenceBias> biases;
  if (!reader.has(key) || reader.get<Json>(key) == Json::object()) return biases;
  for (const auto& pair : reader.get<std::vector<std::vector<Json>>>(key)) {
    if (pair.size() != 2) reader.refuse(key, "pairs of a list of ids and a number", describe(pair));
    biases.push_back({json_as<std::vector<std::int32_t>>(pair[0], key), json_as<float>(pair[1], key)});
    if (biases.back().ids.empty()) reader.refuse(key, "at least one id", "none");
  }
  return biases;
}

/// What generation_config.json adds.
inline void read_generation(const ConfigReader& reader, ModelFacts& facts) {
  if (auto ids = read_stop_ids(reader); !ids.empty()) facts.stop_ids = std::move(ids);
  SamplingFacts& sampling = facts.sampling;
  sampling.sample = reader.get_or("do_sample", sampling.sample);
  sampling.temperature = reader.get_or("temperature", sampling.temperature);
  sampling.top_k = reader.get_or("top_k", sampling.top_k);
  sampling.top_p = reader.get_or("top_p", sampling.top_p);
  sampling.min_p = reader.get_or("min_p", sampling.min_p);
  sampling.max_new_tokens = reader.has("max_new_tokens") ? reader.size("max_new_tokens") : 0;
  sampling.max_length = reader.has("max_length") ? reader.size("max_length") : 0;
  sampling.repetition_penalty = reader.get_or("repetition_penalty", sampling.repetition_penalty);
  sampling.frequency_penalty = reader.get_or("frequency_penalty", sampling.frequency_penalty);
  sampling.presence_penalty = reader.get_or("presence_penalty", sampling.presence_penalty);
  const auto count = [&](const char* key) {
    const int number = reader.get_or(key, 0);
    if (number < 0) reader.refuse(key, "0 or more", std::to_string(number));
    return number;
  };
  sampling.min_new_tokens = count("min_new_tokens");
  sampling.min_length = count("min_length");
  sampling.no_repeat_ngram_size = count("no_repeat_ngram_size");
  sampling.bad_words_ids = reader.get_or("bad_words_ids", sampling.bad_words_ids);
  for (const auto& word : sampling.bad_words_ids)
    if (word.empty()) reader.refuse("bad_words_ids", "at least one id", "none");
  sampling.sequence_bias = read_sequence_bias(reader);
  sampling.stop_strings = read_stop_strings(reader);
}

/// `size` or `crop_size`: one number, or two by name.
inline void expect_tile(const ConfigReader& reader, std::string_view key, int tile_px) {
  if (!reader.has(key)) return;
  const bool one = reader.get<Json>(key).is_number();
  const int height = one ? reader.size(key) : reader.inner(key).size("height");
  const int width = one ? height : reader.inner(key).size("width");
  if (height != tile_px || width != tile_px)
    reader.refuse(key, "config.json's image_size " + std::to_string(tile_px),
                  std::to_string(width) + " x " + std::to_string(height));
}

/// What preprocessor_config.json adds, or the object of processor_config.json.
inline void read_image_processor(const ConfigReader& reader, const VlmConfig& vlm, ModelFacts& facts) {
  if (facts.format == FolderFormat::hf) {
    // Files of the GitHub format name CLIP's class, which its code never runs.
    constexpr std::string_view types[] = {"GotOcr2ImageProcessor", "GotOcr2ImageProcessorFast",
                                          "GotOcr2ImageProcessorPil"};
    reader.kind("image_processor_type", types);
    facts.image.mean = {0.48145466f, 0.4578275f, 0.40821073f};  // what that class takes without the keys: CLIP's
    facts.image.deviation = {0.26862954f, 0.26130258f, 0.27577711f};
    if (!reader.has("size")) reader.refuse("size", "a value", "none, for which transformers takes 384 x 384");
  }
  const auto statistics = [&](std::string_view key, std::array<float, 3>& to) {
    if (!reader.has(key)) return;
    const auto values = reader.get<std::vector<float>>(key);
    if (values.size() != 3) reader.refuse(key, "three numbers", std::to_string(values.size()));
    std::copy(values.begin(), values.end(), to.begin());
  };
  statistics("image_mean", facts.image.mean);
  statistics("image_std", facts.image.deviation);
  facts.image.min_tiles = reader.get_or("min_patches", facts.image.min_tiles);
  facts.image.max_tiles = reader.get_or("max_patches", facts.image.max_tiles);
  expect_tile(reader, "size", vlm.vit.tile_px);
  if (reader.get_or("do_center_crop", false)) expect_tile(reader, "crop_size", vlm.vit.tile_px);
}

/// The files beside config.json, one after the other.
class Neighbours {
 public:
  Neighbours(const std::filesystem::path& folder, CheckpointConfig& config) : folder_(folder), config_(config) {}

  void read() {
    if (const Json generation = document("generation_config.json", SettingsOf::generation); !generation.is_null())
      read_generation({generation, where_}, config_.facts);
    const bool has_images = read_processor();
    const bool has_older = std::filesystem::exists(folder_ / "preprocessor_config.json");
    if (has_images && has_older) {
      config_.notes.push_back((folder_ / "preprocessor_config.json").string() +
                              ": not read, since processor_config.json has image_processor, which wins");
    } else if (const Json images = document("preprocessor_config.json", SettingsOf::image_processor);
               !images.is_null()) {
      read_image_processor({images, where_}, config_.vlm, config_.facts);
    }
    document("tokenizer_config.json", SettingsOf::tokenizer);  // `Tokenizer` reads it
  }

 private:
  /// Null where there is no such file. Its path is `where_` then.
  Json document(const char* name, SettingsOf object) {
    where_ = (folder_ / name).string();
    if (!std::filesystem::exists(where_)) return nullptr;
    Json json = read_json(where_);
    check_settings(object, json, where_, config_.notes);
    return json;
  }

  /// Whether processor_config.json says how pictures become numbers.
  bool read_processor() {
    const Json processor = document("processor_config.json", SettingsOf::processor);
    if (processor.is_null()) return false;
    const ConfigReader reader(processor, where_);
    reader.expect("image_seq_length", config_.vlm.tokens_per_tile());
    if (!reader.has("image_processor")) return false;
    check_settings(SettingsOf::image_processor, processor["image_processor"], member_place(where_, "image_processor"),
                   config_.notes);
    read_image_processor(reader.inner("image_processor"), config_.vlm, config_.facts);
    return true;
  }

  const std::filesystem::path& folder_;
  CheckpointConfig& config_;
  std::string where_;
};

}  // namespace detail

IVL_INLINE CheckpointConfig parse_checkpoint_config(const Json& document, const std::string& where) {
  const detail::ConfigReader config(document, where);
  CheckpointConfig result;
  ModelFacts& facts = result.facts;
  facts.format = detail::read_format(config);
  const bool github = facts.format == FolderFormat::github;
  check_settings(github ? SettingsOf::model_github : SettingsOf::model_hf, document, where, result.notes);
  const auto inner = [&](const char* key, SettingsOf object) {
    const detail::ConfigReader reader = config.inner(key);
    check_settings(object, document[key], detail::member_place(where, key), result.notes);
    return reader;
  };
  result.vlm.vit = detail::read_vit(inner("vision_config", SettingsOf::vision), facts);
  const char* const language_key = github ? "llm_config" : "text_config";
  const auto language = inner(language_key, SettingsOf::language);
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (language.has(key))
      check_settings(SettingsOf::rope, document[language_key][key],
                     detail::member_place(detail::member_place(where, language_key), key), result.notes);
  result.vlm.decoder = detail::read_decoder(language, facts);
  detail::check_quantization(document, where, facts.family);
  facts.tied_head = config.get_or("tie_word_embeddings", !github);  // each format's own default
  facts.stop_ids = detail::read_stop_ids(language);

  const double ratio = config.get_or("downsample_ratio", 0.5);
  if (!(ratio > 0 && ratio <= 1)) config.refuse("downsample_ratio", "more than 0, at most 1", std::to_string(ratio));
  result.vlm.projector.scale = int(std::lround(std::min(1 / ratio, 1024.0)));
  if (github)
    detail::read_github_keys(config, result);
  else
    detail::read_hf_keys(config, result);
  return result;
}

IVL_INLINE CheckpointConfig read_checkpoint_config(const std::filesystem::path& path,
                                                   const std::filesystem::path& mmproj) {
  if (const auto gguf = find_gguf(path, mmproj)) return read_gguf_config(*gguf);
  check_folder(path);
  detail::check_quantization_files(path);
  const auto config = path / "config.json";
  CheckpointConfig result = parse_checkpoint_config(read_json(config), config.string());
  detail::Neighbours(path, result).read();
  return result;
}

}  // namespace ivl
