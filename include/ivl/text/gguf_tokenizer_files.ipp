// The bodies of gguf_tokenizer_files.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/text/gguf_tokenizer.hpp"
#include "ivl/text/gguf_tokenizer_files.hpp"
#include "ivl/text/sentence_piece_file.hpp"

namespace ivl {

namespace detail {

inline Json added_token_json(const AddedToken& token) {
  return {{"content", token.content}, {"single_word", false},           {"lstrip", false},
          {"rstrip", false},          {"normalized", token.normalized}, {"special", token.special}};
}

/// As the `tokenizers` library writes it.
inline std::string tokenizer_json(const TokenizerParts& parts) {
  if (parts.drops_bytes)
    fail<FileError>(parts.where, ": tokenizer.json cannot say that bytes without a token are left out");
  Json added = Json::array(), merges = Json::array(), vocabulary = Json::object();
  for (const AddedToken& token : parts.added) {
    added.push_back({{"id", token.id}});
    added.back().update(added_token_json(token));
  }
  for (const auto& [text, id] : parts.vocabulary) vocabulary[text] = id;
  for (const auto& [left, right] : parts.merges) merges.push_back({left, right});
  Json post = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const Json byte_level = post, decoder = post;
  if (parts.bos) {
    const auto bos = std::ranges::find(parts.added, *parts.bos, &AddedToken::id);
    if (bos == parts.added.end())
      fail<FileError>(parts.where, ": expected a special token before the prompt, found the id ", *parts.bos);
    const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    post = {
        {"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", bos->content}, {"type_id", 0}}}}, text}},
        {"pair", {text, {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}}},
        {"special_tokens", {{bos->content, {{"id", bos->content}, {"ids", {bos->id}}, {"tokens", {bos->content}}}}}}};
  }
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", parts.split_pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", parts.nfc ? Json{{"type", "NFC"}} : Json(nullptr)},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                     {"post_processor", post},
                     {"decoder", decoder},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", ""},
                       {"end_of_word_suffix", ""},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", parts.ignore_merges},
                       {"vocab", vocabulary},
                       {"merges", merges}}}};
  return file.dump() + '\n';
}

/// Writes a protocol buffer's message.
class ProtoWriter {
 public:
  void number(int field, std::uint64_t value) {
    varint(std::uint64_t(field) << 3);
    varint(value);
  }
  void text(int field, std::string_view bytes) {
    varint(std::uint64_t(field) << 3 | 2);
    varint(bytes.size());
    message_ += bytes;
  }
  void single(int field, float value) {
    varint(std::uint64_t(field) << 3 | 5);
    message_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  const std::string& message() const { return message_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) message_ += char((value & 0x7F) | 0x80);
    message_ += char(value);
  }
  std::string message_;
};

/// A SentencePiece model (sentencepiece_model.proto): its pieces, and of what stands beside them what says how they are
/// used. Tokens behind the last piece stand in tokenizer_config.json alone, as in published folders.
inline std::string sentence_piece_model(const Gguf& file, const TokenizerParts& parts) {
  using Type = SentencePiece::Type;
  const auto texts = file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  const auto types = file.get<std::vector<int>>("tokenizer.ggml.token_type");
  const auto scores = file.get<std::vector<float>>("tokenizer.ggml.scores");
  const auto is_piece = [&](std::size_t id) {
    return Type(types[id]) == Type::normal || Type(types[id]) == Type::byte || Type(types[id]) == Type::unknown;
  };
  std::size_t end = texts.size();
  while (end > 0 && !is_piece(end - 1)) --end;
  ProtoWriter model, trainer, normalizer;
  for (std::size_t id = 0; id < end; ++id) {
    ProtoWriter piece;
    piece.text(1, texts[id]);
    piece.single(2, scores[id]);
    const bool kept = is_piece(id) || Type(types[id]) == Type::user_defined;
    piece.number(3, std::uint64_t(kept ? Type(types[id]) : Type::control));  // a row without a token too
    model.text(1, piece.message());
  }
  trainer.number(3, 2);   // model_type: BPE
  trainer.number(35, 1);  // byte_fallback
  if (parts.bos) trainer.number(41, std::uint64_t(*parts.bos));
  normalizer.text(1, "identity");
  normalizer.number(3, parts.prefix_space);
  normalizer.number(4, parts.single_spaces);
  normalizer.number(5, 1);  // escape_whitespaces
  model.text(2, trainer.message());
  model.text(3, normalizer.message());
  return model.message();
}

/// The tokens that a file names by a role, and, where `all`, all that were added.
inline std::string tokenizer_config_json(const Gguf& file, const TokenizerParts& parts, bool all) {
  constexpr std::pair<const char*, const char*> roles[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                                                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                                           {"pad_token", "tokenizer.ggml.padding_token_id"}};
  Json config = {{"add_bos_token", parts.bos.has_value()},
                 {"add_prefix_space", parts.prefix_space},
                 {"clean_up_tokenization_spaces", false},
                 {"tokenizer_class", all ? "LlamaTokenizer" : "PreTrainedTokenizerFast"}};
  for (const auto& [role, key] : roles) {
    const auto token = std::ranges::find(parts.added, file.get_or(key, -1), &AddedToken::id);
    if (token != parts.added.end() && token->special) config[role] = token->content;
  }
  for (const AddedToken& token : parts.added)
    if (all) config["added_tokens_decoder"][std::to_string(token.id)] = added_token_json(token);
  return config.dump(1) + '\n';
}

}  // namespace detail

IVL_INLINE std::map<std::string, std::string> tokenizer_files(const Gguf& file) {
  const TokenizerParts parts = tokenizer_parts(file);
  const bool sentence_piece = parts.kind == TokenizerKind::sentence_piece;
  return {sentence_piece
              ? std::pair<const std::string, std::string>("tokenizer.model", detail::sentence_piece_model(file, parts))
              : std::pair<const std::string, std::string>("tokenizer.json", detail::tokenizer_json(parts)),
          {"tokenizer_config.json", detail::tokenizer_config_json(file, parts, sentence_piece)}};
}

}  // namespace ivl
