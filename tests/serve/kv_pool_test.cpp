// Which positions a ring of pages still holds, against a ring that is written position by position.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "ivl/serve/kv_pool.hpp"

namespace {

using namespace ivl;

/// What lies in the places of a ring, as positions.
struct WrittenRing {
  WrittenRing(int pages, int page_tokens) : page_tokens(page_tokens), held(std::size_t(pages * page_tokens), -1) {}
  int& place(int position) {
    const int pages = int(held.size()) / page_tokens;
    return held[std::size_t(position / page_tokens % pages * page_tokens + position % page_tokens)];
  }
  void write(int first, int rows) {
    for (int position = first; position < first + rows; ++position) place(position) = position;
  }
  bool has(int first, int end) {
    for (int position = std::max(0, first); position < end; ++position) {
      if (place(position) != position) return false;
    }
    return true;
  }
  int page_tokens;
  std::vector<int> held;
};

TEST_CASE(
    "A ring holds the window of every row of a step, wherever in a page the step begins, and has no page to spare") {
  constexpr int page_tokens = 16;
  for (const int window : {1, 2, 15, 16, 17, 32, 33}) {
    for (const int max_rows : {1, 2, 15, 16, 17, 40}) {
      CAPTURE(window);
      CAPTURE(max_rows);
      const KvRing ring = KvRing::of(window, max_rows, page_tokens, 1000);
      bool enough = true, fewer_would_do = true;
      for (const int pages : {ring.pages, ring.pages - 1}) {
        for (int first = 0; first < 3 * page_tokens && pages > 0; ++first) {
          WrittenRing written(pages, page_tokens);
          written.write(0, 10 * page_tokens + first);
          written.write(10 * page_tokens + first, max_rows);
          for (int row = 10 * page_tokens + first; row < 10 * page_tokens + first + max_rows; ++row)
            (pages == ring.pages ? enough : fewer_would_do) &= written.has(row - window + 1, row + 1);
        }
      }
      CHECK(enough);
      CHECK((ring.pages == 1 || !fewer_would_do));
    }
  }
}

TEST_CASE("A sequence may go back exactly as far as its ring reaches") {
  constexpr int page_tokens = 16;
  for (const int window : {2, 16, 20}) {
    const KvRing ring = KvRing::of(window, 24, page_tokens, 1000);
    for (int length = 1; length < 8 * page_tokens; ++length) {
      WrittenRing written(ring.pages, page_tokens);
      written.write(0, length);
      for (int position = 0; position <= length; ++position) {
        CAPTURE(position);
        CHECK(ring.holds(position, length) == written.has(position - window + 1, position));
      }
    }
  }
}

TEST_CASE("A ring has no more pages than a sequence, and none without a window") {
  CHECK(KvRing::of(128, 512, 64, 4).pages == 4);
  CHECK(KvRing::of(128, 512, 64, 4).holds(1, 256));
  CHECK(KvRing::of(0, 512, 64, 100).pages == 0);
  CHECK(KvRing::of(0, 512, 64, 100).holds(5, 100000));
}

}  // namespace
