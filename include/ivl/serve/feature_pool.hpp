// Which rows of a runner's feature memory hold which picture.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "ivl/core/sha256.hpp"

namespace ivl {

/// The rows of one picture: a tile's lie one after the other, tiles anywhere.
struct PictureRows {
  Digest key;
  int tile_rows = 0;
  std::vector<std::int32_t> first_rows;  ///< of each tile

  int rows() const { return int(first_rows.size()) * tile_rows; }
  std::int32_t row(int number) const { return first_rows[std::size_t(number / tile_rows)] + number % tile_rows; }
};

/// Pictures by their key. Those that nobody refers to stay until others need the room, the longest unused goes first.
class FeaturePool {
 public:
  /// `capacity` rows, in units of `tile_rows`.
  FeaturePool(int capacity, int tile_rows) : tile_rows_(tile_rows) {
    for (int unit = capacity / tile_rows - 1; unit >= 0; --unit) free_.push_back(unit * tile_rows);
  }

  /// The picture's rows, if they are there.
  std::shared_ptr<const PictureRows> find(const Digest& key) {
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) return nullptr;
    entry->second.last_use = ++uses_;
    return entry->second.features;
  }

  /// Rows for a picture of so many tiles, whose contents are the caller's to write; null where there is no room.
  std::shared_ptr<const PictureRows> reserve(const Digest& key, int tiles) {
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

  /// Takes back rows that were reserved but not written.
  void forget(const Digest& key) {
    const auto entry = entries_.find(key);
    if (entry != entries_.end()) give_back(entry);
  }

 private:
  struct Entry {
    std::shared_ptr<const PictureRows> features;
    std::uint64_t last_use = 0;
  };
  using Entries = std::map<Digest, Entry>;

  bool evict() {
    auto oldest = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->second.features.use_count() > 1) continue;
      if (oldest == entries_.end() || entry->second.last_use < oldest->second.last_use) oldest = entry;
    }
    if (oldest == entries_.end()) return false;
    give_back(oldest);
    return true;
  }
  void give_back(Entries::iterator entry) {
    const auto& rows = entry->second.features->first_rows;
    free_.insert(free_.end(), rows.rbegin(), rows.rend());
    entries_.erase(entry);
  }

  int tile_rows_;
  std::vector<std::int32_t> free_;
  Entries entries_;
  std::uint64_t uses_ = 0;
};

}  // namespace ivl
