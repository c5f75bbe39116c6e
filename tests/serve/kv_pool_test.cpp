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

Digest key(int number) {
  Sha256 hash;
  hash.add(std::uint64_t(number));
  return hash.finish();
}

std::int32_t first_page(const KvPages& pages) { return pages.table(KvGroup::full).front(); }

TEST_CASE("Pages come back when the last that refers to them is gone") {
  const auto pool = pool_of(4, 3);
  {
    KvPages a(pool, 4), b(pool, 4);
    a.grow(KvGroup::full, 65);
    CHECK(a.table(KvGroup::full).size() == 2);
    CHECK(pool->free(KvGroup::full) == 2);
    b.share(KvGroup::full, first_page(a));
    CHECK(first_page(b) == first_page(a));
    CHECK(pool->references(KvGroup::full, first_page(a)) == 2);
    a.clear();
    CHECK(pool->free(KvGroup::full) == 3);
    CHECK(pool->references(KvGroup::full, first_page(b)) == 1);
    b.grow(KvGroup::full, 256);
    CHECK(pool->free(KvGroup::full) == 0);
  }
  CHECK(pool->free(KvGroup::full) == 4);
  CHECK(pool->free(KvGroup::window) == 3);
}

TEST_CASE("A window's pages in front of it are given back") {
  const auto pool = pool_of(1, 5);
  KvPages a(pool, 8), b(pool, 8);
  a.grow(KvGroup::window, 200);
  a.drop_before(KvGroup::window, 127);
  CHECK(a.begin(KvGroup::window) == 1);
  CHECK(a.table(KvGroup::window)[0] == -1);
  CHECK(pool->free(KvGroup::window) == 2);
  a.drop_before(KvGroup::window, 100);  // what is gone is gone once
  CHECK(pool->free(KvGroup::window) == 2);
  b.skip(KvGroup::window, 1);
  for (const int page : {1, 2}) b.share(KvGroup::window, a.table(KvGroup::window)[std::size_t(page)]);
  CHECK(b.begin(KvGroup::window) == 1);
  a.clear();
  CHECK(pool->free(KvGroup::window) == 3);
  b.clear();
  CHECK(pool->free(KvGroup::window) == 5);
}

TEST_CASE("A full page is found by its key until it is taken for something else, the longest unused first") {
  const auto pool = pool_of(3, 0);
  std::int32_t pages[2];
  for (int i = 0; i < 2; ++i) {
    pages[i] = pool->take(KvGroup::full);
    pool->keep(KvGroup::full, pages[i], key(i));
  }
  CHECK(pool->find(KvGroup::full, key(0)) == pages[0]);
  CHECK(pool->find(KvGroup::full, key(7)) == -1);
  for (const std::int32_t page : pages) pool->release(KvGroup::full, page);
  CHECK(pool->free(KvGroup::full) == 3);
  pool->share(KvGroup::full, pages[0]);  // and is not the longest unused any more
  pool->release(KvGroup::full, pages[0]);

  const std::int32_t empty = pool->take(KvGroup::full);
  CHECK(empty != pages[0]);
  CHECK(empty != pages[1]);
  CHECK(pool->take(KvGroup::full) == pages[1]);
  CHECK(pool->find(KvGroup::full, key(1)) == -1);
  CHECK(pool->find(KvGroup::full, key(0)) == pages[0]);
  CHECK(pool->take(KvGroup::full) == pages[0]);
  CHECK(pool->find(KvGroup::full, key(0)) == -1);
  CHECK(pool->free(KvGroup::full) == 0);
}

TEST_CASE("Of two pages with one key the first is found, and the other is empty once it is given back") {
  const auto pool = pool_of(2, 0);
  const std::int32_t first = pool->take(KvGroup::full), second = pool->take(KvGroup::full);
  pool->keep(KvGroup::full, first, key(1));
  pool->keep(KvGroup::full, second, key(1));
  pool->release(KvGroup::full, first);
  pool->release(KvGroup::full, second);
  CHECK(pool->find(KvGroup::full, key(1)) == first);
  CHECK(pool->take(KvGroup::full) == second);
}

TEST_CASE("The longest common start decides between tails, and a tail is somebody's alone") {
  const auto pool = pool_of(3, 0);
  const std::vector<std::int32_t> ids[] = {{5, 6, 7}, {5, 6, 8, 9}, {4}};
  std::int32_t pages[3];
  for (int i = 0; i < 3; ++i) {
    pages[i] = pool->take(KvGroup::full);
    pool->keep_tail(KvGroup::full, pages[i], key(1), ids[i]);
    pool->release(KvGroup::full, pages[i]);
  }
  const std::vector<std::int32_t> wanted{5, 6, 8, 1, 2};
  CHECK(pool->find_tail(KvGroup::full, key(2), wanted).common == 0);
  CHECK(pool->find(KvGroup::full, key(1)) == -1);  // no full page
  const KvPool::Tail tail = pool->find_tail(KvGroup::full, key(1), wanted);
  CHECK(tail.page == pages[1]);
  CHECK(tail.common == 3);
  pool->share(KvGroup::full, tail.page);
  const KvPool::Tail next = pool->find_tail(KvGroup::full, key(1), wanted);
  CHECK(next.page == pages[0]);
  CHECK(next.common == 2);
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
}

}  // namespace
