// tokenizer_config.json and its neighbours: what they add to a tokenizer, and what they must agree on.
// tokenizer_file.ipp alone includes this, so its bodies stay here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/text/tokenizer_parts.hpp"
#include "ivl/text/tokenizer_values.hpp"

namespace ivl::detail {

/// Calls see(text) for a token as tokenizer_config.json and special_tokens_map.json write it: a string, an object with
/// `content`, or a list or an object of these.
template <class See>
void for_each_token(const Json& value, const See& see) {
  if (value.is_string())
    see(value.get<std::string>());
  else if (value.is_object() && value.contains("content"))
    see(std::string(string_or(value, "content", "")));
  else if (value.is_structured())
    for (const Json& token : value) for_each_token(token, see);
}

/// Makes special the tokens that tokenizer_config.json names by a role, as transformers does. One that has no id yet
/// gets the next.
inline void add_named_tokens(const Json& config, TokenizerParts& parts) {
  std::map<std::string, std::size_t, std::less<>> known;  // place in parts.added
  for (std::size_t at = 0; at < parts.added.size(); ++at) known.emplace(parts.added[at].content, at);
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
                          "additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"}) {
    for_each_token(member(config, key), [&](const std::string& content) {
      if (content.empty()) return;
      const auto [found, is_new] = known.emplace(content, parts.added.size());
      if (!is_new) {
        parts.added[found->second].special = true;
        return;
      }
      int id = -1, last = -1;
      for (const auto& [letters, its] : parts.vocabulary) {
        last = std::max(last, its);
        if (letters == content) id = its;
      }
      for (const AddedToken& token : parts.added) last = std::max(last, token.id);
      if (id >= 0 && parts.kind == TokenizerKind::sentence_piece) return;
      parts.added.push_back({id < 0 ? last + 1 : id, content, true, false});
    });
  }
}

/// Adds the tokens of tokenizer_config.json's added_tokens_decoder and of added_tokens.json that are not known. One
/// that is special in any file is.
inline void add_tokens_beside(const std::filesystem::path& folder, const Json& config, TokenizerParts& parts) {
  std::map<std::string, std::size_t, std::less<>> known;  // place in parts.added
  for (std::size_t at = 0; at < parts.added.size(); ++at) known.emplace(parts.added[at].content, at);
  const auto add = [&](AddedToken token) {
    const auto [found, is_new] = known.emplace(token.content, parts.added.size());
    if (is_new) {
      parts.added.push_back(std::move(token));
      return true;
    }
    AddedToken& other = parts.added[found->second];
    if (other.id != token.id)
      fail<FileError>("\"", token.content, "\" has id ", token.id, ", and ", other.id, " in another file");
    other.special = other.special || token.special;
    return false;
  };
  const auto add_all = [&](const char* name, const Json& entries, const auto& token_of) {
    const bool any_new = naming((folder / name).string(), [&] {
      bool any = false;
      for (const auto& [key, value] : entries.items()) any = add(token_of(key, value)) || any;
      return any;
    });
    if (any_new) parts.where += std::string(" and ") + name;
  };
  add_all(
      "tokenizer_config.json", member(config, "added_tokens_decoder"), [](const std::string& id, const Json& entry) {
        const bool number = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
        if (!number) fail<FileError>("added_tokens_decoder: expected ids as keys, found \"", id.substr(0, 200), "\"");
        return added_token(entry, std::stoi(id));
      });
  // added_tokens.json knows no flags: special is what special_tokens_map.json mentions, as a string, an object or a
  // list.
  std::set<std::string, std::less<>> special;
  for_each_token(read_object(folder / "special_tokens_map.json"),
                 [&](const std::string& content) { special.insert(content); });
  add_all("added_tokens.json", read_object(folder / "added_tokens.json"),
          [&](const std::string& content, const Json& id) {
            const bool is_special = special.contains(content);
            return AddedToken{id_in(id, content), content, is_special, !is_special};
          });
  add_named_tokens(config, parts);
}

/// The keys of tokenizer_config.json that must say what the other files say.
inline void check_tokenizer_config(const Json& config, const std::string& where, const TokenizerParts& parts) {
  const auto expect = [&](const char* key, bool expected, std::string_view because) {
    if (const bool found = flag_or(config, key, expected); found != expected)
      fail<ConfigError>(where, ": ", key, ": expected ", expected ? "true" : "false", ", since ", because, ", found ",
                        found ? "true" : "false");
  };
  naming(where, [&] {
    expect("add_bos_token", parts.bos.has_value(),
           parts.bos ? "post_processor puts a token before the prompt" : "no other file puts one before the prompt");
    expect("add_prefix_space", parts.prefix_space,
           parts.prefix_space ? "the model puts a space before text" : "the model puts none before text");
  });
}

}  // namespace ivl::detail
