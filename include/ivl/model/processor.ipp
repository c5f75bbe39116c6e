// The bodies of processor.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/model/processor.hpp"

namespace ivl {

namespace detail {

/// The HF format names no template; a tokenizer with gpt-oss's tokens has no others to write prompts with.
inline PromptStyle style_of(const ModelFacts& facts, const Tokenizer& tokenizer, const std::string& where) {
  const bool harmony = tokenizer.id_of(end_token(PromptStyle::internvl3_5_gpt_oss)).has_value();
  if (facts.format == FolderFormat::hf) return harmony ? PromptStyle::internvl3_5_gpt_oss : PromptStyle::hf;
  if (facts.prompt_template == "internvl2_5") return PromptStyle::internvl2_5;
  if (facts.prompt_template == "internvl3_5_gpt_oss") return PromptStyle::internvl3_5_gpt_oss;
  fail<ConfigError>(where, "/config.json: template: expected internvl2_5 or internvl3_5_gpt_oss, found ",
                    facts.prompt_template);
}

}  // namespace detail

IVL_INLINE Processor::Processor(ModelFacts facts, int tile_px, int tokens_per_tile, std::optional<Tokenizer> tokenizer,
                                std::string where, std::optional<MessageTemplate> messages)
    : facts_(std::move(facts)),
      tile_px_(tile_px),
      tokens_per_tile_(tokens_per_tile),
      tokenizer_(std::move(tokenizer)),
      messages_(std::move(messages)),
      where_(std::move(where)) {
  stop_ids_ = facts_.stop_ids;
  if (!tokenizer_) return;
  style_ = detail::style_of(facts_, *tokenizer_, where_);
  for (const std::string_view token : {ivl::end_token(style_), image_start_token, image_end_token}) {
    if (!tokenizer_->id_of(token))
      fail<FileError>(where_, ": expected a tokenizer with the token ", token, ", found none");
  }
  end_token_ = *tokenizer_->id_of(ivl::end_token(style_));
  // The reference's chat() stops at its template's separator alone, whatever the config says.
  if (facts_.format == FolderFormat::github || stop_ids_.empty()) stop_ids_ = {end_token_};
}

IVL_INLINE const Tokenizer& Processor::tokenizer() const {
  if (!tokenizer_)
    fail<RequestError>(where_,
                       ": expected tokenizer.json or tokenizer.model beside the weights, found neither: such a "
                       "model takes and gives token ids alone");
  return *tokenizer_;
}

IVL_INLINE TileRules Processor::tile_rules(std::optional<int> max_tiles) const {
  const ImageFacts& image = facts_.image;
  const int most = max_tiles.value_or(image.max_tiles);
  return {.tile_px = tile_px_,
          .min_tiles = std::min(image.min_tiles, most),
          .max_tiles = most,
          .thumbnail = image.thumbnail};
}

IVL_INLINE int Processor::tokens_of(const Prompt& prompt) const {
  int tokens = int(prompt.ids.size());
  for (const Prompt::Place& place : prompt.pictures) tokens += tokens_of(place.picture);
  return tokens;
}

IVL_INLINE Prompt Processor::prompt(std::optional<std::string_view> system, std::span<const Turn> history,
                                    std::string_view question, std::span<const Picture> pictures) const {
  return prompt_of(segments(system, history, question, int(pictures.size())), pictures);
}

IVL_INLINE std::vector<Segment> Processor::segments(std::optional<std::string_view> system,
                                                    std::span<const Turn> history, std::string_view question,
                                                    int pictures) const {
  return messages_ ? messages_->render_segments(system, history, question, pictures)
                   : render_segments(style_, system, history, question, pictures);
}

IVL_INLINE std::optional<int> Processor::token_before(std::string_view prompt) const {
  const std::optional<int> bos = tokenizer().bos();
  if (bos && messages_ && prompt.starts_with(tokenizer().bytes_of(*bos))) return std::nullopt;
  return bos;
}

IVL_INLINE Prompt Processor::prompt_of(std::span<const Segment> segments, std::span<const Picture> pictures) const {
  Prompt prompt;
  if (const auto bos = token_before(segments.empty() ? "" : segments[0].text)) prompt.ids.push_back(*bos);
  for (const Segment& segment : segments) {
    if (segment.picture >= 0)
      prompt.pictures.push_back({prompt.ids.size(), pictures[std::size_t(segment.picture)]});
    else
      tokenizer().encode(segment.text, prompt.ids);
  }
  return prompt;
}

}  // namespace ivl
