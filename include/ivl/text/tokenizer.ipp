// The bodies of tokenizer.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/text/gguf_tokenizer.hpp"
#include "ivl/text/nfc.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"
#include "ivl/text/vocabulary.hpp"

namespace ivl {

namespace detail {

IVL_INLINE AddedTokenFinder::AddedTokenFinder(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const Token& a, const Token& b) { return a.content < b.content; });
  for (const Token& token : tokens_) starts_[std::uint8_t(token.content[0])] = true;
}

template <class Found, class Between>
void AddedTokenFinder::cut(std::string_view text, Found&& found, Between&& between) const {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Token* token = starts_[std::uint8_t(text[at])] ? longest_at(text.substr(at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    if (at > done) between(text.substr(done, at - done));
    found(token->id);
    done = at += token->content.size();
  }
  if (done < text.size()) between(text.substr(done));
}

IVL_INLINE const AddedTokenFinder::Token* AddedTokenFinder::longest_at(std::string_view text) const {
  const Token* longest = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (std::size_t at = 0; first != last; ++at) {
    if (first->content.size() == at) longest = &*first++;
    if (at == text.size()) break;
    const auto before = [at](const Token& token, char c) { return std::uint8_t(token.content[at]) < std::uint8_t(c); };
    const auto after = [at](char c, const Token& token) { return std::uint8_t(c) < std::uint8_t(token.content[at]); };
    first = std::lower_bound(first, last, text[at], before);
    last = std::upper_bound(first, last, text[at], after);
  }
  return longest;
}

inline constexpr std::string_view space_mark = "\u2581";  // what files write for a space

/// A piece of a file as text; a mark in a user's text is a space as well.
inline std::string unmarked(std::string_view piece) {
  std::string text;
  for (std::size_t mark; (mark = piece.find(space_mark)) != piece.npos; piece.remove_prefix(mark + space_mark.size()))
    text.append(piece.substr(0, mark)) += ' ';
  return text.append(piece);
}

/// The byte that files write as "<0x0A>"; -1 if the text is not of this form.
inline int byte_of_piece(std::string_view piece) {
  const auto digit = [&](std::size_t at) { return int(std::string_view("0123456789ABCDEF").find(piece[at])); };
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const int high = digit(3), low = digit(4);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/// Throws FileError where one text has two ids.
inline std::map<std::string, int, std::less<>> ids_by_content(const TokenizerParts& parts) {
  std::map<std::string, int, std::less<>> added;
  for (const AddedToken& token : parts.added)
    if (const auto [at, is_new] = added.emplace(token.content, token.id); !is_new && at->second != token.id)
      fail<FileError>("added token \"", token.content, "\" has ids ", at->second, " and ", token.id);
  return added;
}

/// [id]; its size is that of the vocabulary with the added tokens.
inline std::vector<bool> special_flags(const TokenizerParts& parts) {
  int last = -1;
  for (const auto& [letters, id] : parts.vocabulary) last = std::max(last, id);
  for (const AddedToken& token : parts.added) last = std::max(last, token.id);
  // Checked before anything is allocated by it: a hostile file may name any id. No embedding has more rows.
  constexpr int most = 1 << 20;
  if (last >= most) fail<FileError>("vocabulary: expected ids below ", most, ", found ", last);
  std::vector<bool> special(std::size_t(last) + 1);
  for (const AddedToken& token : parts.added)
    if (token.special) special[std::size_t(token.id)] = true;
  return special;
}

inline std::vector<bool> alone_flags(const TokenizerParts& parts, std::size_t size) {
  std::vector<bool> alone(size);
  for (const AddedToken& token : parts.added)
    if (!token.piece) alone[std::size_t(token.id)] = true;
  return alone;
}

inline std::string normalised_content(const TokenizerParts& parts, const std::string& content) {
  if (parts.kind == TokenizerKind::sentence_piece) return unmarked(content);
  return parts.nfc ? to_nfc(content) : content;
}

inline AddedTokenFinder finder_of(const TokenizerParts& parts, bool normalised) {
  std::vector<AddedTokenFinder::Token> tokens;
  for (const AddedToken& token : parts.added)
    if (token.normalized == normalised)
      tokens.push_back({normalised ? normalised_content(parts, token.content) : token.content, token.id});
  return AddedTokenFinder(std::move(tokens));
}

inline Bpe bpe_of(const TokenizerParts& parts, const std::map<std::string, int, std::less<>>& added,
                  const std::vector<bool>& special) {
  const bool sentence_piece = parts.kind == TokenizerKind::sentence_piece;
  std::set<std::string_view> whole_only;  // pieces that no merge makes
  std::array<int, 256> byte_ids;
  byte_ids.fill(-1);
  std::vector<Vocabulary::Entry> entries(special.size());
  for (const auto& [content, id] : added) {
    if (!entries[std::size_t(id)].bytes.empty())
      fail<FileError>("added tokens \"", entries[std::size_t(id)].bytes, "\" and \"", content, "\" have id ", id);
    entries[std::size_t(id)] = {content, true};
  }
  for (const auto& [letters, id] : parts.vocabulary) {
    Vocabulary::Entry& entry = entries[std::size_t(id)];
    if (const auto token = added.find(letters); token != added.end()) {
      if (token->second != id)
        fail<FileError>("\"", letters, "\" has id ", id, " in the vocabulary and ", token->second,
                        " as an added token");
      entry.added = special[std::size_t(id)];
      if (sentence_piece && entry.added) whole_only.insert(letters);
      continue;
    }
    if (!entry.bytes.empty()) {
      // InternLM's tokenizer_config.json gives unused pieces their names: then the piece itself is gone.
      if (sentence_piece && entry.added) {
        whole_only.insert(letters);
        continue;
      }
      fail<FileError>("vocabulary: \"", letters, "\" is not the only token with id ", id);
    }
    if (sentence_piece) {
      const int byte = byte_of_piece(letters);
      if (byte >= 0) byte_ids[std::size_t(byte)] = id;
      // A byte may spell the same as a character that has a piece; merges work on that.
      entry =
          byte >= 0 ? Vocabulary::Entry{std::string(1, char(byte)), true} : Vocabulary::Entry{unmarked(letters), false};
    } else if (!bytes_of_letters(letters, entry.bytes)) {
      fail<FileError>("vocabulary: \"", letters, "\" (id ", id, ") is not byte-level");
    }
    if (entry.bytes.empty()) fail<FileError>("vocabulary: the token with id ", id, " is empty");
  }
  for (Vocabulary::Entry& entry : entries)
    if (entry.bytes.empty()) entry.added = true;  // no token has this id
  Vocabulary vocabulary(entries);
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {char(byte)};
    int& id = byte_ids[std::size_t(byte)];
    if (!sentence_piece) id = vocabulary.id_of({bytes, 1});
    if (id < 0 && !parts.drops_bytes)
      fail<FileError>("vocabulary: byte ", byte, " has no token; expected one for each of the 256");
  }

  std::vector<Bpe::Merge> merges;
  merges.reserve(parts.merges.size());
  std::string bytes;
  const auto id_of = [&](std::string_view letters, const std::pair<std::string, std::string>& merge) {
    if (sentence_piece) bytes = unmarked(letters);
    const int id = sentence_piece || bytes_of_letters(letters, bytes) ? vocabulary.id_of(bytes) : -1;
    if (id < 0)
      fail<FileError>("merges: \"", merge.first, "\" and \"", merge.second, "\": \"", letters, "\" is not a token");
    return id;
  };
  for (std::string both; const auto& merge : parts.merges) {
    both.assign(merge.first).append(merge.second);
    if (whole_only.contains(both) || whole_only.contains(merge.first) || whole_only.contains(merge.second)) continue;
    const int into = id_of(both, merge);
    const auto place = std::size_t(&merge - parts.merges.data());
    const auto rank = parts.ranks.empty() ? std::uint32_t(place) : parts.ranks[place];
    merges.push_back({id_of(merge.first, merge), id_of(merge.second, merge), into, rank});
  }
  Bpe result(std::move(vocabulary), byte_ids, merges);
  if (!sentence_piece) result.prepare_words(merges, parts.ignore_merges);
  return result;
}

}  // namespace detail

IVL_INLINE Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  return from_parts(tokenizer_parts(folder));
}

IVL_INLINE bool Tokenizer::is_in(const std::filesystem::path& folder) {
  const auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  return has("tokenizer.json") || has("tokenizer.model") || has("vocab.json");
}

IVL_INLINE Tokenizer Tokenizer::from_gguf(const Gguf& file) { return from_parts(tokenizer_parts(file)); }

IVL_INLINE Tokenizer Tokenizer::from_json(std::string_view tokenizer_json) {
  return from_parts(tokenizer_parts(tokenizer_json));
}

IVL_INLINE Tokenizer Tokenizer::from_parts(const TokenizerParts& parts) {
  return naming(parts.where, [&] { return Tokenizer(parts); });
}

IVL_INLINE Tokenizer::Tokenizer(const TokenizerParts& parts)
    : nfc_(parts.nfc),
      prefix_space_(parts.prefix_space),
      single_spaces_(parts.single_spaces),
      decoding_(parts.decoding),
      bos_(parts.bos),
      added_(detail::ids_by_content(parts)),
      special_(detail::special_flags(parts)),
      alone_(detail::alone_flags(parts, special_.size())),
      raw_finder_(detail::finder_of(parts, false)),
      normalised_finder_(detail::finder_of(parts, true)),
      bpe_(detail::bpe_of(parts, added_, special_)) {
  if (parts.kind == TokenizerKind::byte_level) regex_.emplace(parts.split_pattern);
}

IVL_INLINE void Tokenizer::encode(std::string_view text, std::vector<int>& ids, AddedTokens policy) const {
  if (!is_utf8(text)) return encode(to_utf8(text), ids, policy);
  const auto push = [&](int id) { ids.push_back(id); };
  const auto words = [&](std::string_view piece) {
    if (!regex_) return encode_characters(piece, ids);
    regex_->split(piece, [&](std::string_view word) { bpe_.encode_word(word, ids); });
  };
  const auto normalised = [&](std::string_view piece) {
    if (policy == AddedTokens::as_text) return words(piece);
    normalised_finder_.cut(piece, push, words);
  };
  const auto raw = [&](std::string_view piece) {
    if (!regex_) return normalised(with_spaces(piece));
    if (nfc_ && !surely_nfc(piece)) return normalised(to_nfc(piece));
    normalised(piece);
  };
  if (policy == AddedTokens::as_text) return raw(text);
  raw_finder_.cut(text, push, raw);
}

IVL_INLINE std::vector<int> Tokenizer::encode(std::string_view text, AddedTokens policy) const {
  std::vector<int> ids;
  encode(text, ids, policy);
  return ids;
}

IVL_INLINE std::string Tokenizer::with_spaces(std::string_view piece) const {
  std::string text(piece);
  if (single_spaces_) {
    text.erase(std::unique(text.begin(), text.end(), [](char a, char b) { return a == ' ' && b == ' '; }), text.end());
    if (text.starts_with(' ')) text.erase(0, 1);
    if (text.ends_with(' ')) text.pop_back();
  }
  text = detail::unmarked(text);
  if (prefix_space_ && !text.empty()) text.insert(0, 1, ' ');
  return text;
}

IVL_INLINE void Tokenizer::encode_characters(std::string_view text, std::vector<int>& ids) const {
  std::vector<int> symbols;
  symbols.reserve(text.size());
  while (!text.empty()) {
    const std::string_view character = text.substr(0, std::size_t(utf8_step(text).bytes));
    if (const int id = bpe_.vocabulary().id_of(character); id >= 0)
      symbols.push_back(id);
    else
      for (const char byte : character) symbols.push_back(bpe_.byte_id(std::uint8_t(byte)));
    text.remove_prefix(character.size());
  }
  bpe_.merge(
      symbols.size(), [&](std::size_t at) { return symbols[at]; }, ids);
}

IVL_INLINE std::string Tokenizer::decode(std::span<const int> ids, SpecialTokens policy) const {
  std::string text;
  Detokenizer detokenizer(decoding_);
  for (const int id : ids)
    if (policy == SpecialTokens::keep || !is_special(id)) detokenizer.push(text, role_of(id), bytes_of(id));
  detokenizer.finish(text);
  return text;
}

IVL_INLINE TokenRole Tokenizer::role_of(int id) const {
  if (id < 0 || id >= size()) return TokenRole::text;
  if (alone_[std::size_t(id)]) return TokenRole::added;
  const std::string_view bytes = bytes_of(id);
  const bool byte = !regex_ && bytes.size() == 1 && bpe_.byte_id(std::uint8_t(bytes[0])) == id;
  return byte ? TokenRole::byte : TokenRole::text;
}

IVL_INLINE std::optional<int> Tokenizer::id_of(std::string_view token) const {
  if (const auto added = added_.find(token); added != added_.end()) return added->second;
  const int id = bpe_.vocabulary().id_of(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace ivl
