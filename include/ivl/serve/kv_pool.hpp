// Which pages of keys and values belong to whom.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <vector>

#include "ivl/core/constant.hpp"
#include "ivl/model/step.hpp"

namespace ivl {

class KvPages;

/// Pages of each group, counted by how many sequences refer to them. Sequences that have ended keep theirs for as long
/// as nobody else needs them: `reclaim` takes them back, from the one that ended first.
class KvPool {
 public:
  explicit KvPool(PerGroup<int> counts) : counts_(counts) {
    for (const KvGroup group : all_kv_groups) {
      references_[group].resize(std::size_t(counts[group]));
      free_[group].reserve(std::size_t(counts[group]));
      for (int page = counts[group] - 1; page >= 0; --page) free_[group].push_back(page);
    }
  }

  int count(KvGroup group) const { return counts_[group]; }
  int free(KvGroup group) const { return int(free_[group].size()); }
  int references(KvGroup group, std::int32_t page) const { return references_[group][std::size_t(page)]; }

  /// A page with one reference. There must be a free one.
  std::int32_t take(KvGroup group) {
    assert(!free_[group].empty());
    const std::int32_t page = free_[group].back();
    free_[group].pop_back();
    references_[group][std::size_t(page)] = 1;
    return page;
  }
  void share(KvGroup group, std::int32_t page) { ++references_[group][std::size_t(page)]; }
  void release(KvGroup group, std::int32_t page) {
    int& references = references_[group][std::size_t(page)];
    assert(references > 0);
    if (--references == 0) free_[group].push_back(page);
  }

  /// Tries to have `wanted` free pages of each group, at the cost of ended sequences. Returns whether it has.
  bool reclaim(PerGroup<int> wanted);

 private:
  friend class KvPages;
  PerGroup<int> counts_;
  PerGroup<std::vector<std::int32_t>> free_;
  PerGroup<std::vector<int>> references_;
  std::vector<KvPages*> ended_;  // oldest first
};

/// The pages of one sequence: entry i of a group's table holds positions [64 i, 64 (i + 1)). In the window's group,
/// entries in front of the window are given back: -1.
class KvPages {
 public:
  /// No more than `most` pages of a group will ever be listed.
  KvPages(std::shared_ptr<KvPool> pool, int most) : pool_(std::move(pool)) {
    for (const KvGroup group : all_kv_groups) pages_[group].reserve(std::size_t(most));
  }
  KvPages(const KvPages&) = delete;
  KvPages& operator=(const KvPages&) = delete;
  ~KvPages() {
    clear();
    std::erase(pool_->ended_, this);
  }

  const std::vector<std::int32_t>& table(KvGroup group) const { return pages_[group]; }
  /// The first entry that is a page.
  int begin(KvGroup group) const { return begin_[group]; }

  /// Makes the table so long that it holds `tokens` tokens.
  void grow(KvGroup group, int tokens) {
    while (std::int64_t(pages_[group].size()) * kv_page_tokens < tokens) pages_[group].push_back(pool_->take(group));
  }

  /// Gives back the pages that lie whole in front of `position`.
  void drop_before(KvGroup group, int position) {
    int& begin = begin_[group];
    for (; begin < position / kv_page_tokens; ++begin) {
      pool_->release(group, pages_[group][std::size_t(begin)]);
      pages_[group][std::size_t(begin)] = -1;
    }
  }

  /// Refers to the pages of `other`, entries [its begin, number), in front of all others of its own.
  void share(KvGroup group, const KvPages& other, int number) {
    assert(pages_[group].empty());
    begin_[group] = std::min(other.begin_[group], number);
    for (int i = 0; i < number; ++i) {
      const std::int32_t page = other.pages_[group][std::size_t(i)];
      if (i >= begin_[group]) pool_->share(group, page);
      pages_[group].push_back(page);
    }
  }

  /// Whether entry `index` is nobody else's.
  bool owns(KvGroup group, int index) const { return pool_->references(group, pages_[group][std::size_t(index)]) == 1; }

  /// Its sequence has ended: others may have the pages.
  void end() { pool_->ended_.push_back(this); }

  void clear() {
    for (const KvGroup group : all_kv_groups) {
      for (std::size_t i = std::size_t(begin_[group]); i < pages_[group].size(); ++i)
        pool_->release(group, pages_[group][i]);
      pages_[group].clear();
      begin_[group] = 0;
    }
  }

 private:
  std::shared_ptr<KvPool> pool_;
  PerGroup<std::vector<std::int32_t>> pages_;
  PerGroup<int> begin_{};
};

inline bool KvPool::reclaim(PerGroup<int> wanted) {
  const auto enough = [&] {
    return std::all_of(std::begin(all_kv_groups), std::end(all_kv_groups),
                       [&](KvGroup group) { return free(group) >= wanted[group]; });
  };
  while (!enough() && !ended_.empty()) {
    ended_.front()->clear();
    ended_.erase(ended_.begin());
  }
  return enough();
}

}  // namespace ivl
