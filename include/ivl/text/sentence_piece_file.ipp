// The bodies of sentence_piece_file.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/text/sentence_piece_file.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// One field of a protocol buffer's message.
struct ProtoField {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  ///< of a number; the bits of a float
  std::string_view bytes;   ///< of a string or a message
};

/// The fields of a message, one after the other.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : left_(message) {}

  bool next(ProtoField& field) {
    if (left_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {.number = std::uint32_t(tag >> 3), .value = 0, .bytes = {}};
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        fail<FileError>("expected a protocol buffer, found wire type ", tag & 7);
    }
    return true;
  }

 private:
  std::string_view take(std::uint64_t number) {
    if (number > left_.size()) fail<FileError>("truncated: expected ", number, " more bytes, found ", left_.size());
    const std::string_view taken = left_.substr(0, std::size_t(number));
    left_.remove_prefix(std::size_t(number));
    return taken;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = std::uint8_t(take(1)[0]);
      value |= std::uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail<FileError>("expected a protocol buffer, found a number of more than 64 bits");
  }
  std::uint64_t fixed(int bytes) {
    std::uint64_t value = 0;
    const std::string_view taken = take(std::uint64_t(bytes));
    for (int i = 0; i < bytes; ++i) value |= std::uint64_t(std::uint8_t(taken[std::size_t(i)])) << 8 * i;
    return value;
  }

  std::string_view left_;
};

/// A piece is tried at each of its places to cut, so its length must not be without bounds. The trainer stops at 16
/// characters.
inline constexpr std::size_t longest_piece = 1024;

IVL_INLINE void add_pieces(std::span<const SentencePiece> pieces, TokenizerParts& parts) {
  using Type = SentencePiece::Type;
  std::map<std::string_view, const SentencePiece*> piece_of;
  for (const SentencePiece& piece : pieces) {
    const int id = piece.id;
    if (piece.text.empty() || !is_utf8(piece.text))
      fail<FileError>("piece ", id, ": expected UTF-8 text, found \"", to_utf8(piece.text), "\"");
    if (piece.text.size() > longest_piece)
      fail<FileError>("piece ", id, ": expected at most ", longest_piece, " bytes, found ", piece.text.size());
    if (piece.score != piece.score) fail<FileError>("piece ", id, ": expected a number as its score, found NaN");
    const std::string text(piece.text);
    switch (piece.type) {
      case Type::normal:
        piece_of.emplace(piece.text, &piece);
        parts.vocabulary.emplace_back(text, id);
        break;
      case Type::byte:
        parts.vocabulary.emplace_back(text, id);
        break;
      case Type::unknown:
      case Type::control:
        parts.added.push_back({id, text, true, false});
        break;
      case Type::user_defined:
        parts.added.push_back({.id = id, .content = text, .special = false, .normalized = true, .piece = true});
        break;
      default:
        fail<FileError>("piece \"", text, "\": its type ", std::uint64_t(piece.type), " is not implemented");
    }
  }

  // Two neighbours merge where both together are a piece; the piece with the highest score goes first, and of equal
  // scores the leftmost.
  std::vector<const SentencePiece*> by_score;
  for (const auto& [text, piece] : piece_of) by_score.push_back(piece);
  std::sort(by_score.begin(), by_score.end(), [](const SentencePiece* a, const SentencePiece* b) {
    return a->score != b->score ? a->score > b->score : a->id < b->id;
  });
  std::uint32_t rank = 0;
  float score_of_rank = 0;
  for (const SentencePiece* piece : by_score) {
    if (piece->score != std::exchange(score_of_rank, piece->score)) ++rank;
    const std::string_view text = piece->text;
    for (std::size_t at = 0; (at += std::size_t(utf8_step(text.substr(at)).bytes)) < text.size();) {
      const std::string_view left = text.substr(0, at), right = text.substr(at);
      if (!piece_of.contains(left) || !piece_of.contains(right)) continue;
      parts.merges.emplace_back(left, right);
      parts.ranks.push_back(rank);
    }
  }
}

IVL_INLINE void set_spaces(bool prefix_space, bool single_spaces, TokenizerParts& parts) {
  parts.kind = TokenizerKind::sentence_piece;
  parts.prefix_space = prefix_space;
  parts.single_spaces = single_spaces;
  parts.decoding = {.kind = Decoding::sentence_piece,
                    .drops_first_space = prefix_space || single_spaces,
                    .drops_every_first_space = single_spaces};
}

inline TokenizerParts read_sentence_piece_model(std::string_view model) {
  using Type = SentencePiece::Type;
  std::vector<SentencePiece> pieces;
  std::string_view trainer, normalizer;
  ProtoField field;
  for (ProtoReader reader(model); reader.next(field);) {
    if (field.number == 2) trainer = field.bytes;
    if (field.number == 3) normalizer = field.bytes;
    if (field.number != 1) continue;
    SentencePiece& piece = pieces.emplace_back();
    piece.id = int(pieces.size()) - 1;
    ProtoField part;
    for (ProtoReader of_piece(field.bytes); of_piece.next(part);) {
      const auto bits = std::uint32_t(part.value);
      if (part.number == 1) piece.text = part.bytes;
      if (part.number == 2) std::memcpy(&piece.score, &bits, sizeof bits);
      if (part.number == 3) piece.type = Type(part.value);
    }
  }

  // Defaults are the proto's.
  std::uint64_t algorithm = 1, bos = 1, dummy_prefix = 1, single_spaces = 1, escape_spaces = 1;
  bool byte_fallback = false;
  for (ProtoReader reader(trainer); reader.next(field);) {
    if (field.number == 3) algorithm = field.value;
    if (field.number == 35) byte_fallback = field.value != 0;
    if (field.number == 41) bos = field.value;
  }
  for (ProtoReader reader(normalizer); reader.next(field);) {
    if (field.number == 2 && !field.bytes.empty())
      fail<FileError>("a normaliser with a character map is not implemented; expected identity");
    if (field.number == 3) dummy_prefix = field.value;
    if (field.number == 4) single_spaces = field.value;
    if (field.number == 5) escape_spaces = field.value;
  }
  if (algorithm != 2) fail<FileError>("expected model type 2 (BPE), found ", algorithm);
  if (!byte_fallback) fail<FileError>("expected byte_fallback, found a model without it");
  if (escape_spaces == 0) fail<FileError>("expected escape_whitespaces, found a model without it");

  TokenizerParts parts;
  set_spaces(dummy_prefix != 0, single_spaces != 0, parts);
  add_pieces(pieces, parts);
  if (bos < pieces.size() && pieces[std::size_t(bos)].type == Type::control) parts.bos = int(bos);

  return parts;
}

}  // namespace detail

IVL_INLINE TokenizerParts sentence_piece_parts(std::string_view model, const std::string& where) {
  TokenizerParts parts = naming(where, [&] { return detail::read_sentence_piece_model(model); });
  parts.where = where;
  return parts;
}

}  // namespace ivl
