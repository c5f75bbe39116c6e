// What stands between a user's pictures and words and the model's tiles and tokens. Needs no weights.
#pragma once
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/prompt.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// The texts and numbers of a checkpoint, without its weights. Const after construction.
class Processor {
 public:
  /// `where` starts errors. Without a tokenizer only ids can be asked. Throws ConfigError for a template that is not
  /// known, FileError for a tokenizer without the tokens around a
  /// picture or the one that ends an answer.
  Processor(ModelFacts facts, int tile_px, int tokens_per_tile, std::optional<Tokenizer> tokenizer, std::string where)
      : facts_(std::move(facts)),
        tile_px_(tile_px),
        tokens_per_tile_(tokens_per_tile),
        tokenizer_(std::move(tokenizer)),
        where_(std::move(where)) {
    stop_ids_ = facts_.stop_ids;
    if (!tokenizer_) return;
    style_ = style_of(facts_, *tokenizer_, where_);
    for (const std::string_view token : {ivl::end_token(style_), image_start_token, image_end_token}) {
      if (!tokenizer_->id_of(token))
        fail<FileError>(where_, ": expected a tokenizer with the token ", token, ", found none");
    }
    end_token_ = *tokenizer_->id_of(ivl::end_token(style_));
    // The reference's chat() stops at its template's separator alone, whatever the config says.
    if (facts_.format == FolderFormat::github || stop_ids_.empty()) stop_ids_ = {end_token_};
  }

  const ModelFacts& facts() const { return facts_; }
  bool has_tokenizer() const { return tokenizer_.has_value(); }
  /// Throws RequestError where the checkpoint came without one.
  const Tokenizer& tokenizer() const {
    if (!tokenizer_)
      fail<RequestError>(where_,
                         ": expected tokenizer.json or tokenizer.model beside the weights, found neither: such a "
                         "model takes and gives token ids alone");
    return *tokenizer_;
  }
  PromptStyle style() const { return style_; }
  const std::vector<int>& stop_ids() const { return stop_ids_; }
  int end_token() const { return end_token_; }  ///< that ends an answer in this style

  /// The checkpoint's own tile rules, or the same with another limit.
  TileRules tile_rules(std::optional<int> max_tiles = {}) const {
    const ImageFacts& image = facts_.image;
    const int most = max_tiles.value_or(image.max_tiles);
    return {.tile_px = tile_px_,
            .min_tiles = std::min(image.min_tiles, most),
            .max_tiles = most,
            .thumbnail = image.thumbnail};
  }

  /// Rows that stand for a picture in a prompt.
  int tokens_of(const Picture& picture) const { return picture.tiles() * tokens_per_tile_; }

  /// The whole prompt, pictures in the place of <image> marks. Throws RequestError where their numbers do not match.
  Prompt prompt(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                std::span<const Picture> pictures = {}) const {
    return prompt_of(render_segments(style_, system, history, question, int(pictures.size())), pictures);
  }

  /// Ids of a prompt's segments, with the token before it that some tokenizers want. A picture stands between tokens
  /// that are split off from all text, so segments have the ids that the whole has.
  Prompt prompt_of(std::span<const Segment> segments, std::span<const Picture> pictures) const {
    Prompt prompt;
    if (const auto bos = tokenizer().bos()) prompt.ids.push_back(*bos);
    for (const Segment& segment : segments) {
      if (segment.picture >= 0)
        prompt.pictures.push_back({prompt.ids.size(), pictures[std::size_t(segment.picture)]});
      else
        tokenizer().encode(segment.text, prompt.ids);
    }
    return prompt;
  }

 private:
  /// The HF format names no template; a tokenizer with gpt-oss's tokens has no others to write prompts with.
  static PromptStyle style_of(const ModelFacts& facts, const Tokenizer& tokenizer, const std::string& where) {
    const bool harmony = tokenizer.id_of(ivl::end_token(PromptStyle::internvl3_5_gpt_oss)).has_value();
    if (facts.format == FolderFormat::hf) return harmony ? PromptStyle::internvl3_5_gpt_oss : PromptStyle::hf;
    if (facts.prompt_template == "internvl2_5") return PromptStyle::internvl2_5;
    if (facts.prompt_template == "internvl3_5_gpt_oss") return PromptStyle::internvl3_5_gpt_oss;
    fail<ConfigError>(where, "/config.json: template: expected internvl2_5 or internvl3_5_gpt_oss, found ",
                      facts.prompt_template);
  }

  ModelFacts facts_;
  int tile_px_, tokens_per_tile_;
  std::optional<Tokenizer> tokenizer_;
  std::string where_;
  PromptStyle style_ = PromptStyle::hf;
  int end_token_ = -1;
  std::vector<int> stop_ids_;
};

}  // namespace ivl
