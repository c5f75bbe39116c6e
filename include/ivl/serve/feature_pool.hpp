// Which rows of a runner's feature memory hold which picture.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"

namespace ivl {

/// The rows of one picture: a tile's lie one after the other, tiles anywhere.
struct PictureRows {
  Digest key;
  int tile_rows = 0;
  std::vector<std::int32_t> first_rows;  ///< of each tile
  int seen = 0;                          ///< tiles, the first ones: their rows are written

  bool whole() const { return seen == int(first_rows.size()); }

  int rows() const { return int(first_rows.size()) * tile_rows; }
  std::int32_t row(int number) const { return first_rows[std::size_t(number / tile_rows)] + number % tile_rows; }
};

/// Pictures by their key. Those that nobody refers to stay until others need the room, the longest unused goes first.
class FeaturePool {
 public:
  /// `capacity` rows, in units of `tile_rows`.
  FeaturePool(int capacity, int tile_rows);

  /// The picture's rows, if there are any: perhaps not all of its tiles are seen.
  std::shared_ptr<PictureRows> find(const Digest& key);

  /// Rows for a new picture of so many tiles, none of them seen; null where there is no room.
  std::shared_ptr<PictureRows> reserve(const Digest& key, int tiles);

 private:
  struct Entry {
    std::shared_ptr<PictureRows> features;
    std::uint64_t last_use = 0;
  };
  using Entries = std::map<Digest, Entry>;

  bool evict();
  void give_back(Entries::iterator entry);

  int tile_rows_;
  std::vector<std::int32_t> free_;
  Entries entries_;
  std::uint64_t uses_ = 0;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/feature_pool.ipp"
#endif
