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
#include "ivl/text/message_template.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// The texts and numbers of a checkpoint, without its weights. Const after construction.
class Processor {
 public:
  /// `where` starts errors. Without a tokenizer only ids can be asked. `messages` writes the prompts; without it the
  /// style does. Throws ConfigError for a template that is not known, FileError for a tokenizer without the tokens
  /// around a picture or the one that ends an answer.
  Processor(ModelFacts facts, int tile_px, int tokens_per_tile, std::optional<Tokenizer> tokenizer, std::string where,
            std::optional<MessageTemplate> messages = {});

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

  /// The whole prompt as text and places of pictures, where the <image> marks are. Throws RequestError where their
  /// numbers do not match, and where the folder's template refuses the conversation.
  std::vector<Segment> segments(std::optional<std::string_view> system, std::span<const Turn> history,
                                std::string_view question, int pictures) const;

  /// The same as ids, with the pictures.
  Prompt prompt(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                std::span<const Picture> pictures = {}) const;

  /// Ids of a prompt's segments, with the token before it. A picture stands between tokens that are split off from all
  /// text, so segments have the ids that the whole has.
  Prompt prompt_of(std::span<const Segment> segments, std::span<const Picture> pictures) const;

  /// The token that goes before a prompt: some tokenizers want one, unless the folder's template wrote it.
  std::optional<int> token_before(std::string_view prompt) const;

 private:
  ModelFacts facts_;
  int tile_px_, tokens_per_tile_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<MessageTemplate> messages_;
  std::string where_;
  PromptStyle style_ = PromptStyle::hf;
  int end_token_ = -1;
  std::vector<int> stop_ids_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/processor.ipp"
#endif
