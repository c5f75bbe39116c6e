// The bodies of convert_checkpoint.hpp.
#pragma once
#include <string>

#include "ivl/checkpoint/convert.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/convert_checkpoint.hpp"
#include "ivl/text/gguf_tokenizer_files.hpp"

namespace ivl {

IVL_INLINE void convert_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to,
                                   std::optional<FolderFormat> target, const LoadOptions& options) {
  const CheckpointConfig config = read_checkpoint_config(from, options.mmproj);
  const Processor processor = load_processor(from, config);
  ConvertedTokens tokens{.image = processor.tokenizer().id_of(image_context_token).value_or(-1),
                         .end = processor.end_token()};
  if (tokens.image < 0)
    fail<FileError>(from.string(), ": expected a tokenizer with the token ", image_context_token, ", found none");
  const FolderFormat format = target.value_or(config.facts.format);
  if (config.gguf) {
    const Gguf model(config.gguf->model);
    tokens.files = tokenizer_files(model);
    const bool has_template = config.facts.format == FolderFormat::hf && model.has("tokenizer.chat_template");
    if (has_template && format == FolderFormat::hf)
      tokens.files["chat_template.jinja"] = model.get<std::string_view>("tokenizer.chat_template");
  }
  convert_folder(from, to, format, tokens, options);
}

}  // namespace ivl
