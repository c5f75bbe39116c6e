// Text of a running generation, token by token, in whole characters.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/detokenizer.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// The texts that it returns, put together, are Tokenizer::decode of the ids, up to the first stop string.
/// Held back is what the next token may still change: the start of a character (up to 3 bytes), a run of byte tokens
/// where `Decoding::byte_fallback` waits for its end, or the start of a stop string.
/// Where stop strings overlap, the one that ends first counts, so the cut does not depend on where tokens end.
/// Allocates nothing in push and finish, once the constructor has reserved; only such a run of more than 1024 bytes
/// does.
class StreamDecoder {
 public:
  /// `tokenizer` must outlive this. Throws RequestError where a stop string is empty or not UTF-8.
  explicit StreamDecoder(const Tokenizer& tokenizer, std::vector<std::string> stop_strings = {},
                         SpecialTokens policy = SpecialTokens::skip);

  /// The text that became certain with this token, perhaps none. Good until the next call. Empty after a stop string.
  std::string_view push(int id);

  /// What was held back, at the end of generation; an incomplete character becomes U+FFFD.
  std::string_view finish();

  /// Index of the stop string that ended the text, if one did.
  std::optional<int> stopped_by() const { return stopped_by_; }
  const std::string& stop_string(int index) const { return stops_[std::size_t(index)].text; }

  /// Back to the start, for another generation.
  void reset();

 private:
  // Knuth, Morris, Pratt: how much of the stop string the text ends with, brought up to date byte by byte.
  struct Stop {
    explicit Stop(std::string stop);
    void take(char byte);
    std::string text;
    std::vector<std::size_t> border;  // [n]: the longest proper prefix of the first n bytes that is also their suffix
    std::size_t matched = 0;
  };

  /// Looks through text_ from `from` on, cuts it at a stop string, and returns how many bytes at its end to hold back.
  std::size_t find_stop(std::size_t from);

  std::string_view give(std::size_t held);

  void drop_returned() { text_.erase(0, std::exchange(returned_, 0)); }

  const Tokenizer* tokenizer_;
  SpecialTokens policy_;
  std::vector<Stop> stops_;
  Detokenizer detokenizer_;
  std::string text_;  // decoded: what was returned last, then what is held back
  std::size_t returned_ = 0;
  std::optional<int> stopped_by_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/stream_decoder.ipp"
#endif
