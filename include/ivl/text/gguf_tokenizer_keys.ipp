// The bodies of gguf_tokenizer_keys.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/quotes.hpp"
#include "ivl/text/gguf_tokenizer.hpp"
#include "ivl/text/gguf_tokenizer_keys.hpp"
#include "ivl/text/sentence_piece_file.hpp"

namespace ivl {

namespace detail {

/// One row of the embedding, as `tokens` and `token_type` say it.
struct GgufTokens {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;

  GgufTokens(const TokenizerParts& parts, int rows) {
    using Type = SentencePiece::Type;
    for (int id = 0; id < rows; ++id) texts.push_back("[PAD" + std::to_string(id) + "]");
    types.assign(std::size_t(rows), std::int32_t(Type::unused));
    const auto set = [&](int id, const std::string& text, Type type) {
      if (id < 0 || id >= rows)
        fail<ConfigError>(parts.where, ": token ", in_quotes(text), ": expected an id below ", rows,
                          ", the rows of the embedding, found ", id);
      texts[std::size_t(id)] = text;
      types[std::size_t(id)] = std::int32_t(type);
    };
    const bool has_bytes = parts.kind == TokenizerKind::sentence_piece;
    for (const auto& [text, id] : parts.vocabulary) {
      const bool byte = has_bytes && text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
      set(id, text, byte ? Type::byte : Type::normal);
    }
    for (const AddedToken& token : parts.added) {
      const bool unknown = has_bytes && token.content == "<unk>";
      set(token.id, token.content, unknown ? Type::unknown : token.special ? Type::control : Type::user_defined);
    }
  }
};

inline void add_byte_level_keys(const TokenizerParts& parts, GgufMetadata& to) {
  const auto* split = std::ranges::find_if(named_splits, [&](const NamedSplit& named) {
    return named.pattern == parts.split_pattern && named.nfc == parts.nfc && named.ignore_merges == parts.ignore_merges;
  });
  if (split == std::end(named_splits))
    fail<ConfigError>(parts.where, ": GGUF has no name for this way to split text: ", in_quotes(parts.split_pattern));
  to.add("tokenizer.ggml.pre", split->name);
  std::vector<std::string> merges;
  for (const auto& [left, right] : parts.merges) merges.push_back(left + ' ' + right);
  to.add("tokenizer.ggml.merges", merges);
}

/// Only the order of scores counts: a piece is as good as the first merge that makes it.
inline void add_sentence_piece_keys(const TokenizerParts& parts, const GgufTokens& tokens, GgufMetadata& to) {
  std::map<std::string, float> score_of;
  for (std::size_t i = 0; i < parts.merges.size(); ++i) {
    const auto& [left, right] = parts.merges[i];
    score_of.emplace(left + right, -float(parts.ranks.empty() ? i : parts.ranks[i]));
  }
  std::vector<float> scores;
  for (const std::string& text : tokens.texts) {
    const auto score = score_of.find(text);
    scores.push_back(score != score_of.end() ? score->second : -float(parts.merges.size() + 1));
  }
  to.add("tokenizer.ggml.pre", "default");
  to.add("tokenizer.ggml.scores", scores);
  to.add("tokenizer.ggml.add_space_prefix", parts.prefix_space);
  to.add("tokenizer.ggml.remove_extra_whitespaces", parts.single_spaces);
}

}  // namespace detail

IVL_INLINE void add_tokenizer_keys(const TokenizerParts& parts, int rows, int end_token, GgufMetadata& to) {
  const bool sentence_piece = parts.kind == TokenizerKind::sentence_piece;
  const detail::GgufTokens tokens(parts, rows);
  to.add("tokenizer.ggml.model", sentence_piece ? "llama" : "gpt2");
  to.add("tokenizer.ggml.tokens", tokens.texts);
  to.add("tokenizer.ggml.token_type", tokens.types);
  if (sentence_piece)
    detail::add_sentence_piece_keys(parts, tokens, to);
  else
    detail::add_byte_level_keys(parts, to);
  if (parts.bos) to.add("tokenizer.ggml.bos_token_id", std::uint32_t(*parts.bos));
  to.add("tokenizer.ggml.eos_token_id", std::uint32_t(end_token));
  to.add("tokenizer.ggml.add_bos_token", parts.bos.has_value());
}

}  // namespace ivl
