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

IVL_INLINE Sequence::Sequence(std::shared_ptr<KvPool> pool, int most_pages, Request request, const Sampling& sampling,
                              int prompt_tokens, int usable_ids)
    : request_(std::move(request)),
      sampling_(sampling),
      prompt_tokens_(prompt_tokens),
      usable_ids_(usable_ids),
      pages_(std::move(pool), most_pages) {}

IVL_INLINE std::int32_t Sequence::source(int position) const {
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

IVL_INLINE int Sequence::common_tokens(const Sequence& other) const {
  const int most = std::min(length(), other.length());
  int common = 0;
  while (common < most && tokens_[std::size_t(common)] == other.tokens_[std::size_t(common)]) {
    if (tokens_[std::size_t(common)] < 0) {
      const PictureSpan &a = *span_at(common), &b = *other.span_at(common);
      if (a.begin != b.begin || a.key != b.key) break;
    }
    ++common;
  }
  return common;
}

IVL_INLINE bool Sequence::stops_at(int id) const {
  return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
}

IVL_INLINE Draw Sequence::next_draw() const {
  return draw_of(sampling_, generated().size(), usable_ids_, reinterpret_cast<std::int32_t*>(uses_.data));
}

IVL_INLINE double Sequence::lap_s() {
  const auto now = Clock::now();
  return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
}

}  // namespace ivl
