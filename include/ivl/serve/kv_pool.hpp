// Which pages of keys and values belong to whom, and what lies in those that nobody uses now.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/model/step.hpp"

namespace ivl {

/// Pages of each group, counted by how many sequences refer to them. A page that nobody refers to keeps what it holds
/// until it is taken for something else, the longest unused first, so that a later sequence can find it. Allocates
/// nothing once it is made.
class KvPool {
 public:
  explicit KvPool(PerGroup<int> counts);

  int count(KvGroup group) const { return int(groups_[group].pages.size()); }
  /// Pages that nobody refers to.
  int free(KvGroup group) const { return groups_[group].free; }
  int references(KvGroup group, std::int32_t page) const { return groups_[group].pages[std::size_t(page)].references; }

  /// A page with one reference. There must be a free one.
  std::int32_t take(KvGroup group);
  /// One more reference. A tail is the caller's alone, to write behind what it holds, and is found no more.
  void share(KvGroup group, std::int32_t page);
  void release(KvGroup group, std::int32_t page);

  /// The page is full, and its tokens with all in front of them have this key. Of two pages with the same key, the
  /// first is the one that is found.
  void keep(KvGroup group, std::int32_t page, const Digest& key);
  /// The page with this key; -1 if there is none.
  std::int32_t find(KvGroup group, const Digest& key) const;

  /// The last page of a sequence that ends: it holds `ids`, fewer than a page has room for, behind the tokens with the
  /// key `before`.
  void keep_tail(KvGroup group, std::int32_t page, const Digest& before, std::span<const std::int32_t> ids);
  /// Which tail has the longest common start with `ids`, and how long that is; 0 if there is none.
  struct Tail {
    std::int32_t page = -1;
    int common = 0;
  };
  Tail find_tail(KvGroup group, const Digest& before, std::span<const std::int32_t> ids) const;

 private:
  enum class Holds : std::uint8_t { nothing, full, tail };
  struct Page {
    int references = 0;
    Holds holds = Holds::nothing;
    int tail_ids = 0;
    Digest key{};                         ///< of a tail: what lies in front of it
    std::int32_t next_in_bucket = -1;     ///< of pages that are found by their key
    std::int32_t older = -1, newer = -1;  ///< of pages that nobody refers to
  };
  struct Group {
    std::vector<Page> pages;
    std::vector<std::int32_t> tails;    ///< [pages, kv_page_tokens]: ids
    std::vector<std::int32_t> buckets;  ///< the first page of each, -1: none
    std::int32_t oldest = -1, newest = -1;
    int free = 0;
  };

  static std::size_t bucket_of(const Group& group, const Digest& key);
  static void put(Group& group, std::int32_t page, Holds holds, const Digest& key);
  static void forget(Group& group, std::int32_t page);
  static void take_out(Group& group, std::int32_t page);

  PerGroup<Group> groups_;
};

/// The pages of one sequence: entry i of a group's table holds positions [64 i, 64 (i + 1)). In the window's group,
/// entries in front of the window are given back: -1.
class KvPages {
 public:
  /// No more than `most` pages of a group will ever be listed.
  KvPages(std::shared_ptr<KvPool> pool, int most);
  KvPages(const KvPages&) = delete;
  KvPages& operator=(const KvPages&) = delete;
  ~KvPages() { clear(); }

  const std::vector<std::int32_t>& table(KvGroup group) const { return pages_[group]; }
  /// The first entry that is a page.
  int begin(KvGroup group) const { return begin_[group]; }

  /// Makes the table so long that it holds `tokens` tokens. There must be so many free pages.
  void grow(KvGroup group, int tokens);

  /// Appends a page that the pool has found.
  void share(KvGroup group, std::int32_t page);

  /// The table begins with `number` entries that are no pages.
  void skip(KvGroup group, int number);

  /// Gives back the pages that lie whole in front of `position`.
  void drop_before(KvGroup group, int position);

  /// Gives back all, the last first: what lies behind is of less use to others than what lies in front of it.
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
