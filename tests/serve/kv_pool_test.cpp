// Pages are nobody's, somebody's or shared; rows of pictures are found by what the pictures show.
#include "ivl/serve/kv_pool.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "ivl/serve/feature_pool.hpp"

namespace {

using namespace ivl;

std::shared_ptr<KvPool> pool_of(int full, int window) {
  PerGroup<int> counts;
  counts[KvGroup::full] = full;
  counts[KvGroup::window] = window;
  return std::make_shared<KvPool>(counts);
}

TEST_CASE("Pages come back when the last that refers to them is gone") {
  const auto pool = pool_of(4, 3);
  {
    KvPages a(pool, 4), b(pool, 4);
    a.grow(KvGroup::full, 65);
    CHECK(a.table(KvGroup::full).size() == 2);
    CHECK(pool->free(KvGroup::full) == 2);
    b.share(KvGroup::full, a, 1);
    CHECK(b.table(KvGroup::full)[0] == a.table(KvGroup::full)[0]);
    CHECK(!a.owns(KvGroup::full, 0));
    CHECK(a.owns(KvGroup::full, 1));
    a.clear();
    CHECK(pool->free(KvGroup::full) == 3);
    CHECK(b.owns(KvGroup::full, 0));
    b.grow(KvGroup::full, 256);
    CHECK(pool->free(KvGroup::full) == 0);
  }
  CHECK(pool->free(KvGroup::full) == 4);
  CHECK(pool->free(KvGroup::window) == 3);
}

TEST_CASE("A window's pages in front of it are given back, and not shared") {
  const auto pool = pool_of(1, 5);
  KvPages a(pool, 8), b(pool, 8);
  a.grow(KvGroup::window, 200);
  a.drop_before(KvGroup::window, 127);
  CHECK(a.begin(KvGroup::window) == 1);
  CHECK(a.table(KvGroup::window)[0] == -1);
  CHECK(pool->free(KvGroup::window) == 2);
  a.drop_before(KvGroup::window, 100);  // what is gone is gone once
  CHECK(pool->free(KvGroup::window) == 2);
  b.share(KvGroup::window, a, 3);
  CHECK(b.begin(KvGroup::window) == 1);
  a.clear();
  CHECK(pool->free(KvGroup::window) == 3);
  b.clear();
  CHECK(pool->free(KvGroup::window) == 5);
}

TEST_CASE("Who needs pages takes them from those who ended, the first first, and from nobody else") {
  const auto pool = pool_of(4, 0);
  PerGroup<int> two;
  two[KvGroup::full] = 2;
  KvPages running(pool, 4), first(pool, 4);
  running.grow(KvGroup::full, 64);
  first.grow(KvGroup::full, 64);
  {
    KvPages second(pool, 4);
    second.grow(KvGroup::full, 128);
    first.end();
    second.end();
    CHECK(pool->reclaim({}));
    CHECK(pool->free(KvGroup::full) == 0);
    CHECK(pool->reclaim(two));
    CHECK(first.table(KvGroup::full).empty());
    CHECK(second.table(KvGroup::full).empty());
    CHECK(pool->free(KvGroup::full) == 3);
  }
  PerGroup<int> four;
  four[KvGroup::full] = 4;
  CHECK(!pool->reclaim(four));
  CHECK(running.table(KvGroup::full).size() == 1);
}

Digest key(int number) {
  Sha256 hash;
  hash.add(std::uint64_t(number));
  return hash.finish();
}

TEST_CASE("Rows of pictures stay while someone refers to them, then until the room is needed") {
  FeaturePool pool(50, 10);  // five tiles
  const auto a = pool.reserve(key(1), 2);
  REQUIRE(a);
  CHECK(a->rows() == 20);
  CHECK(a->row(0) == a->first_rows[0]);
  CHECK(a->row(13) == a->first_rows[1] + 3);
  pool.reserve(key(2), 1);
  pool.reserve(key(3), 1);
  CHECK(pool.find(key(2)));  // used last, so 3 goes first
  CHECK(pool.reserve(key(4), 2));
  CHECK(!pool.find(key(3)));
  CHECK(pool.find(key(2)));
  CHECK(pool.find(key(1)) == a);
  CHECK(!pool.reserve(key(5), 4));  // a is referred to
  CHECK(!pool.find(key(4)));
  pool.forget(key(1));
  CHECK(!pool.find(key(1)));
}

}  // namespace
