// What stands between a user's pictures and words and the model's tiles and tokens. Needs no weights.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/prompt.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// The texts and numbers of a checkpoint, without its weights. Const after construction.
class Processor {
 public:
  /// `where` starts errors. Without a tokenizer only ids can be asked. Throws ConfigError for a template that is not
  /// known, FileError for a tokenizer without the tokens around a picture or the one that ends an answer.
  Processor(ModelFacts facts, int tile_px, int tokens_per_tile, std::optional<Tokenizer> tokenizer, std::string where);

  const ModelFacts& facts() const { return facts_; }
  bool has_tokenizer() const { return tokenizer_.has_value(); }
  /// Throws RequestError where the checkpoint came without one.
  const Tokenizer& tokenizer() const;
  PromptStyle style() const { return style_; }
  const std::vector<int>& stop_ids() const { return stop_ids_; }
  int end_token() const { return end_token_; }  ///< that ends an answer in this style

  /// The checkpoint's own tile rules, or the same with another limit.
  TileRules tile_rules(std::optional<int> max_tiles = {}) const;

  /// How the folder's own code opens pictures: transformers turns them upright, the model cards' code does not.
  DecodeOptions decode_options() const {
    return {.orientation = facts_.format == FolderFormat::hf ? Orientation::upright : Orientation::stored};
  }

  /// Rows that stand for a picture in a prompt.
  int tokens_of(const Picture& picture) const { return picture.tiles() * tokens_per_tile_; }
  /// Tokens of a prompt, the rows of its pictures among them.
  int tokens_of(const Prompt& prompt) const;

  /// The whole prompt, pictures in the place of <image> marks. Throws RequestError where their numbers do not match.
  Prompt prompt(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                std::span<const Picture> pictures = {}) const;

  /// Ids of a prompt's segments, with the token before it that some tokenizers want. A picture stands between tokens
  /// that are split off from all text, so segments have the ids that the whole has.
  Prompt prompt_of(std::span<const Segment> segments, std::span<const Picture> pictures) const;

 private:
  ModelFacts facts_;
  int tile_px_, tokens_per_tile_;
  std::optional<Tokenizer> tokenizer_;
  std::string where_;
  PromptStyle style_ = PromptStyle::hf;
  int end_token_ = -1;
  std::vector<int> stop_ids_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/processor.ipp"
#endif
