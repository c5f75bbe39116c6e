// The bodies of kv_pool.hpp.
#pragma once
#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "ivl/serve/kv_pool.hpp"

namespace ivl {

IVL_INLINE KvPool::KvPool(PerGroup<int> counts) {
  for (const KvGroup name : all_kv_groups) {
    Group& group = groups_[name];
    group.pages.resize(std::size_t(counts[name]));
    group.tails.resize(group.pages.size() * kv_page_tokens);
    group.buckets.assign(std::bit_ceil(2 * group.pages.size() + 1), -1);
    for (Page& page : group.pages) page.references = 1;
    for (int page = 0; page < counts[name]; ++page) release(name, page);
  }
}

/// Keys are hashes, so that eight bytes of one choose its bucket well.
IVL_INLINE std::size_t KvPool::bucket_of(const Group& group, const Digest& key) {
  std::uint64_t start = 0;
  std::memcpy(&start, key.data(), sizeof start);
  return start & (group.buckets.size() - 1);
}

IVL_INLINE void KvPool::put(Group& group, std::int32_t page, Holds holds, const Digest& key) {
  Page& entry = group.pages[std::size_t(page)];
  assert(entry.holds == Holds::nothing);
  entry.holds = holds;
  entry.key = key;
  entry.next_in_bucket = std::exchange(group.buckets[bucket_of(group, key)], page);
}

IVL_INLINE void KvPool::forget(Group& group, std::int32_t page) {
  Page& entry = group.pages[std::size_t(page)];
  if (entry.holds == Holds::nothing) return;
  std::int32_t* link = &group.buckets[bucket_of(group, entry.key)];
  while (*link != page) link = &group.pages[std::size_t(*link)].next_in_bucket;
  *link = entry.next_in_bucket;
  entry.holds = Holds::nothing;
}

/// Of those that nobody refers to.
IVL_INLINE void KvPool::take_out(Group& group, std::int32_t page) {
  const Page& entry = group.pages[std::size_t(page)];
  (entry.older < 0 ? group.oldest : group.pages[std::size_t(entry.older)].newer) = entry.newer;
  (entry.newer < 0 ? group.newest : group.pages[std::size_t(entry.newer)].older) = entry.older;
  --group.free;
}

IVL_INLINE std::int32_t KvPool::take(KvGroup name) {
  Group& group = groups_[name];
  const std::int32_t page = group.oldest;
  assert(page >= 0);
  forget(group, page);
  take_out(group, page);
  group.pages[std::size_t(page)].references = 1;
  return page;
}

IVL_INLINE void KvPool::share(KvGroup name, std::int32_t page) {
  Group& group = groups_[name];
  Page& entry = group.pages[std::size_t(page)];
  if (entry.holds == Holds::tail) forget(group, page);
  if (entry.references++ == 0) take_out(group, page);
}

IVL_INLINE void KvPool::release(KvGroup name, std::int32_t page) {
  Group& group = groups_[name];
  Page& entry = group.pages[std::size_t(page)];
  assert(entry.references > 0);
  if (--entry.references > 0) return;
  ++group.free;
  const bool is_first = entry.holds == Holds::nothing;  // a page that nobody can find is the next one to be taken
  entry.older = is_first ? -1 : group.newest;
  entry.newer = is_first ? group.oldest : -1;
  (entry.older < 0 ? group.oldest : group.pages[std::size_t(entry.older)].newer) = page;
  (entry.newer < 0 ? group.newest : group.pages[std::size_t(entry.newer)].older) = page;
}

IVL_INLINE void KvPool::keep(KvGroup name, std::int32_t page, const Digest& key) {
  if (find(name, key) < 0) put(groups_[name], page, Holds::full, key);
}

IVL_INLINE std::int32_t KvPool::find(KvGroup name, const Digest& key) const {
  const Group& group = groups_[name];
  for (std::int32_t page = group.buckets[bucket_of(group, key)]; page >= 0;) {
    const Page& entry = group.pages[std::size_t(page)];
    if (entry.holds == Holds::full && entry.key == key) return page;
    page = entry.next_in_bucket;
  }
  return -1;
}

IVL_INLINE void KvPool::keep_tail(KvGroup name, std::int32_t page, const Digest& before,
                                  std::span<const std::int32_t> ids) {
  if (ids.empty()) return;
  Group& group = groups_[name];
  assert(ids.size() < kv_page_tokens && references(name, page) == 1);
  put(group, page, Holds::tail, before);
  group.pages[std::size_t(page)].tail_ids = int(ids.size());
  std::ranges::copy(ids, group.tails.begin() + std::ptrdiff_t(page) * kv_page_tokens);
}

IVL_INLINE KvPool::Tail KvPool::find_tail(KvGroup name, const Digest& before, std::span<const std::int32_t> ids) const {
  const Group& group = groups_[name];
  Tail best;
  for (std::int32_t page = group.buckets[bucket_of(group, before)]; page >= 0;) {
    const Page& entry = group.pages[std::size_t(page)];
    if (entry.holds == Holds::tail && entry.key == before) {
      const std::span tail(group.tails.data() + std::ptrdiff_t(page) * kv_page_tokens, std::size_t(entry.tail_ids));
      const int common = int(std::ranges::mismatch(tail, ids).in1 - tail.begin());
      if (common > best.common) best = {page, common};
    }
    page = entry.next_in_bucket;
  }
  return best;
}

IVL_INLINE KvPages::KvPages(std::shared_ptr<KvPool> pool, int most) : pool_(std::move(pool)) {
  for (const KvGroup group : all_kv_groups) pages_[group].reserve(std::size_t(most));
}

IVL_INLINE void KvPages::grow(KvGroup group, int tokens) {
  while (std::int64_t(pages_[group].size()) * kv_page_tokens < tokens) pages_[group].push_back(pool_->take(group));
}

IVL_INLINE void KvPages::share(KvGroup group, std::int32_t page) {
  pool_->share(group, page);
  pages_[group].push_back(page);
}

IVL_INLINE void KvPages::skip(KvGroup group, int number) {
  assert(pages_[group].empty());
  pages_[group].assign(std::size_t(number), -1);
  begin_[group] = number;
}

IVL_INLINE void KvPages::drop_before(KvGroup group, int position) {
  int& begin = begin_[group];
  for (; begin < position / kv_page_tokens; ++begin) {
    pool_->release(group, pages_[group][std::size_t(begin)]);
    pages_[group][std::size_t(begin)] = -1;
  }
}

IVL_INLINE void KvPages::clear() {
  for (const KvGroup group : all_kv_groups) {
    for (; int(pages_[group].size()) > begin_[group]; pages_[group].pop_back())
      pool_->release(group, pages_[group].back());
    pages_[group].clear();
    begin_[group] = 0;
  }
}

}  // namespace ivl
