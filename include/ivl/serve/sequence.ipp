// The bodies of sequence.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "ivl/serve/sequence.hpp"

namespace ivl {

IVL_INLINE std::span<const std::int32_t> Sequence::generated() const {
  return std::span(tokens_).subspan(std::size_t(std::min<std::ptrdiff_t>(prompt_tokens_, std::ssize(tokens_))));
}

IVL_INLINE std::optional<std::string> Sequence::stopped_by() const {
  if (finish_ != Finish::stop_string) return {};
  return decoder_->stop_string(*decoder_->stopped_by());
}

IVL_INLINE Sequence::Sequence(std::shared_ptr<KvPool> pool, int most_pages, Request request, const Sampling& sampling,
                              int prompt_tokens, int usable_ids, int most_drafts)
    : request_(std::move(request)),
      sampling_(sampling),
      prompt_tokens_(prompt_tokens),
      usable_ids_(usable_ids),
      pages_(std::move(pool), most_pages) {
  page_keys_.reserve(std::size_t(most_pages) + 1);
  drafts_.reserve(std::size_t(most_drafts));
}

IVL_INLINE std::int32_t Sequence::source(int position) const {
  if (position >= length()) return drafts_[std::size_t(position - length())];
  const std::int32_t token = tokens_[std::size_t(position)];
  if (token >= 0) return token;
  const PictureSpan& span = *span_at(position);
  return -1 - span.features->row(position - span.begin);
}

IVL_INLINE const PictureSpan* Sequence::span_at(int position) const {
  const auto behind = std::upper_bound(spans_.begin(), spans_.end(), position,
                                       [](int at, const PictureSpan& span) { return at < span.begin; });
  return &*std::prev(behind);
}

IVL_INLINE PictureSpan* Sequence::unseen() {
  const auto found =
      std::ranges::find_if(spans_, [](const PictureSpan& span) { return span.features && !span.features->whole(); });
  return found == spans_.end() ? nullptr : &*found;
}

IVL_INLINE int Sequence::ready() const {
  for (const PictureSpan& span : spans_) {
    if (span.features && !span.features->whole()) return span.begin + span.features->seen * span.features->tile_rows;
  }
  return length();
}

IVL_INLINE const Digest& Sequence::page_key(int index) {
  if (page_keys_.empty()) {
    Sha256 hash;
    hash.add("ivl keys and values");
    hash.add(request_.cache_salt);
    page_keys_.push_back(hash.finish());
  }
  while (int(page_keys_.size()) < index + 2) {
    const int begin = (int(page_keys_.size()) - 1) * kv_page_tokens, end = begin + kv_page_tokens;
    Sha256 hash;
    hash.add(std::as_bytes(std::span(page_keys_.back())));
    if (turned_by_length(end)) hash.add(std::uint64_t(prompt_tokens_));
    hash_tokens(hash, begin, end);
    page_keys_.push_back(hash.finish());
  }
  return page_keys_[std::size_t(index + 1)];
}

IVL_INLINE Digest Sequence::key_before_tail(int begin, int end) {
  const int page = begin / kv_page_tokens;
  const Digest& before = page_key(page - 1);
  if (begin % kv_page_tokens == 0 && !turned_by_length(end)) return before;
  Sha256 hash;
  hash.add(std::as_bytes(std::span(before)));
  hash_tokens(hash, page * kv_page_tokens, begin);
  if (turned_by_length(end)) hash.add(std::uint64_t(prompt_tokens_));
  return hash.finish();
}

IVL_INLINE int Sequence::tail_begin(int end) const {
  const int page_begin = end / kv_page_tokens * kv_page_tokens;
  int begin = end;
  while (begin > page_begin && tokens_[std::size_t(begin - 1)] >= 0) --begin;
  return begin;
}

IVL_INLINE void Sequence::hash_tokens(Sha256& hash, int begin, int end) const {
  for (int position = begin; position < end; ++position) {
    const std::int32_t token = tokens_[std::size_t(position)];
    if (token >= 0) {
      hash.add(std::uint64_t(token));
      continue;
    }
    const PictureSpan& span = *span_at(position);
    hash.add(~std::uint64_t(position - span.begin));  // no token id
    hash.add(std::as_bytes(std::span(span.key)));
  }
}

IVL_INLINE bool Sequence::turned_by_length(int end) const {
  return rope_.kind == RopeKind::dynamic_ntk && std::max(prompt_tokens_, end) > rope_.context;
}

IVL_INLINE std::span<const std::int32_t> Sequence::ids_of_page(int position, int end) const {
  const int page_end = position / kv_page_tokens * kv_page_tokens + kv_page_tokens;
  const auto ids = std::span(tokens_).subspan(std::size_t(position), std::size_t(std::min(end, page_end) - position));
  return ids.first(std::size_t(std::ranges::find(ids, -1) - ids.begin()));
}

IVL_INLINE bool Sequence::stops_at(int id) const {
  return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
}

IVL_INLINE Draw Sequence::next_draw(int ahead) const {
  return draw_of(sampling_, generated().size() + std::size_t(ahead), usable_ids_,
                 reinterpret_cast<std::int32_t*>(uses_.data));
}

IVL_INLINE void Sequence::guess(int most) {
  constexpr std::ptrdiff_t matched = 3;
  drafts_.clear();
  most = std::min(most, draft_length_);
  if (most <= 0 || !may_guess() || std::ssize(tokens_) <= matched) return;
  if (draft_pause_ > 0) {
    --draft_pause_;
    return;
  }
  const auto last = std::make_reverse_iterator(tokens_.end());  // the newest place first
  const auto found = std::search(last + 1, tokens_.rend(), last, last + matched);
  if (found == tokens_.rend() || std::find(last, last + matched, -1) != last + matched) return;
  for (auto next = found.base(); next != tokens_.end() && *next >= 0 && std::ssize(drafts_) < most; ++next)
    drafts_.push_back(*next);
}

IVL_INLINE void Sequence::learn(int right) {
  const int tried = int(drafts_.size());
  if (tried == 0) return;
  statistics_.drafted_tokens += tried;
  statistics_.accepted_tokens += right;
  constexpr int pause = 16, longest = 64;
  draft_length_ = right == tried ? std::min(longest, 2 * std::max(tried, draft_length_)) : std::max(1, right + 1);
  if (right == 0) draft_pause_ = pause;
}

IVL_INLINE double Sequence::lap_s() {
  const auto now = Clock::now();
  return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
}

}  // namespace ivl
