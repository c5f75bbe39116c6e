// Text to token ids and back, id for id what the `tokenizers` library gives: byte-level BPE as in Qwen2, Qwen2.5, Qwen3
// and gpt-oss, and SentencePiece's BPE as in InternLM. Steps: added tokens are cut out, the rest is normalised;
// byte-level: split into words, and each word goes through BPE; SentencePiece: the whole of it does.
#pragma once
#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/bpe.hpp"
#include "ivl/text/detokenizer.hpp"
#include "ivl/text/split_regex.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

class Gguf;

/// What encoding makes of the text of an added token such as "<|im_end|>".
enum class AddedTokens {
  split,    ///< its one id, as in a prompt
  as_text,  ///< ordinary text: for text of a stranger, who must not end turns or place images
};

/// What decoding makes of added tokens that are flagged special. "<think>" is not.
enum class SpecialTokens { skip, keep };

namespace detail {

/// Finds added tokens in text: leftmost, and the longest there.
class AddedTokenFinder {
 public:
  struct Token {
    std::string content;
    int id;
  };

  explicit AddedTokenFinder(std::vector<Token> tokens);

  /// Calls found(id) for each token and between(text) for the text between tokens, in order.
  template <class Found, class Between>
  void cut(std::string_view text, Found&& found, Between&& between) const;

 private:
  // Narrows the sorted list by one byte after the other.
  const Token* longest_at(std::string_view text) const;

  std::vector<Token> tokens_;  // sorted by content
  std::array<bool, 256> starts_{};
};

}  // namespace detail

/// Const after construction; threads may share it.
class Tokenizer {
 public:
  /// A checkpoint's folder: tokenizer.json, tokenizer.model, or vocab.json + merges.txt (see tokenizer_parts).
  /// Throws FileError.
  static Tokenizer from_folder(const std::filesystem::path& folder);

  /// Whether the folder has files of a tokenizer.
  static bool is_in(const std::filesystem::path& folder);

  /// The keys of a GGUF file (see gguf_tokenizer.hpp). Throws FileError.
  static Tokenizer from_gguf(const Gguf& file);

  /// The text of a tokenizer.json. Throws FileError.
  static Tokenizer from_json(std::string_view tokenizer_json);

  /// Appends the ids of `text`. Bytes that are not well-formed UTF-8 are read as U+FFFD, one for each maximal invalid
  /// subpart. Nothing is put before or after the text; a prompt begins with `bos`, where there is one.
  void encode(std::string_view text, std::vector<int>& ids, AddedTokens policy = AddedTokens::split) const;

  std::vector<int> encode(std::string_view text, AddedTokens policy = AddedTokens::split) const;

  /// Well-formed UTF-8: bytes that are not are replaced by U+FFFD, as the tokenizer's `Decoding` says. Ids that the
  /// tokenizer does not know (padding rows of the embedding) give nothing.
  std::string decode(std::span<const int> ids, SpecialTokens policy = SpecialTokens::skip) const;

  const DecodingRules& decoding() const { return decoding_; }
  TokenRole role_of(int id) const;

  /// The token that every prompt begins with.
  std::optional<int> bos() const { return bos_; }

  /// The id of an added token by its text, else of a vocabulary entry by its bytes.
  std::optional<int> id_of(std::string_view token) const;

  /// Ids are 0 to size() - 1. The embedding may have more rows than that, and a broken folder may have fewer.
  int size() const { return bpe_.vocabulary().size(); }

  /// Not always whole characters. Empty where there is no such id.
  std::string_view bytes_of(int id) const { return bpe_.vocabulary().bytes_of(id); }
  std::size_t longest_bytes() const { return bpe_.vocabulary().longest_bytes(); }

  bool is_special(int id) const { return id >= 0 && id < size() && special_[std::size_t(id)]; }

 private:
  using Finder = detail::AddedTokenFinder;

  static Tokenizer from_parts(const TokenizerParts& parts);

  explicit Tokenizer(const TokenizerParts& parts);

  /// SentencePiece: `piece` with a space for each mark, and with single spaces and one before it where the model says.
  std::string with_spaces(std::string_view piece) const;

  /// Characters without a piece become bytes. A character is a symbol only if it is a piece itself, as in every model
  /// that SentencePiece trains.
  void encode_characters(std::string_view text, std::vector<int>& ids) const;

  bool nfc_;
  bool prefix_space_, single_spaces_;
  DecodingRules decoding_;
  std::optional<int> bos_;
  std::map<std::string, int, std::less<>> added_;
  std::vector<bool> special_;  // [id]
  std::vector<bool> alone_;    // [id] an added token, which is no piece of a SentencePiece model
  Finder raw_finder_, normalised_finder_;
  std::optional<SplitRegex> regex_;  // none: SentencePiece
  Bpe bpe_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/tokenizer.ipp"
#endif
