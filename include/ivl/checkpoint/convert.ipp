// The bodies of convert.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/convert.hpp"
#include "ivl/checkpoint/convert_config.hpp"
#include "ivl/checkpoint/convert_tensors.hpp"
#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/checkpoint/lora.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/checkpoint/weight_parts.hpp"
#include "ivl/checkpoint/widen_weight.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors_writer.hpp"

namespace ivl {

namespace detail {

// ---- tensors -----------------------------------------------------------------------------------------------------
struct TensorsToWrite {
  std::vector<TensorToWrite> tensors;
  bool widened = false;  ///< some were stored in a way that folders of floats do not have
};

/// All tensors of a checkpoint as a format has them. Scalars of folders, and MXFP4, keep their bits; what is stored in
/// another way, and all of a GGUF pair, becomes bf16. Throws FileError where one is unknown, missing or misshapen.
inline TensorsToWrite converted_tensors(const TensorSource& source, const CheckpointConfig& known, FolderFormat target,
                                        const std::string& where, const LoadOptions& options) {
  const ModelFacts& facts = known.facts;
  const Dialect from = known.gguf ? Dialect::gguf : dialect_of(facts.format), to = dialect_of(target);
  const auto bind = [&](const std::vector<WeightSlot>& slots, const auto& note) {
    Binding binding = bind_weights(slots, facts, source, {.dialects = {from}});
    if (options.ignore_extra_tensors) leave_out_extra(binding, note);
    if (const std::string differences = binding_differences(binding); !differences.empty())
      fail<FileError>(where, ": tensors cannot be converted:", first_lines(differences));
    return binding;
  };
  TensorsToWrite result;
  Binding binding = bind(slots_in(source, facts, from, where, options.ignore_extra_tensors), options.note);
  const bool all_widened = known.gguf.has_value();
  result.widened = all_widened || !std::ranges::all_of(binding.weights, keeps_bits);
  naming(where, [&] {
    if (result.widened) binding = bind(sized_slots(std::move(binding), known.vlm.decoder.moe.experts), nullptr);
    for (const BoundWeight& weight : binding.weights) {
      if (all_widened || !keeps_bits(weight))
        widen_weight(weight, facts.family, to, source, where, result.tensors);
      else
        rename_weight(weight, facts.family, to, source, result.tensors);
    }
  });
  return result;
}

// ---- the folder --------------------------------------------------------------------------------------------------
inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  if (!(file << text) || !file.flush()) fail<FileError>(path.string(), ": cannot be written");
}

inline void write_json(const std::filesystem::path& path, const Json& json) { write_text(path, json.dump(2) + '\n'); }

/// Files of at most 5 GB, and their list where they are several.
inline void write_shards(const std::filesystem::path& to, const std::vector<TensorToWrite>& tensors,
                         const ProgressCallback& progress) {
  constexpr std::int64_t shard_bytes = 5'000'000'000;
  std::vector<std::size_t> ends;  // of the shards
  std::int64_t total = 0, bytes = 0, done = 0;
  std::vector<TensorToWrite> told;  // those that tell how far the writing is
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorToWrite& tensor = tensors[i];
    const std::int64_t size = tensor.bytes();
    if (bytes > 0 && bytes + size > shard_bytes) {
      ends.push_back(i);
      bytes = 0;
    }
    bytes += size;
    total += size;
    told.push_back({tensor.name, tensor.dtype, tensor.shape, [&, size](const ByteSink& write) {
                      if (progress) progress({done, total, tensor.name});
                      tensor.write(write);
                      done += size;
                    }});
  }
  ends.push_back(tensors.size());
  const auto number = [](std::size_t n) {
    return std::string(5 - std::min<std::size_t>(5, std::to_string(n).size()), '0') + std::to_string(n);
  };
  Json weight_map = Json::object();
  for (std::size_t shard = 0; shard < ends.size(); ++shard) {
    const std::size_t first = shard > 0 ? ends[shard - 1] : 0;
    const std::string name = ends.size() == 1
                                 ? "model.safetensors"
                                 : "model-" + number(shard + 1) + "-of-" + number(ends.size()) + ".safetensors";
    stream_safetensors(to / name, std::span(told).subspan(first, ends[shard] - first), {{"format", "pt"}});
    for (std::size_t i = first; i < ends[shard]; ++i) weight_map[tensors[i].name] = name;
  }
  if (ends.size() > 1)
    write_json(to / "model.safetensors.index.json",
               {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
  if (progress) progress({total, total, {}});
}

/// Of a folder: all files but the weights. config.json is written last.
inline void write_configs(const std::filesystem::path& from, const std::filesystem::path& to,
                          const CheckpointConfig& known, FolderFormat target, const ConvertedTokens& tokens,
                          bool widened) {
  namespace fs = std::filesystem;
  const bool same = known.facts.format == target;
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const bool converted = !same && (name == "preprocessor_config.json" || name == "generation_config.json");
    const bool ours = converted || name == "config.json" || name.ends_with(".safetensors") ||
                      name.ends_with(".safetensors.index.json");
    if (!ours && entry.is_regular_file()) fs::copy_file(entry.path(), to / name);
  }
  if (same && !widened) {
    fs::copy_file(from / "config.json", to / "config.json");
    return;
  }
  Json config = read_json(from / "config.json");
  if (widened) config = without_quantization(std::move(config));
  if (same) return write_json(to / "config.json", config);
  const auto read_or_empty = [&](const char* name) {
    return fs::exists(from / name) ? read_json(from / name) : Json::object();
  };
  write_json(to / "preprocessor_config.json",
             converted_preprocessor(read_or_empty("preprocessor_config.json"), known, target));
  write_json(to / "generation_config.json",
             converted_generation(read_or_empty("generation_config.json"), tokens, target));
  write_json(to / "config.json", converted_config(std::move(config), known, tokens, target));
}

/// Of a GGUF pair: the tokenizer's files, and what its keys say.
inline void write_configs(const std::filesystem::path& to, const CheckpointConfig& known, FolderFormat target,
                          const ConvertedTokens& tokens) {
  for (const auto& [name, text] : tokens.files) write_text(to / name, text);
  Json nothing = Json::object();
  write_json(to / "preprocessor_config.json", preprocessor_of(nothing, known, target));
  write_json(to / "generation_config.json", {{"eos_token_id", tokens.end}});
  write_json(to / "config.json", config_of(known, tokens, target));
}

}  // namespace detail

IVL_INLINE void convert_folder(const std::filesystem::path& from, const std::filesystem::path& to, FolderFormat target,
                               const ConvertedTokens& tokens, const LoadOptions& options) {
  namespace fs = std::filesystem;
  const CheckpointConfig known = read_checkpoint_config(from, options.mmproj);
  const bool same = known.facts.format == target;
  if (known.gguf && !options.lora.empty())
    fail<ConfigError>(options.lora.string(), ": a LoRA adapter is merged into a folder of safetensors, and ",
                      from.string(), " is GGUF: convert it first");
  if (options.load_as != LoadAs::stored)
    fail<ConfigError>("load_as: expected stored, since a folder of floats is written, found int8");
  if (!same && known.vlm.projector.order != ShuffleOrder::v2)
    fail<ConfigError>((from / "config.json").string(),
                      ": ps_version: expected v2, the only order of the HF format, found v1");
  if (fs::exists(to) && !fs::is_empty(to))
    fail<FileError>(to.string(), ": expected a new or empty folder, found files in it");
  const auto convert_from = [&](const TensorSource& source) {
    const auto [tensors, widened] = detail::converted_tensors(source, known, target, from.string(), options);
    if (same && options.lora.empty() && !widened)
      fail<FileError>(from.string(), ": expected a folder in the other format, found the wanted one");
    fs::create_directories(to);
    detail::write_shards(to, tensors, options.progress);
    if (known.gguf)
      detail::write_configs(to, known, target, tokens);
    else
      detail::write_configs(from, to, known, target, tokens, widened);
  };
  if (known.gguf) return convert_from(GgufWeights(*known.gguf, known.facts.family));
  const FolderWeights files(from);
  if (options.lora.empty()) return convert_from(files);
  convert_from(MergedWeights(files, options.lora, known.facts));
}

}  // namespace ivl
