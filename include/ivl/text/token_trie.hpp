// The tokens of a tokenizer by the bytes that they add to an answer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// All tokens that write text, as a tree over their bytes: built once for a tokenizer, which it does not refer to
/// later, and shared by all constraints. Special tokens are not in it, nor are added tokens of a SentencePiece model,
/// which change how the next piece is written. Const after construction; threads may share it.
class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);

  /// A byte behind those of the nodes above. Nodes stand in the order of a walk: children behind their parent, and all
  /// that lies below a node before `end`.
  struct Node {
    std::uint8_t byte;
    std::uint16_t depth;  ///< bytes from the root, which is no node: 1 and more
    std::int32_t end;
    std::int32_t first_token, last_token;  ///< of `tokens`: those that end here
  };

  std::span<const Node> nodes() const { return nodes_; }
  /// Ids in the order of their bytes.
  std::span<const std::int32_t> tokens() const { return tokens_; }

  /// Ids are below this.
  int ids() const { return int(bytes_begin_.size()) - 1; }
  /// What a token writes; empty for one that is not here.
  std::string_view bytes_of(int id) const {
    if (id < 0 || id >= ids()) return {};
    const std::size_t begin = bytes_begin_[std::size_t(id)];
    return std::string_view(bytes_).substr(begin, bytes_begin_[std::size_t(id) + 1] - begin);
  }
  int longest_bytes() const { return longest_bytes_; }
  /// The most bytes that open something of JSON in a token: brackets and braces.
  int most_openings() const { return most_openings_; }
  /// Decoding leaves out a space that an answer begins with.
  bool drops_first_space() const { return drops_first_space_; }

 private:
  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;
  std::string bytes_;
  std::vector<std::uint32_t> bytes_begin_;  // [ids + 1]
  int longest_bytes_ = 0, most_openings_ = 0;
  bool drops_first_space_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/token_trie.ipp"
#endif
