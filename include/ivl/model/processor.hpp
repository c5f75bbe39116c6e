// What stands between a user's pictures and words and the model's tiles and tokens. Needs no weights.
#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/core/error.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/tile_grid.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// The texts and numbers of a checkpoint folder, without its weights. Const after construction.
class Processor {
 public:
  /// Throws FileError, ConfigError. A folder may have no tokenizer at all: see `has_tokenizer`.
  static Processor from_folder(const std::filesystem::path& folder) {
    std::optional<Tokenizer> tokenizer;
    for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"}) {
      if (!tokenizer && std::filesystem::exists(folder / file)) tokenizer = Tokenizer::from_folder(folder);
    }
    return Processor(read_checkpoint_config(folder), std::move(tokenizer), folder.string());
  }

  const CheckpointConfig& config() const { return config_; }
  /// False for what `save_pretrained` of a model alone writes.
  bool has_tokenizer() const { return tokenizer_.has_value(); }
  /// Throws RequestError where the folder has none, as does all that needs it: texts, and ids of its tokens.
  const Tokenizer& tokenizer() const {
    if (tokenizer_) return *tokenizer_;
    fail<RequestError>(
        folder_,
        ": this folder has no tokenizer (tokenizer.json, tokenizer.model, or vocab.json and merges.txt): "
        "expected token ids in place of text. Weights, pictures and token ids work without one");
  }
  PromptStyle style() const { return style_; }
  const std::vector<int>& stop_ids() const { return stop_ids_; }
  int image_token() const { return tokenizer(), image_token_; }  ///< <IMG_CONTEXT>
  int end_token() const { return tokenizer(), end_token_; }      ///< that ends an answer in this style

  /// The checkpoint's own tile rules, or the same with another limit.
  TileRules tile_rules(std::optional<int> max_tiles = {}) const {
    const ImageFacts& image = config_.facts.image;
    const int most = max_tiles.value_or(image.max_tiles);
    return {.tile_px = config_.vlm.vit.tile_px,
            .min_tiles = std::min(image.min_tiles, most),
            .max_tiles = most,
            .thumbnail = image.thumbnail};
  }

  /// <IMG_CONTEXT> tokens of a picture.
  int tokens_of(const Image& picture, const TileRules& rules) const {
    return choose_grid(picture.width, picture.height, rules).tiles(rules) * config_.vlm.tokens_per_tile();
  }

  /// The whole prompt as text. Throws RequestError where pictures and <image> marks do not match.
  std::string prompt(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                     std::span<const int> tokens_per_picture) const {
    return render_with_images(style_, system, history, question, tokens_per_picture);
  }

  /// Ids of a prompt, with the token before it that some tokenizers want.
  std::vector<int> ids_of(std::string_view prompt) const {
    std::vector<int> ids;
    if (const auto bos = tokenizer().bos()) ids.push_back(*bos);
    tokenizer().encode(prompt, ids);
    return ids;
  }

  /// Ids of a prompt; each <IMG_CONTEXT> becomes -1 - i for the i-th picture row, as `Prompt::sources` wants it.
  /// Throws RequestError unless exactly `rows` of them stand there.
  std::vector<std::int32_t> sources(std::string_view prompt, int rows) const {
    std::vector<int> ids = ids_of(prompt);
    int row = 0;
    for (int& id : ids) {
      if (id == image_token_ && rows > 0) id = -1 - row++;
    }
    if (row != rows) {
      fail<RequestError>("prompt: its pictures have ", rows, " rows, but it holds ", row, " ", image_context_token,
                         " tokens: does the text itself contain one?");
    }
    return ids;
  }

 private:
  Processor(CheckpointConfig config, std::optional<Tokenizer> tokenizer, std::string folder)
      : config_(std::move(config)),
        tokenizer_(std::move(tokenizer)),
        folder_(std::move(folder)),
        style_(style_of(config_.facts, tokenizer_, folder_)),
        stop_ids_(config_.facts.stop_ids) {
    if (!tokenizer_) return;
    image_token_ = id_of(image_context_token);
    end_token_ = id_of(ivl::end_token(style_));
    // The reference's chat() stops at its template's separator alone, whatever the config says.
    if (config_.facts.format == FolderFormat::github || stop_ids_.empty()) stop_ids_ = {end_token_};
  }

  /// The HF format names no template; a tokenizer with gpt-oss's tokens has no others to write prompts with.
  static PromptStyle style_of(const ModelFacts& facts, const std::optional<Tokenizer>& tokenizer,
                              const std::string& folder) {
    const bool harmony = tokenizer ? tokenizer->id_of(ivl::end_token(PromptStyle::internvl3_5_gpt_oss)).has_value()
                                   : facts.family == Family::gpt_oss;
    if (facts.format == FolderFormat::hf) return harmony ? PromptStyle::internvl3_5_gpt_oss : PromptStyle::hf;
    if (facts.prompt_template == "internvl2_5") return PromptStyle::internvl2_5;
    if (facts.prompt_template == "internvl3_5_gpt_oss") return PromptStyle::internvl3_5_gpt_oss;
    fail<ConfigError>(folder, "/config.json: template: expected internvl2_5 or internvl3_5_gpt_oss, found ",
                      facts.prompt_template);
  }

  int id_of(std::string_view token) const {
    if (const auto id = tokenizer_->id_of(token)) return *id;
    fail<FileError>(folder_, ": expected a tokenizer with the token ", token, ", found none");
  }

  CheckpointConfig config_;
  std::optional<Tokenizer> tokenizer_;
  std::string folder_;
  PromptStyle style_;
  int image_token_ = 0, end_token_ = 0;
  std::vector<int> stop_ids_;
};

}  // namespace ivl
