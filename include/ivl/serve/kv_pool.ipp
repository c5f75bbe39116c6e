// The bodies of kv_pool.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

#include "ivl/core/constant.hpp"
#include "ivl/serve/kv_pool.hpp"

namespace ivl {

IVL_INLINE KvPool::KvPool(PerGroup<int> counts) : counts_(counts) {
  for (const KvGroup group : all_kv_groups) {
    references_[group].resize(std::size_t(counts[group]));
    free_[group].reserve(std::size_t(counts[group]));
    for (int page = counts[group] - 1; page >= 0; --page) free_[group].push_back(page);
  }
}

IVL_INLINE std::int32_t KvPool::take(KvGroup group) {
  assert(!free_[group].empty());
  const std::int32_t page = free_[group].back();
  free_[group].pop_back();
  references_[group][std::size_t(page)] = 1;
  return page;
}

IVL_INLINE void KvPool::release(KvGroup group, std::int32_t page) {
  int& references = references_[group][std::size_t(page)];
  assert(references > 0);
  if (--references == 0) free_[group].push_back(page);
}

IVL_INLINE bool KvPool::reclaim(PerGroup<int> wanted) {
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

IVL_INLINE KvPages::KvPages(std::shared_ptr<KvPool> pool, int most) : pool_(std::move(pool)) {
  for (const KvGroup group : all_kv_groups) pages_[group].reserve(std::size_t(most));
}

IVL_INLINE KvPages::~KvPages() {
  clear();
  std::erase(pool_->ended_, this);
}

IVL_INLINE void KvPages::grow(KvGroup group, int tokens) {
  while (std::int64_t(pages_[group].size()) * kv_page_tokens < tokens) pages_[group].push_back(pool_->take(group));
}

IVL_INLINE void KvPages::drop_before(KvGroup group, int position) {
  int& begin = begin_[group];
  for (; begin < position / kv_page_tokens; ++begin) {
    pool_->release(group, pages_[group][std::size_t(begin)]);
    pages_[group][std::size_t(begin)] = -1;
  }
}

IVL_INLINE void KvPages::share(KvGroup group, const KvPages& other, int number) {
  assert(pages_[group].empty());
  begin_[group] = std::min(other.begin_[group], number);
  for (int i = 0; i < number; ++i) {
    const std::int32_t page = other.pages_[group][std::size_t(i)];
    if (i >= begin_[group]) pool_->share(group, page);
    pages_[group].push_back(page);
  }
}

IVL_INLINE bool KvPages::owns(KvGroup group, int index) const {
  return index >= begin_[group] && index < int(pages_[group].size()) &&
         pool_->references(group, pages_[group][std::size_t(index)]) == 1;
}

IVL_INLINE void KvPages::clear() {
  for (const KvGroup group : all_kv_groups) {
    for (std::size_t i = std::size_t(begin_[group]); i < pages_[group].size(); ++i)
      pool_->release(group, pages_[group][i]);
    pages_[group].clear();
    begin_[group] = 0;
  }
}

}  // namespace ivl
