// The bodies of tokenizer_file.hpp, in the order in which they use each other: the keys of tokenizer.json, its large
// tables, whole files.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/settings.hpp"
#include "ivl/text/sentence_piece_file.hpp"
#include "ivl/text/split_patterns.hpp"
#include "ivl/text/tokenizer_config.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/tokenizer_values.hpp"

namespace ivl {

namespace detail {

inline bool normalizer_is_nfc(const Json& normalizer) {
  constexpr const char* expected = "null, NFC or a Sequence of NFC";
  if (normalizer.is_null()) return false;
  const std::string_view type = string_or(normalizer, "type", "");
  if (type == "NFC") return true;
  const Json& parts = member(normalizer, "normalizers");
  if (type != "Sequence" || !parts.is_array()) not_implemented("normalizer", normalizer, expected);
  for (const Json& part : parts)
    if (string_or(part, "type", "") != "NFC") not_implemented("normalizer", normalizer, expected);
  return !parts.empty();
}

inline std::string split_pattern_of(const Json& pre_tokenizer) {
  constexpr const char* expected = "ByteLevel, or a Sequence of Split (Regex, Isolated) and ByteLevel";
  const auto refuse = [&] { not_implemented("pre_tokenizer", pre_tokenizer, expected); };
  const auto is_byte_level = [&](const Json& part, bool use_regex) {
    return string_or(part, "type", "") == "ByteLevel" && !flag_or(part, "add_prefix_space", true) &&
           flag_or(part, "use_regex", true) == use_regex;
  };
  if (is_byte_level(pre_tokenizer, true)) return std::string(gpt2_split_pattern);
  const Json& parts = member(pre_tokenizer, "pretokenizers");
  if (string_or(pre_tokenizer, "type", "") != "Sequence" || !parts.is_array() || parts.size() != 2) refuse();
  const Json& split = parts[0];
  const std::string_view pattern = string_or(member(split, "pattern"), "Regex", "");
  if (string_or(split, "type", "") != "Split" || pattern.empty() || string_or(split, "behavior", "") != "Isolated" ||
      flag_or(split, "invert", false) || !is_byte_level(parts[1], false))
    refuse();
  return std::string(pattern);
}

IVL_INLINE std::pair<std::string, std::string> merge_of(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos ||
      space + 1 == line.size())
    fail<FileError>("merges: expected two tokens and a space between them, found \"", line.substr(0, 200), "\"");
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

/// A JSON document without the two large tables of a tokenizer, which go straight into `parts` and leave a null: as a
/// tree they would take most of the time that loading takes, and thirty times the memory. Errors do not name the file:
/// `naming` around the whole reading does.
class TokenizerJson final : public JsonBuilder {
 public:
  enum class Holds { tokenizer, vocabulary };

  TokenizerJson(std::string_view text, Holds holds) : JsonBuilder(""), holds_(holds) {
    parse(text);
    rest = take();
  }

  Json rest;
  TokenizerParts parts;

  bool key(std::string& name) override {
    key_ = name;
    return table_ == Table::vocabulary || JsonBuilder::key(name);
  }
  bool start_object(std::size_t size) override {
    if (table_ == Table::none && is_table("vocab")) return start(Table::vocabulary);
    if (table_ != Table::none) refuse_entry(Json::object());
    const bool model = open_.size() == 1 && key_ == "model";
    JsonBuilder::start_object(size);
    if (model) model_ = open_.back();
    return true;
  }
  bool start_array(std::size_t size) override {
    if (table_ == Table::none && is_table("merges")) return start(Table::merges);
    if (table_ == Table::merges && !in_merge_) return in_merge_ = true;
    if (table_ != Table::none) refuse_entry(Json::array());
    return JsonBuilder::start_array(size);
  }
  bool end_object() override { return table_ != Table::none ? end() : JsonBuilder::end_object(); }
  bool end_array() override {
    if (!in_merge_) return table_ != Table::none ? end() : JsonBuilder::end_array();
    if (merge_.size() != 2) fail<FileError>("merges: expected two tokens, found ", merge_.size());
    parts.merges.emplace_back(std::move(merge_[0]), std::move(merge_[1]));
    merge_.clear();
    in_merge_ = false;
    return true;
  }

 private:
  enum class Table { none, vocabulary, merges };

  bool is_table(std::string_view name) const {
    if (holds_ == Holds::vocabulary) return name == "vocab" && open_.empty();
    return key_ == name && open_.size() == 2 && open_.back() == model_;
  }
  bool start(Table table) {
    add(nullptr);
    table_ = table;
    return true;
  }
  bool end() {
    table_ = Table::none;
    return true;
  }
  [[noreturn]] void refuse_entry(const Json& found) const {
    fail<FileError>(table_ == Table::merges ? "merges: expected tokens" : "vocab: expected ids", ", found ",
                    shown(found));
  }

  bool value(Json v) override {
    if (table_ == Table::none) return JsonBuilder::value(std::move(v));
    if (table_ == Table::vocabulary) {
      parts.vocabulary.emplace_back(key_, id_in(v, key_));
      return true;
    }
    if (!v.is_string()) refuse_entry(v);
    std::string& token = v.get_ref<std::string&>();
    if (in_merge_)
      merge_.push_back(std::move(token));
    else
      parts.merges.push_back(merge_of(token));
    return true;
  }

  Holds holds_;
  Table table_ = Table::none;
  bool in_merge_ = false;
  std::vector<std::string> merge_;
  std::string key_;
  const Json* model_ = nullptr;
};

IVL_INLINE std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail<FileError>(path.string(), ": cannot be read, or is empty");
  return std::move(text).str();
}

/// What `post_processor` puts before every prompt: a template's one special token, or nothing.
inline std::optional<int> bos_of(const Json& post) {
  constexpr const char* expected =
      "null, ByteLevel, a TemplateProcessing of the text or of one special token and the text, or a Sequence of these";
  const std::string_view type = string_or(post, "type", "");
  if (post.is_null() || type == "ByteLevel") return std::nullopt;
  std::optional<int> bos;
  if (type == "Sequence" && member(post, "processors").is_array()) {
    for (const Json& step : post["processors"]) {
      const std::optional<int> added = bos_of(step);
      if (added && bos) not_implemented("post_processor", post, expected);
      if (added) bos = added;
    }
    return bos;
  }
  const Json& single = member(post, "single");
  if (type != "TemplateProcessing" || !single.is_array() || single.empty() || single.size() > 2 ||
      string_or(member(single.back(), "Sequence"), "id", "") != "A")
    not_implemented("post_processor", post, expected);
  if (single.size() == 1) return std::nullopt;
  const std::string token(string_or(member(single[0], "SpecialToken"), "id", ""));
  const Json& ids = member(member(member(post, "special_tokens"), token.c_str()), "ids");
  if (!ids.is_array() || ids.size() != 1) not_implemented("post_processor", post, expected);
  return id_in(ids[0], token);
}

/// The keys of a tokenizer.json that was made from a SentencePiece model.
inline void read_sentence_piece(const Json& file, TokenizerParts& parts) {
  constexpr const char* spaces = "a Sequence of Prepend and Replace that makes U+2581 of spaces";
  const auto is_replace = [](const Json& step, const char* from, const char* to) {
    return string_or(step, "type", "") == "Replace" && string_or(member(step, "pattern"), "String", "") == from &&
           string_or(step, "content", "") == to;
  };
  const Json& normalizer = member(file, "normalizer");
  const Json& steps = member(normalizer, "normalizers");
  if (string_or(normalizer, "type", "") != "Sequence" || !steps.is_array() || steps.empty() || steps.size() > 2)
    not_implemented("normalizer", normalizer, spaces);
  if (!is_replace(steps.back(), " ", "\u2581")) not_implemented("normalizer", normalizer, spaces);
  if (steps.size() == 2) {
    if (string_or(steps[0], "type", "") != "Prepend" || string_or(steps[0], "prepend", "") != "\u2581")
      not_implemented("normalizer", normalizer, spaces);
    parts.prefix_space = true;
  }
  if (const Json& pre = member(file, "pre_tokenizer"); !pre.is_null()) not_implemented("pre_tokenizer", pre, "null");

  constexpr const char* decoding = "a Sequence of Replace (U+2581 by a space), ByteFallback, Fuse and perhaps Strip";
  const Json& decoder = member(file, "decoder");
  const Json& parts_of = member(decoder, "decoders");
  const auto type_at = [&](std::size_t at) { return string_or(parts_of[at], "type", ""); };
  if (string_or(decoder, "type", "") != "Sequence" || !parts_of.is_array() || parts_of.size() < 3 ||
      parts_of.size() > 4 || !is_replace(parts_of[0], "\u2581", " ") || type_at(1) != "ByteFallback" ||
      type_at(2) != "Fuse")
    not_implemented("decoder", decoder, decoding);
  if (parts_of.size() == 4) {
    const Json& strip = parts_of[3];
    if (type_at(3) != "Strip" || string_or(strip, "content", "") != " " || member(strip, "start") != 1 ||
        member(strip, "stop") != 0)
      not_implemented("decoder", decoder, decoding);
    parts.decoding.drops_first_space = true;
  }
}

inline TokenizerParts read_tokenizer_json(std::string_view text) {
  TokenizerJson json(text, TokenizerJson::Holds::tokenizer);
  const Json& file = json.rest;
  if (!file.is_object()) fail<FileError>("expected an object, found ", shown(file));
  const Json& model = member(file, "model");
  // Files older than the key "type" say what they are by having merges.
  if (string_or(model, "type", json.parts.merges.empty() ? "" : "BPE") != "BPE")
    not_implemented("model", model, "type BPE");
  for (const char* key : {"vocab", "merges"})
    if (!model.contains(key) || !model[key].is_null())
      fail<FileError>("model: expected the table ", key, ", found ", shown(member(model, key)));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!string_or(model, key, "").empty()) not_implemented(key, member(model, key), "null or an empty string");
  if (const Json& dropout = member(model, "dropout"); !dropout.is_null() && dropout != 0)
    not_implemented("dropout", dropout, "null");

  TokenizerParts parts = std::move(json.parts);
  if (flag_or(model, "byte_fallback", false)) {
    parts.kind = TokenizerKind::sentence_piece;
    parts.decoding.kind = Decoding::byte_fallback;
    read_sentence_piece(file, parts);
  } else {
    if (const Json& decoder = member(file, "decoder"); string_or(decoder, "type", "") != "ByteLevel")
      not_implemented("decoder", decoder, "ByteLevel");
    parts.nfc = normalizer_is_nfc(member(file, "normalizer"));
    parts.split_pattern = split_pattern_of(member(file, "pre_tokenizer"));
    parts.ignore_merges = flag_or(model, "ignore_merges", false);
  }
  parts.bos = bos_of(member(file, "post_processor"));
  const Json& added = member(file, "added_tokens");
  if (!added.is_null() && !added.is_array()) fail<FileError>("added_tokens: expected an array, found ", shown(added));
  for (const Json& entry : added)
    parts.added.push_back(added_token(entry, id_in(member(entry, "id"), string_or(entry, "content", ""))));
  return parts;
}

/// vocab.json and merges.txt, as Qwen2's tokenizer class reads them.
inline TokenizerParts read_vocabulary_and_merges(const std::filesystem::path& folder) {
  TokenizerParts parts;
  const std::filesystem::path vocabulary_path = folder / "vocab.json", merges_path = folder / "merges.txt";
  const std::string vocabulary_text = read_text(vocabulary_path), merges_text = read_text(merges_path);
  naming(vocabulary_path.string(), [&] {
    TokenizerJson vocabulary(vocabulary_text, TokenizerJson::Holds::vocabulary);
    if (!vocabulary.rest.is_null()) fail<FileError>("expected an object, found ", shown(vocabulary.rest));
    parts = std::move(vocabulary.parts);
  });
  parts.where = vocabulary_path.string() + " and merges.txt";
  parts.nfc = true;
  parts.split_pattern = qwen2_split_pattern;
  naming(merges_path.string(), [&] {
    for (std::size_t at = 0; at < merges_text.size();) {
      const std::size_t end = std::min(merges_text.find('\n', at), merges_text.size());
      std::string_view line = std::string_view(merges_text).substr(at, end - at);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.empty() && !(at == 0 && line.starts_with("#version"))) parts.merges.push_back(merge_of(line));
      at = end + 1;
    }
  });
  return parts;
}

}  // namespace detail

IVL_INLINE TokenizerParts tokenizer_parts(std::string_view tokenizer_json, const std::string& where) {
  TokenizerParts parts = naming(where, [&] { return detail::read_tokenizer_json(tokenizer_json); });
  parts.where = where;
  return parts;
}

IVL_INLINE TokenizerParts tokenizer_parts(const std::filesystem::path& folder) {
  using namespace detail;
  namespace fs = std::filesystem;
  const fs::path config_path = folder / "tokenizer_config.json", json_path = folder / "tokenizer.json",
                 model_path = folder / "tokenizer.model";
  const Json config = read_object(config_path);
  std::vector<std::string> notes;  // `read_checkpoint_config` hands them on
  check_settings(SettingsOf::tokenizer, config, config_path.string(), notes);
  TokenizerParts parts;
  if (fs::exists(json_path)) {
    parts = tokenizer_parts(std::string_view(read_text(json_path)), json_path.string());
  } else if (fs::exists(model_path)) {
    parts = sentence_piece_parts(read_text(model_path), model_path.string());
    naming(config_path.string(), [&] {
      if (!flag_or(config, "add_bos_token", true)) parts.bos.reset();
      if (!flag_or(config, "legacy", true)) not_implemented("legacy", false, "true beside tokenizer.model");
    });
  } else if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) {
    const std::string_view type = string_or(config, "tokenizer_class", "Qwen2Tokenizer");
    if (type != "Qwen2Tokenizer" && type != "Qwen2TokenizerFast")
      fail<FileError>(config_path.string(), ": tokenizer_class: expected Qwen2Tokenizer beside vocab.json, found ",
                      type);
    parts = read_vocabulary_and_merges(folder);
  } else {
    fail<FileError>(folder.string(),
                    ": expected tokenizer.json, tokenizer.model, or vocab.json and merges.txt; found none");
  }
  check_tokenizer_config(config, config_path.string(), parts);
  add_tokens_beside(folder, config, parts);
  return parts;
}

}  // namespace ivl
