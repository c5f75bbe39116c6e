// Which pages of keys and values belong to whom.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/model/step.hpp"

namespace ivl {

class KvPages;

/// Pages of each group, counted by how many sequences refer to them. Sequences that have ended keep theirs for as long
/// as nobody else needs them: `reclaim` takes them back, from the one that ended first.
class KvPool {
 public:
  explicit KvPool(PerGroup<int> counts);

  int count(KvGroup group) const { return counts_[group]; }
  int free(KvGroup group) const { return int(free_[group].size()); }
  int references(KvGroup group, std::int32_t page) const { return references_[group][std::size_t(page)]; }

  /// A page with one reference. There must be a free one.
  std::int32_t take(KvGroup group);
  void share(KvGroup group, std::int32_t page) { ++references_[group][std::size_t(page)]; }
  void release(KvGroup group, std::int32_t page);

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
  KvPages(std::shared_ptr<KvPool> pool, int most);
  KvPages(const KvPages&) = delete;
  KvPages& operator=(const KvPages&) = delete;
  ~KvPages();

  const std::vector<std::int32_t>& table(KvGroup group) const { return pages_[group]; }
  /// The first entry that is a page.
  int begin(KvGroup group) const { return begin_[group]; }

  /// Makes the table so long that it holds `tokens` tokens.
  void grow(KvGroup group, int tokens);

  /// Gives back the pages that lie whole in front of `position`.
  void drop_before(KvGroup group, int position);

  /// Refers to the pages of `other`, entries [its begin, number), in front of all others of its own.
  void share(KvGroup group, const KvPages& other, int number);

  /// Whether entry `index` is a page, and nobody else refers to it.
  bool owns(KvGroup group, int index) const;

  /// Its sequence has ended: others may have the pages.
  void end() { pool_->ended_.push_back(this); }

  void clear();

 private:
  std::shared_ptr<KvPool> pool_;
  PerGroup<std::vector<std::int32_t>> pages_;
  PerGroup<int> begin_{};
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/kv_pool.ipp"
#endif
