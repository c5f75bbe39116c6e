// The bodies of checkpoint.hpp.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/config/fields.hpp"
#include "ivl/core/error.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

namespace detail {

/// The template in a GGUF file, with the special tokens that the file has ids of. Those that it lacks are undefined, as
/// in a folder.
inline std::optional<MessageTemplate> message_template_in(const Gguf& model, const Tokenizer& tokenizer) {
  constexpr const char* key = "tokenizer.chat_template";
  if (!model.has(key)) return std::nullopt;
  constexpr std::pair<const char*, const char*> tokens[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                                            {"eos_token", "tokenizer.ggml.eos_token_id"},
                                                            {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                                            {"pad_token", "tokenizer.ggml.padding_token_id"}};
  std::map<std::string, std::string> variables;
  for (const auto& [name, id] : tokens) {
    if (model.has(id)) variables[name] = tokenizer.bytes_of(model.get<int>(id));
  }
  return MessageTemplate(std::string(model.get<std::string_view>(key)), variables, model.place_of(key));
}

}  // namespace detail

IVL_INLINE Processor load_processor(const std::filesystem::path& path, const CheckpointConfig& config) {
  std::optional<Tokenizer> tokenizer;
  std::optional<MessageTemplate> messages;
  // The code that comes with the other format writes its prompts itself, whatever template its tokenizer has.
  const bool has_template = config.facts.format == FolderFormat::hf;
  if (config.gguf) {
    const Gguf model(config.gguf->model);
    tokenizer = Tokenizer::from_gguf(model);
    if (has_template) messages = detail::message_template_in(model, *tokenizer);
  } else if (Tokenizer::is_in(path)) {
    tokenizer = Tokenizer::from_folder(path);
    if (has_template) messages = MessageTemplate::from_folder(path);
  }
  const auto image_token = tokenizer ? tokenizer->id_of(image_context_token) : std::nullopt;
  if (const int said = config.facts.image_token_id; said >= 0 && image_token && *image_token != said)
    fail<ConfigError>(config.where(path), ": image_token_id: expected ", *image_token, ", which is ",
                      image_context_token, " in the tokenizer, found ", said);
  return Processor(config.facts, config.vlm.vit.tile_px, config.vlm.tokens_per_tile(), std::move(tokenizer),
                   path.string(), std::move(messages));
}

IVL_INLINE Processor load_processor(const std::filesystem::path& path, const std::filesystem::path& mmproj) {
  return load_processor(path, read_checkpoint_config(path, mmproj));
}

namespace detail {

IVL_INLINE void fail_unknown_structure(const std::string& where, const VlmConfig& found) {
  const std::string place = where + ": none of the compiled checkpoints has this structure";
  if (const std::string rule = broken_rule(found); !rule.empty())
    fail<ConfigError>(place, ", and none can have it. ", rule, ". The file says:\n\n", config_text(found));
  fail<ConfigError>(place,
                    ". To run it, put this into your source and call\nload<my_checkpoint>(...), or add it to the list "
                    "that you give with_checkpoint:\n\n",
                    config_text(found));
}

}  // namespace detail

}  // namespace ivl
