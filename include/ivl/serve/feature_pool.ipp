// The bodies of feature_pool.hpp.
#pragma once
#include <algorithm>

#include "ivl/serve/feature_pool.hpp"

namespace ivl {

IVL_INLINE FeaturePool::FeaturePool(int capacity, int tile_rows) : tile_rows_(tile_rows) {
  for (int unit = capacity / tile_rows - 1; unit >= 0; --unit) free_.push_back(unit * tile_rows);
}

IVL_INLINE std::shared_ptr<PictureRows> FeaturePool::find(const Digest& key) {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return nullptr;
  entry->second.last_use = ++uses_;
  return entry->second.features;
}

IVL_INLINE std::shared_ptr<PictureRows> FeaturePool::reserve(const Digest& key, int tiles) {
  while (int(free_.size()) < tiles && evict()) {
  }
  if (int(free_.size()) < tiles) return nullptr;
  auto features = std::make_shared<PictureRows>(PictureRows{key, tile_rows_, {}});
  features->first_rows.assign(free_.end() - tiles, free_.end());
  std::reverse(features->first_rows.begin(), features->first_rows.end());
  free_.resize(free_.size() - std::size_t(tiles));
  entries_[key] = {features, ++uses_};
  return features;
}

IVL_INLINE bool FeaturePool::evict() {
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->second.features.use_count() > 1) continue;
    if (oldest == entries_.end() || entry->second.last_use < oldest->second.last_use) oldest = entry;
  }
  if (oldest == entries_.end()) return false;
  give_back(oldest);
  return true;
}

IVL_INLINE void FeaturePool::give_back(Entries::iterator entry) {
  const auto& rows = entry->second.features->first_rows;
  free_.insert(free_.end(), rows.rbegin(), rows.rend());
  entries_.erase(entry);
}

}  // namespace ivl
