// The bodies of token_trie.hpp.
#pragma once
#include <algorithm>
#include <limits>
#include <numeric>

#include "ivl/core/error.hpp"
#include "ivl/text/token_trie.hpp"

namespace ivl {

IVL_INLINE TokenTrie::TokenTrie(const Tokenizer& tokenizer)
    : drops_first_space_(tokenizer.decoding().drops_first_space) {
  const bool byte_level = tokenizer.decoding().kind == Decoding::byte_level;
  bytes_begin_.reserve(std::size_t(tokenizer.size()) + 1);
  for (int id = 0; id < tokenizer.size(); ++id) {
    bytes_begin_.push_back(std::uint32_t(bytes_.size()));
    const bool changes_others = !byte_level && tokenizer.role_of(id) == TokenRole::added;
    const std::string_view bytes = tokenizer.bytes_of(id);
    if (bytes.empty() || tokenizer.is_special(id) || changes_others) continue;
    if (bytes.size() > std::numeric_limits<decltype(Node::depth)>::max())
      fail<RequestError>("constraint: token ", id, " has ", bytes.size(), " bytes");
    bytes_ += bytes;
    tokens_.push_back(id);
    longest_bytes_ = std::max(longest_bytes_, int(bytes.size()));
    most_openings_ = std::max(most_openings_,
                              int(std::ranges::count_if(bytes, [](char byte) { return byte == '{' || byte == '['; })));
  }
  bytes_begin_.push_back(std::uint32_t(bytes_.size()));
  std::ranges::stable_sort(tokens_, {}, [this](std::int32_t id) { return bytes_of(id); });

  std::vector<std::int32_t> path;  // nodes from the root to the last token's end
  std::string_view before;
  for (std::int32_t at = 0; at < std::int32_t(tokens_.size()); ++at) {
    const std::string_view bytes = bytes_of(tokens_[std::size_t(at)]);
    const auto common = std::size_t(std::ranges::mismatch(before, bytes).in1 - before.begin());
    for (std::size_t depth = common; depth < path.size(); ++depth)
      nodes_[std::size_t(path[depth])].end = std::int32_t(nodes_.size());
    path.resize(common);
    for (std::size_t depth = common; depth < bytes.size(); ++depth) {
      path.push_back(std::int32_t(nodes_.size()));
      nodes_.push_back({std::uint8_t(bytes[depth]), std::uint16_t(depth + 1), 0, at, at});
    }
    ++nodes_[std::size_t(path.back())].last_token;
    before = bytes;
  }
  for (const std::int32_t node : path) nodes_[std::size_t(node)].end = std::int32_t(nodes_.size());
}

}  // namespace ivl
