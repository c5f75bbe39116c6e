// The bodies of gguf_pair.hpp.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/write_gguf.hpp"
#include "ivl/checkpoint/write_gguf_keys.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/gguf_writer.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/gguf_pair.hpp"
#include "ivl/text/gguf_tokenizer_keys.hpp"
#include "ivl/text/message_template.hpp"
#include "ivl/text/tokenizer_file.hpp"

namespace ivl {

namespace detail {

/// All keys of another file, except those that describe its tensors.
inline GgufMetadata keys_of(const Gguf& file) {
  GgufMetadata metadata;
  for (const std::string_view key : file.keys()) {
    const bool of_tensors = key == "general.alignment" || key == "general.file_type" ||
                            key == "general.quantization_version" || key.starts_with("split.") ||
                            key.starts_with("quantize.");
    if (!of_tensors) metadata.add(key, file.value_of(key));
  }
  return metadata;
}

inline GgufMetadata model_keys(const std::filesystem::path& from, const CheckpointConfig& config,
                               std::string_view name) {
  GgufMetadata metadata;
  const Processor processor = load_processor(from, config);
  processor.tokenizer();  // throws if there is no tokenizer
  add_language_keys(config, name, metadata);
  add_tokenizer_keys(tokenizer_parts(from), config.facts.vocab_rows, processor.end_token(), metadata);
  if (const auto found = find_chat_template(from)) metadata.add("tokenizer.chat_template", found->text);
  return metadata;
}

/// Tensors that tell how far the writing is.
inline std::vector<GgufTensorToWrite> with_progress(std::span<const GgufTensorToWrite> tensors, std::int64_t total,
                                                    std::int64_t& done, const ProgressCallback& progress) {
  std::vector<GgufTensorToWrite> told;
  for (const GgufTensorToWrite& tensor : tensors) {
    const auto write = [&tensor, &done, &progress, total](const ByteSink& sink) {
      if (progress) progress({done, total, tensor.name});
      naming("tensor " + tensor.name, [&] { tensor.write(sink); });
      done += tensor.bytes();
    };
    told.push_back({tensor.name, tensor.type, tensor.shape, write});
  }
  return told;
}

}  // namespace detail

IVL_INLINE void write_gguf_pair(const std::filesystem::path& from, const GgufFiles& to, GgufMixture mixture,
                                const LoadOptions& options) {
  const bool with_mmproj = !to.mmproj.empty();
  for (const std::filesystem::path& path : {to.model, to.mmproj}) {
    if (!path.empty() && std::filesystem::exists(path))
      fail<FileError>(path.string(), ": expected a new file, found one that is there");
  }
  if (with_mmproj && to.mmproj == to.model)
    fail<FileError>(to.model.string(), ": expected two files, found the same path for the model and the mmproj");
  const CheckpointConfig config = read_checkpoint_config(from, options.mmproj);
  if (options.note && !config.gguf && config.facts.sampling.sample)
    options.note("what generation_config.json proposes for sampling has no place in a GGUF file");
  const GgufTensors tensors(from, config, mixture, options);
  const std::string name = std::filesystem::weakly_canonical(from).filename().string();
  GgufMetadata model, mmproj;
  naming(config.where(from), [&] {
    model = config.gguf ? detail::keys_of(Gguf(config.gguf->model)) : detail::model_keys(from, config, name);
    if (!with_mmproj) return;
    if (config.gguf)
      mmproj = detail::keys_of(Gguf(config.gguf->mmproj));
    else
      add_vision_keys(config, name, mmproj);
  });
  for (GgufMetadata* keys : {&model, &mmproj}) {
    keys->add("general.quantization_version", std::uint32_t(2));
    keys->add("general.file_type", detail::row_of(mixture).file_type);
  }

  std::int64_t total = 0, done = 0;
  for (const GgufTensorToWrite& tensor : tensors.model()) total += tensor.bytes();
  for (const GgufTensorToWrite& tensor : tensors.mmproj()) total += with_mmproj ? tensor.bytes() : 0;
  write_gguf(to.model, model, detail::with_progress(tensors.model(), total, done, options.progress));
  if (with_mmproj)
    write_gguf(to.mmproj, mmproj, detail::with_progress(tensors.mmproj(), total, done, options.progress));
  if (options.progress) options.progress({total, total, {}});
}

}  // namespace ivl
