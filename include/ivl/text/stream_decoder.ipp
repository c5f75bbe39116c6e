// The bodies of stream_decoder.hpp.
#pragma once
#include <algorithm>

#include "ivl/core/error.hpp"
#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

IVL_INLINE StreamDecoder::Stop::Stop(std::string stop) : text(std::move(stop)), border(text.size() + 1) {
  for (std::size_t at = 1, length = 0; at < text.size(); ++at) {
    while (length > 0 && text[at] != text[length]) length = border[length];
    border[at + 1] = length += text[at] == text[length];
  }
}

IVL_INLINE void StreamDecoder::Stop::take(char byte) {
  while (matched > 0 && byte != text[matched]) matched = border[matched];
  matched += byte == text[matched];
}

IVL_INLINE StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
                                        SpecialTokens policy)
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

IVL_INLINE std::string_view StreamDecoder::push(int id) {
  drop_returned();
  if (stopped_by_ || (policy_ == SpecialTokens::skip && tokenizer_->is_special(id))) return {};
  const std::size_t from = text_.size();
  detokenizer_.push(text_, tokenizer_->role_of(id), tokenizer_->bytes_of(id));
  return give(find_stop(from));
}

IVL_INLINE std::string_view StreamDecoder::finish() {
  drop_returned();
  if (stopped_by_) return {};
  const std::size_t from = text_.size();
  detokenizer_.finish(text_);
  find_stop(from);
  return give(0);
}

IVL_INLINE void StreamDecoder::reset() {
  detokenizer_.reset();
  text_.clear();
  returned_ = 0;
  stopped_by_.reset();
  for (Stop& stop : stops_) stop.matched = 0;
}

IVL_INLINE std::size_t StreamDecoder::find_stop(std::size_t from) {
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

IVL_INLINE std::string_view StreamDecoder::give(std::size_t held) {
  returned_ = text_.size() - held;
  return std::string_view(text_).substr(0, returned_);
}

}  // namespace ivl
