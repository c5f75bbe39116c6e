// Pages of keys and values, handed out to sequences.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "ivl/core/constant.hpp"

namespace ivl {

/// Which of `count` pages are free. A page holds `page_tokens` tokens of one sequence in every layer.
class KvPages {
 public:
  KvPages(int count, int page_tokens) : page_tokens_(page_tokens), count_(count) {
    free_.reserve(std::size_t(count));
    for (int page = count - 1; page >= 0; --page) free_.push_back(page);
  }
  int page_tokens() const { return page_tokens_; }
  int count() const { return count_; }
  int free() const { return int(free_.size()); }

  std::int32_t take() {
    assert(!free_.empty());
    const std::int32_t page = free_.back();
    free_.pop_back();
    return page;
  }
  void give_back(std::int32_t page) { free_.push_back(page); }

 private:
  std::vector<std::int32_t> free_;
  int page_tokens_;
  int count_;
};

/// Pages of a layer with a sliding window, as many for a sequence as the window and one step's rows need, whatever its
/// length: position p lies in page p / page_tokens % pages (see ops/batch.hpp), so newer tokens overwrite older ones.
struct KvRing {
  int pages = 0;  ///< 0: the model has no window
  int page_tokens = 0;
  int window = 0;

  /// All rows of a step are written before the first of them looks back. No sequence has more than `most_pages` pages,
  /// so that a ring of these never comes round.
  static KvRing of(int window, int max_rows, int page_tokens, int most_pages) {
    if (window == 0) return {};
    return {std::min(int(ceil_div(window - 1 + max_rows, page_tokens)), most_pages), page_tokens, window};
  }

  /// Whether a sequence that wrote positions 0 ... written - 1 can go on from `position`: what the row there sees has
  /// not been overwritten.
  bool holds(int position, int written) const {
    const int oldest_seen = std::max(0, position - window + 1);
    return pages == 0 || position == 0 || oldest_seen + pages * page_tokens >= written;
  }
};

}  // namespace ivl
