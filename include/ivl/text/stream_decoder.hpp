// Text of a running generation, token by token, in whole characters.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/utf8.hpp"

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
                         SpecialTokens policy = SpecialTokens::skip)
      : tokenizer_(&tokenizer), policy_(policy), detokenizer_(tokenizer.decoding()) {
    std::size_t longest = 0;
    for (std::string& text : stop_strings) {
      if (text.empty() || !is_utf8(text))
        fail<RequestError>("stop string \"", to_utf8(text), "\": expected UTF-8, not empty");
      longest = std::max(longest, text.size());
      stops_.push_back(Stop(std::move(text)));
    }
    const bool waits = tokenizer.decoding().kind == Decoding::byte_fallback;
    const std::size_t bytes = tokenizer.longest_bytes() + (waits ? 1024 : 3);
    detokenizer_.reserve(bytes);
    text_.reserve(3 * bytes + longest);  // every byte may become a U+FFFD of three
  }

  /// The text that became certain with this token, perhaps none. Good until the next call. Empty after a stop string.
  std::string_view push(int id) {
    drop_returned();
    if (stopped_by_ || (policy_ == SpecialTokens::skip && tokenizer_->is_special(id))) return {};
    const std::size_t from = text_.size();
    detokenizer_.push(text_, tokenizer_->role_of(id), tokenizer_->bytes_of(id));
    return give(find_stop(from));
  }

  /// What was held back, at the end of generation; an incomplete character becomes U+FFFD.
  std::string_view finish() {
    drop_returned();
    if (stopped_by_) return {};
    const std::size_t from = text_.size();
    detokenizer_.finish(text_);
    find_stop(from);
    return give(0);
  }

  /// Index of the stop string that ended the text, if one did.
  std::optional<int> stopped_by() const { return stopped_by_; }

  /// Back to the start, for another generation.
  void reset() {
    detokenizer_.reset();
    text_.clear();
    returned_ = 0;
    stopped_by_.reset();
    for (Stop& stop : stops_) stop.matched = 0;
  }

 private:
  // Knuth, Morris, Pratt: how much of the stop string the text ends with, brought up to date byte by byte.
  struct Stop {
    explicit Stop(std::string stop) : text(std::move(stop)), border(text.size() + 1) {
      for (std::size_t at = 1, length = 0; at < text.size(); ++at) {
        while (length > 0 && text[at] != text[length]) length = border[length];
        border[at + 1] = length += text[at] == text[length];
      }
    }
    void take(char byte) {
      while (matched > 0 && byte != text[matched]) matched = border[matched];
      matched += byte == text[matched];
    }
    std::string text;
    std::vector<std::size_t> border;  // [n]: the longest proper prefix of the first n bytes that is also their suffix
    std::size_t matched = 0;
  };

  /// Looks through text_ from `from` on, cuts it at a stop string, and returns how many bytes at its end to hold back.
  std::size_t find_stop(std::size_t from) {
    std::size_t held = 0;
    for (std::size_t at = from; at < text_.size() && !stopped_by_; ++at) {
      for (Stop& stop : stops_) stop.take(text_[at]);
      std::size_t longest = 0;
      for (std::size_t index = 0; index < stops_.size(); ++index) {
        const Stop& stop = stops_[index];
        if (stop.matched < stop.text.size() || stop.matched <= longest) continue;
        longest = stop.matched;
        stopped_by_ = int(index);
      }
      if (stopped_by_) text_.resize(at + 1 - longest);
    }
    if (!stopped_by_)
      for (const Stop& stop : stops_) held = std::max(held, stop.matched);
    return held;
  }

  std::string_view give(std::size_t held) {
    returned_ = text_.size() - held;
    return std::string_view(text_).substr(0, returned_);
  }

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
