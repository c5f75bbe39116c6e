// Pages of keys and values, handed out to sequences.
#pragma once
#include <cassert>
#include <cstdint>
#include <vector>

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

}  // namespace ivl
