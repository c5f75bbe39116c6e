// The bodies of gguf_tokenizer.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/quotes.hpp"
#include "ivl/text/gguf_tokenizer.hpp"
#include "ivl/text/sentence_piece_file.hpp"
#include "ivl/text/split_patterns.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// What a byte-level tokenizer does before BPE: a file only names it.
struct NamedSplit {
  std::string_view name, pattern;
  bool nfc, ignore_merges, drops_bytes;
};
inline constexpr NamedSplit named_splits[] = {
    {"qwen2", qwen2_split_pattern, true, false, false},
    {"deepseek-r1-qwen", qwen2_split_pattern, true, false, false},
    {"gpt-4o", gpt_oss_split_pattern, false, true, false},
    {"llama4", gpt_oss_split_pattern, false, true, false},
    {"smollm", smollm_split_pattern, false, false, true},
};

/// Reads one file's keys.
class GgufTokenizer {
 public:
  explicit GgufTokenizer(const Gguf& file) : file_(file) {}

  TokenizerParts read() {
    parts_.where = file_.where();
    const auto model = get<std::string_view>("model");
    const bool sentence_piece = model == "llama";
    if (!sentence_piece && model != "gpt2") refuse("model", "expected gpt2 or llama, found ", in_quotes(model));
    if (get_or("add_eos_token", false)) refuse("add_eos_token", "expected false: a prompt does not end here");
    read_tokens();
    if (sentence_piece)
      read_sentence_piece();
    else
      read_byte_level();
    if (get_or("add_bos_token", sentence_piece)) {
      parts_.bos = get<int>("bos_token_id");
      if (*parts_.bos < 0 || *parts_.bos >= tokens_)
        refuse("bos_token_id", "expected an id below ", tokens_, ", found ", *parts_.bos);
    }
    return std::move(parts_);
  }

 private:
  using Type = SentencePiece::Type;  // GGUF numbers the types of tokens alike

  static std::string key_of(std::string_view name) { return "tokenizer.ggml." + std::string(name); }
  template <class Value>
  Value get(std::string_view name) const {
    return file_.get<Value>(key_of(name));
  }
  template <class Value>
  Value get_or(std::string_view name, Value otherwise) const {
    return file_.get_or(key_of(name), otherwise);
  }
  template <class... Parts>
  [[noreturn]] void refuse(std::string_view name, const Parts&... parts) const {
    fail<FileError>(file_.place_of(key_of(name)), ": ", parts...);
  }

  /// Sorts the tokens into added ones and the pieces that BPE knows.
  void read_tokens() {
    const auto texts = get<std::vector<std::string_view>>("tokens");
    const auto types = get<std::vector<int>>("token_type");
    if (texts.size() > INT32_MAX / 4) refuse("tokens", texts.size(), " tokens are too many");
    if (types.size() != texts.size())
      refuse("token_type", "expected ", texts.size(), " types as there are tokens, found ", types.size());
    rows_ = int(texts.size());
    const auto is_padding = [&](std::size_t id) {  // a row of the embedding without a token
      return Type(types[id]) == Type::unused && texts[id].starts_with("[PAD");
    };
    std::size_t end = texts.size();
    while (end > 0 && is_padding(end - 1)) --end;
    tokens_ = int(end);
    for (std::size_t id = 0; id < end; ++id) {
      const std::string_view text = texts[id];
      if (text.empty() || !is_utf8(text))
        refuse("tokens", "token ", id, ": expected UTF-8 text, found ", in_quotes(text));
      switch (Type(types[id])) {
        case Type::normal:
        case Type::byte:
          pieces_.push_back({int(id), text, 0, Type(types[id])});
          break;
        case Type::unknown:
        case Type::control:
          parts_.added.push_back({int(id), std::string(text), true, false});
          break;
        case Type::user_defined:
          parts_.added.push_back({int(id), std::string(text), false, false});
          break;
        default:
          // No merge makes a row between tokens; it keeps its name, so that the ids have no gap.
          if (!is_padding(id))
            refuse("token_type", "token ", in_quotes(text), ": type ", types[id], " is not implemented");
          parts_.vocabulary.emplace_back(text, int(id));
      }
    }
  }

  void read_byte_level() {
    const auto name = get<std::string_view>("pre");
    const NamedSplit* split = std::ranges::find(named_splits, name, &NamedSplit::name);
    if (split == std::end(named_splits)) {
      std::string names;
      for (const NamedSplit& known : named_splits) names += (names.empty() ? "" : ", ") + std::string(known.name);
      refuse("pre", "expected one of ", names, ", found ", in_quotes(name));
    }
    if (get_or("add_space_prefix", false)) refuse("add_space_prefix", "expected false for gpt2");
    parts_.split_pattern = split->pattern;
    parts_.nfc = split->nfc;
    parts_.ignore_merges = split->ignore_merges;
    parts_.drops_bytes = split->drops_bytes;
    for (const SentencePiece& piece : pieces_) {
      if (piece.type != Type::normal)
        refuse("token_type", "token ", in_quotes(piece.text), ": gpt2 has no byte tokens");
      parts_.vocabulary.emplace_back(piece.text, piece.id);
    }
    const auto merges = get<std::vector<std::string_view>>("merges");
    parts_.merges.reserve(merges.size());
    naming(parts_.where, [&] {
      for (const std::string_view merge : merges) parts_.merges.push_back(merge_of(merge));
    });
  }

  void read_sentence_piece() {
    if (const auto name = get_or<std::string_view>("pre", "default"); name != "default")
      refuse("pre", "expected default for llama, found ", in_quotes(name));
    if (file_.has(key_of("precompiled_charsmap")))
      refuse("precompiled_charsmap", "a normaliser with a character map is not implemented");
    const auto scores = get<std::vector<float>>("scores");
    if (scores.size() != std::size_t(rows_))
      refuse("scores", "expected ", rows_, " scores as there are tokens, found ", scores.size());
    for (SentencePiece& piece : pieces_) piece.score = scores[std::size_t(piece.id)];
    set_spaces(get_or("add_space_prefix", true), get_or("remove_extra_whitespaces", false), parts_);
    naming(parts_.where, [&] { add_pieces(pieces_, parts_); });
  }

  const Gguf& file_;
  TokenizerParts parts_;
  int rows_ = 0, tokens_ = 0;  // of the embedding; those up to the last that has a token
  std::vector<SentencePiece> pieces_;
};

}  // namespace detail

IVL_INLINE TokenizerParts tokenizer_parts(const Gguf& file) { return detail::GgufTokenizer(file).read(); }

}  // namespace ivl
