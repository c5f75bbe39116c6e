#include "ivl/cpu/attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "ivl/core/error.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using ivl_test::float_unit, ivl_test::keep_worst, ivl_test::rounding_unit;

/// One step's share of a sequence: its tokens [first, first + number).
struct Piece {
  int sequence, first, number;
};

/// The queries, keys and values of whole sequences, and pages for them, all in poisoned memory.
template <class Scalar>
class World {
 public:
  /// `lengths`: tokens of each sequence. With `ring_pages` a sequence has so many pages, which its table lists again
  /// and again: what an engine may do with the pages in front of a window.
  World(AttentionShape shape, int page_tokens, std::vector<int> lengths, int ring_pages = 0)
      : shape(shape), page_tokens(page_tokens), lengths(std::move(lengths)), random_(1) {
    int pages = 0;
    for (const int length : this->lengths) {
      qkv_of.emplace_back(std::size_t(length) * std::size_t(shape.qkv_width()));
      for (Scalar& x : qkv_of.back()) x = round_to<Scalar>(normal_(random_));
      pages_per_sequence_ = std::max(pages_per_sequence_, int(ceil_div(length, page_tokens)));
      pages += int(ceil_div(length, page_tokens));
    }
    std::vector<int> scrambled(std::size_t(pages) + 3);  // three pages stay unused
    std::iota(scrambled.begin(), scrambled.end(), 0);
    std::shuffle(scrambled.begin(), scrambled.end(), random_);
    cpu::Context ctx(1);
    page_bytes_ = kv_page_bytes(ctx, shape, kind_of<Scalar>, page_tokens);
    pages_ = Buffer(scrambled.size() * std::size_t(page_bytes_));
    std::memset(pages_.data(), 0xff, pages_.size());  // NaN in either scalar
    page_table_.assign(this->lengths.size() * std::size_t(pages_per_sequence_), -1000000);
    for (std::size_t s = 0, next = 0; s < this->lengths.size(); ++s) {
      std::int32_t* const table = page_table_.data() + s * std::size_t(pages_per_sequence_);
      for (int page = 0; page < ceil_div(this->lengths[s], page_tokens); ++page)
        table[page] = ring_pages > 0 && page >= ring_pages ? table[page - ring_pages] : scrambled[next++];
    }
  }

  /// Caches and attends the pieces as one batch; returns y of each piece, its rows without gaps.
  std::vector<std::vector<Scalar>> step(cpu::Context& ctx, Mask mask, const std::vector<Piece>& pieces) {
    std::vector<std::int32_t> row_begin{0}, kv_length, sequence_of, positions, table;
    for (const Piece& piece : pieces) {
      for (int i = 0; i < piece.number; ++i) {
        sequence_of.push_back(std::int32_t(kv_length.size()));
        positions.push_back(piece.first + i);
      }
      row_begin.push_back(row_begin.back() + piece.number);
      kv_length.push_back(piece.first + piece.number);
      const auto row = page_table_.begin() + piece.sequence * pages_per_sequence_;
      table.insert(table.end(), row, row + pages_per_sequence_);
    }
    const Batch batch{.rows = row_begin.back(),
                      .sequences = int(pieces.size()),
                      .row_begin = row_begin.data(),
                      .kv_length = kv_length.data(),
                      .sequence_of = sequence_of.data(),
                      .positions = positions.data(),
                      .longest = *std::max_element(kv_length.begin(), kv_length.end())};
    const KvView kv{pages_.data(), page_bytes_, page_tokens, table.data(), pages_per_sequence_};

    const Scalar nan = round_to<Scalar>(std::numeric_limits<float>::quiet_NaN());
    const std::int64_t width = shape.qkv_width(), y_width = shape.query_width(), gap = 7, rows = batch.rows;
    std::vector<Scalar> qkv(std::size_t((rows + 2) * (width + gap)), nan),
        y(std::size_t((rows + 2) * (y_width + gap)), nan);
    for (std::size_t p = 0, row = 1; p < pieces.size(); ++p) {
      for (int i = 0; i < pieces[p].number; ++i, ++row) {
        std::copy_n(qkv_of[std::size_t(pieces[p].sequence)].begin() + (pieces[p].first + i) * width, width,
                    qkv.begin() + std::int64_t(row) * (width + gap));
      }
    }
    const Rows<const Scalar> qkv_rows(qkv.data() + width + gap, rows, width, width + gap);
    const Rows<Scalar> y_rows(y.data() + y_width + gap, rows, y_width, y_width + gap);
    cache_keys(ctx, shape, qkv_rows, batch, kv);
    attention(ctx, shape, mask, sinks.empty() ? nullptr : sinks.data(),
              Rows<const Scalar>(qkv_rows.data, rows, y_width, width + gap), batch, kv, y_rows);

    std::vector<std::vector<Scalar>> result;
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      result.emplace_back();
      for (int row = row_begin[p]; row < row_begin[p + 1]; ++row) {
        result.back().insert(result.back().end(), y_rows[row], y_rows[row] + y_width);
      }
    }
    int written_outside = 0;
    for (std::int64_t row = 0; row < rows + 2; ++row) {
      const bool inside = row >= 1 && row <= rows;
      for (std::int64_t i = inside ? y_width : 0; i < y_width + gap; ++i) {
        written_outside += std::memcmp(&y[std::size_t(row * (y_width + gap) + i)], &nan, sizeof nan) != 0;
      }
    }
    REQUIRE(written_outside == 0);
    return result;
  }

  /// Largest |y - reference| / bound over the rows of a piece, where the reference is the formula in double.
  double worst(Mask mask, const Piece& piece, const std::vector<Scalar>& y) const {
    // Pointers into doubles: under the sanitizers this takes most of the file's time.
    std::vector<double> all;
    for (const Scalar x : qkv_of[std::size_t(piece.sequence)]) all.push_back(double(to_float(x)));
    const int d = shape.head_dim;
    const auto head_at = [&](int token, int column) {
      return all.data() + std::int64_t(token) * shape.qkv_width() + column;
    };
    std::vector<double> expected(static_cast<std::size_t>(d)), absolute(static_cast<std::size_t>(d));
    double worst = 0;
    for (int i = 0; i < piece.number; ++i) {
      const int keys = mask == Mask::full ? piece.first + piece.number : piece.first + i + 1;
      const int seen = mask == Mask::causal && shape.window > 0 ? std::max(0, keys - shape.window) : 0;
      for (int head = 0; head < shape.heads; ++head) {
        const int key_column = shape.query_width() + head / shape.group() * d,
                  value_column = key_column + shape.kv_width();
        std::vector<double> p(static_cast<std::size_t>(keys), -1e300);  // its power is 0
        double highest = -1e300, magnitude = 0;                         // of the products in a score
        for (int key = seen; key < keys; ++key) {
          const double *q = head_at(piece.first + i, head * d), *k = head_at(key, key_column);
          double score = 0, products = 0;
          for (int j = 0; j < d; ++j) {
            const double product = q[j] * k[j];
            score += product;
            products += std::abs(product);
          }
          p[std::size_t(key)] = score / std::sqrt(double(d));
          highest = std::max(highest, p[std::size_t(key)]);
          magnitude = std::max(magnitude, products / std::sqrt(double(d)));
        }
        double total = 0;
        if (!sinks.empty()) {
          const double sink = sinks[std::size_t(head)];
          highest = std::max(highest, sink);
          magnitude = std::max(magnitude, std::abs(sink));
          total = std::exp(sink - highest);
        }
        for (double& x : p) total += x = std::exp(x - highest);
        // A score: d products and sums, then a factor and a shift of numbers below magnitude / ln 2. Its power of two:
        // 2 units (of 2^-23). A probability: perhaps one rounding to bf16. Sums over the keys, faded once a block.
        const double score_error = (d + 4) * float_unit * 1.5 * magnitude, power_error = 4 * float_unit;
        const double rounding = std::is_same_v<Scalar, bf16> ? 0x1p-8 : 0;
        const double sums_error = (keys + 8 * (1 + keys / 128.0)) * float_unit;
        const double relative = 2 * (2 * score_error + power_error + sums_error) + rounding;
        std::fill(expected.begin(), expected.end(), 0.0);
        std::fill(absolute.begin(), absolute.end(), 0.0);
        for (int key = seen; key < keys; ++key) {
          const double share = p[std::size_t(key)] / total, *v = head_at(key, value_column);
          double *sum = expected.data(), *magnitudes = absolute.data();
          for (int j = 0; j < d; ++j) {
            sum[j] += share * v[j];
            magnitudes[j] += share * std::abs(v[j]);
          }
        }
        for (int j = 0; j < d; ++j) {
          const double y_expected = expected[std::size_t(j)];
          const double bound =
              1.01 * (absolute[std::size_t(j)] * relative + std::abs(y_expected) * rounding_unit<Scalar>)+1e-37;
          const double error = std::abs(to_float(y[std::size_t((i * shape.heads + head) * d + j)]) - y_expected);
          keep_worst(worst, error / bound);
        }
      }
    }
    return worst;
  }

  AttentionShape shape;
  int page_tokens;
  std::vector<int> lengths;
  std::vector<std::vector<Scalar>> qkv_of;
  std::vector<float> sinks;

 private:
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  int pages_per_sequence_ = 0;
  std::int64_t page_bytes_ = 0;
  Buffer pages_;
  std::vector<std::int32_t> page_table_;
};

template <class Scalar>
bool same_bits(const std::vector<Scalar>& a, const std::vector<Scalar>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

/// Caches and attends one sequence in steps of these sizes; y of all its rows.
template <class Scalar>
std::vector<Scalar> in_steps(cpu::Context& ctx, World<Scalar>& world, int sequence, const std::vector<int>& steps) {
  std::vector<Scalar> y;
  int first = 0;
  for (const int number : steps) {
    const auto some = world.step(ctx, Mask::causal, {{sequence, first, number}});
    y.insert(y.end(), some[0].begin(), some[0].end());
    first += number;
  }
  return y;
}

TEST_CASE_TEMPLATE("attention over all keys equals the formula, for odd numbers of keys and any head_dim", Scalar,
                   float, bf16) {
  cpu::Context ctx(2);
  for (const int head_dim : {16, 32, 48, 64, 128, 256}) {
    for (const int keys : {1, 15, 16, 17, 63, 64, 65, 129}) {
      const AttentionShape shape{2, 2, head_dim};
      World<Scalar> world(shape, 144, {keys});
      const Piece all{0, 0, keys};
      const auto y = world.step(ctx, Mask::full, {all});
      INFO(head_dim, " ", keys);
      CHECK(world.worst(Mask::full, all, y[0]) <= 1);
    }
  }
}

TEST_CASE_TEMPLATE("a picture of 1025 tokens in one page of 1040 equals the formula", Scalar, float, bf16) {
  cpu::Context ctx(2);
  World<Scalar> world({1, 1, 64}, 1040, {1025, 1025});
  const Piece first{0, 0, 1025}, second{1, 0, 1025};
  const auto y = world.step(ctx, Mask::full, {first, second});
  CHECK(world.worst(Mask::full, first, y[0]) <= 1);
  CHECK(world.worst(Mask::full, second, y[1]) <= 1);
}

TEST_CASE_TEMPLATE("causal attention equals the formula for groups of one, five and seven heads and scrambled pages",
                   Scalar, float, bf16) {
  cpu::Context ctx(2);
  for (const int group : {1, 5, 7, 60}) {
    for (const int page_tokens : {16, 48, 64, 256}) {
      if (group == 60 && page_tokens != 48) continue;  // many heads, so many formulas
      World<Scalar> world({2 * group, 2, 32}, page_tokens, {1, 17, 130});
      const std::vector<Piece> pieces{{0, 0, 1}, {1, 0, 17}, {2, 0, 130}};
      const auto y = world.step(ctx, Mask::causal, pieces);
      INFO(group, " ", page_tokens);
      for (std::size_t p = 0; p < pieces.size(); ++p) CHECK(world.worst(Mask::causal, pieces[p], y[p]) <= 1);
    }
  }
}

TEST_CASE_TEMPLATE("a prompt at once, in chunks and token by token gives the same bits", Scalar, float, bf16) {
  cpu::Context one(1), three(3);
  for (const int group : {1, 2, 5}) {
    for (const int head_dim : {16, 48, 128}) {
      const AttentionShape shape{2 * group, 2, head_dim};
      const auto run = [&](cpu::Context& ctx, const std::vector<int>& steps) {
        World<Scalar> world(shape, 64, {200});  // a fresh world: stale keys must not help
        return in_steps(ctx, world, 0, steps);
      };
      const std::vector<Scalar> at_once = run(one, {200});
      INFO(group, " ", head_dim);
      CHECK(same_bits(at_once, run(three, {200})));
      CHECK(same_bits(at_once, run(three, {63, 1, 65, 2, 69})));
      CHECK(same_bits(at_once, run(one, std::vector<int>(200, 1))));
    }
  }
}

TEST_CASE_TEMPLATE("several sequences in one batch give the bits that each gives alone", Scalar, float, bf16) {
  cpu::Context ctx(2);
  World<Scalar> together({6, 2, 32}, 32, {70, 1, 129, 33});
  World<Scalar> alone({6, 2, 32}, 32, {70, 1, 129, 33});
  together.step(ctx, Mask::causal, {{2, 0, 128}, {0, 0, 69}, {3, 0, 20}});
  const auto y = together.step(ctx, Mask::causal, {{3, 20, 13}, {2, 128, 1}, {1, 0, 1}, {0, 69, 1}});
  const auto tail = [&](int sequence, int first, int number) {
    if (first > 0) alone.step(ctx, Mask::causal, {{sequence, 0, first}});
    return alone.step(ctx, Mask::causal, {{sequence, first, number}})[0];
  };
  CHECK(same_bits(y[0], tail(3, 20, 13)));
  CHECK(same_bits(y[1], tail(2, 128, 1)));
  CHECK(same_bits(y[2], tail(1, 0, 1)));
  CHECK(same_bits(y[3], tail(0, 69, 1)));
}

TEST_CASE_TEMPLATE("the size of a page changes no bit", Scalar, float, bf16) {
  cpu::Context ctx(2);
  std::vector<Scalar> first;
  for (const int page_tokens : {64, 16, 48, 1040}) {
    World<Scalar> world({4, 2, 48}, page_tokens, {201});
    const std::vector<Scalar> y = in_steps(ctx, world, 0, {200, 1});
    if (first.empty()) first = y;
    INFO(page_tokens);
    CHECK(same_bits(y, first));
  }
}

TEST_CASE_TEMPLATE("a long sequence shared by many threads gives the bits of one thread and of its prompt at once",
                   Scalar, float, bf16) {
  cpu::Context one(1), many(8);
  for (const int length : {1024, 1025, 2048, 2100}) {
    World<Scalar> world({5, 1, 16}, 64, {length}), shared({5, 1, 16}, 64, {length});
    const std::vector<Scalar> at_once = in_steps(one, world, 0, {length});
    const std::vector<Scalar> last(at_once.end() - 2 * 5 * 16, at_once.end());
    shared.step(one, Mask::causal, {{0, 0, length - 2}});
    const auto y = shared.step(many, Mask::causal, {{0, length - 2, 2}});
    INFO(length);
    CHECK(same_bits(y[0], last));
    CHECK(shared.worst(Mask::causal, {0, length - 2, 2}, y[0]) <= 1);
  }
}

TEST_CASE_TEMPLATE("a sliding window equals the formula, also where it crosses blocks and chunks of keys", Scalar,
                   float, bf16) {
  cpu::Context ctx(2);
  for (const int window : {1, 2, 17, 128, 129}) {
    World<Scalar> world({.heads = 1, .kv_heads = 1, .head_dim = 16, .window = window}, 64, {1200});
    world.step(ctx, Mask::causal, {{0, 0, 1020}});
    // Windows end and begin before, at and behind key 1024, where a chunk begins.
    const Piece tail{0, 1020, window + 10};
    const auto y = world.step(ctx, Mask::causal, {tail});
    INFO(window);
    CHECK(world.worst(Mask::causal, tail, y[0]) <= 1);
  }
}

TEST_CASE_TEMPLATE("a window far from the beginning equals the formula, however many threads there are", Scalar, float,
                   bf16) {
  cpu::Context one(1), many(4);
  constexpr int length = 3001;  // whole chunks of keys lie before the window
  World<Scalar> world({.heads = 2, .kv_heads = 1, .head_dim = 16, .window = 16}, 64, {length});
  world.step(one, Mask::causal, {{0, 0, length - 1}});
  const Piece last{0, length - 1, 1};
  const auto alone = world.step(one, Mask::causal, {last}), shared = world.step(many, Mask::causal, {last});
  CHECK(same_bits(shared[0], alone[0]));
  CHECK(world.worst(Mask::causal, last, shared[0]) <= 1);
}

TEST_CASE_TEMPLATE("sinks take part in the softmax and have no value, with and without a window", Scalar, float, bf16) {
  cpu::Context ctx(2), many(8);
  for (const int window : {0, 20}) {
    World<Scalar> world({.heads = 6, .kv_heads = 2, .head_dim = 16, .window = window}, 32, {1, 70, 1100});
    world.sinks = {0, -3, 4, 1, 60, -60};  // some drown all keys, some are nothing
    world.step(ctx, Mask::causal, {{2, 0, 1090}});
    const std::vector<Piece> pieces{{0, 0, 1}, {1, 0, 70}, {2, 1090, 9}};
    const auto y = world.step(ctx, Mask::causal, pieces);
    INFO(window);
    for (std::size_t p = 0; p < pieces.size(); ++p) CHECK(world.worst(Mask::causal, pieces[p], y[p]) <= 1);
    const Piece last{2, 1099, 1};
    CHECK(world.worst(Mask::causal, last, world.step(many, Mask::causal, {last})[0]) <= 1);
  }
}

TEST_CASE_TEMPLATE("pages in front of a window may be used again: the bits are those of pages of its own, in any steps",
                   Scalar, float, bf16) {
  cpu::Context one(1), three(3);
  const int length = 1210, window = 40;
  const AttentionShape shape{.heads = 2, .kv_heads = 1, .head_dim = 16, .window = window};
  const auto prepared = [&](int ring_pages) {
    World<Scalar> world(shape, 16, {length, length}, ring_pages);
    world.sinks = {1, -1};
    return world;
  };
  World<Scalar> paged = prepared(0);
  const std::vector<Scalar> at_once = in_steps(three, paged, 1, {length});
  CHECK(paged.worst(Mask::causal, {1, 0, length}, at_once) <= 1);
  // Steps of up to 70 rows: 39 keys before the first of them, 109 tokens in all, which may touch eight pages.
  World<Scalar> ring = prepared(8);
  std::vector<int> steps(12, 70);
  steps.insert(steps.end(), {1, 69, 2, 68, 70, 70});
  steps.resize(steps.size() + std::size_t(length - 12 * 70 - 280), 1);
  CHECK(same_bits(at_once, in_steps(one, ring, 1, steps)));
  // The other sequence's ring is its own, whichever row of the batch it is.
  const auto both = ring.step(three, Mask::causal, {{1, length - 1, 1}, {0, 0, 60}});
  CHECK(same_bits(both[0], std::vector<Scalar>(at_once.end() - 32, at_once.end())));
  CHECK(ring.worst(Mask::causal, {0, 0, 60}, both[1]) <= 1);
}

TEST_CASE("a head_dim or a page size that the CPU cannot take is refused when pages are sized") {
  cpu::Context ctx(1);
  CHECK(kv_page_bytes(ctx, {4, 2, 48}, ScalarKind::bf16, 32) == 2 * 2 * 48 * 32 * 2);
  CHECK_THROWS_WITH_AS(kv_page_bytes(ctx, {4, 2, 40}, ScalarKind::bf16, 32),
                       "attention: head_dim must be a multiple of 16 up to 256 on the CPU, found 40", ConfigError);
  CHECK_THROWS_AS(kv_page_bytes(ctx, {4, 2, 272}, ScalarKind::bf16, 32), ConfigError);
  CHECK_THROWS_WITH_AS(kv_page_bytes(ctx, {4, 2, 48}, ScalarKind::f32, 24),
                       "attention: page_tokens must be a multiple of 16, found 24", ConfigError);
}

TEST_CASE("what a page holds beyond the sequence, even NaN from another one, does not reach the result") {
  cpu::Context ctx(1);
  for (const int length : {1, 2, 17, 64}) {
    World<bf16> world({2, 1, 16}, 64, {length});
    const Piece all{0, 0, length};
    const auto y = world.step(ctx, Mask::causal, {all});  // World poisons all pages
    INFO(length);
    CHECK(world.worst(Mask::causal, all, y[0]) <= 1);
  }
}

TEST_CASE("scores too large for e^x alone still give a softmax") {
  cpu::Context ctx(1);
  World<float> world({1, 1, 16}, 64, {40});
  for (float& x : world.qkv_of[0]) x *= 30;
  const Piece all{0, 0, 40};
  const auto y = world.step(ctx, Mask::causal, {all});
  CHECK(world.worst(Mask::causal, all, y[0]) <= 1);
}

TEST_CASE_TEMPLATE("rotate_and_cache normalises, rotates and rounds once, and leaves keys and values in their pages",
                   Scalar, float, bf16) {
  cpu::Context ctx(2);
  for (const bool with_norm : {false, true}) {
    for (const int d : {16, 48, 128}) {
      const AttentionShape shape{4, 2, d};
      const int rows = 21, page_tokens = 16, first = 3;
      std::mt19937 random(7);
      std::normal_distribution<float> normal;
      std::vector<Scalar> qkv(std::size_t(rows * shape.qkv_width()));
      for (Scalar& x : qkv) x = round_to<Scalar>(normal(random));
      std::vector<float> angles(std::size_t(rows * d)), query_gain(std::size_t(d), 0), key_gain(std::size_t(d), 0);
      for (int i = 0; i < rows * d / 2; ++i) {
        const double angle = normal(random);
        angles[std::size_t(i / (d / 2) * d + i % (d / 2))] = float(std::cos(angle));
        angles[std::size_t(i / (d / 2) * d + d / 2 + i % (d / 2))] = float(std::sin(angle));
      }
      for (float& x : query_gain) x = 1 + normal(random) / 4;
      for (float& x : key_gain) x = 1 + normal(random) / 4;
      const std::int32_t row_begin[] = {0, rows}, kv_length[] = {first + rows}, pages[] = {2, 0};
      const std::vector<std::int32_t> sequence_of(std::size_t(rows), 0);
      const Batch batch{.rows = rows,
                        .sequences = 1,
                        .row_begin = row_begin,
                        .kv_length = kv_length,
                        .sequence_of = sequence_of.data(),
                        .longest = first + rows};
      const std::int64_t page_bytes = kv_page_bytes(ctx, shape, kind_of<Scalar>, page_tokens);
      Buffer memory(std::size_t(3 * page_bytes));
      std::memset(memory.data(), 0xff, memory.size());
      const HeadNorm norm = with_norm ? HeadNorm{query_gain.data(), key_gain.data(), 1e-6f} : HeadNorm{};
      std::vector<Scalar> result = qkv;
      rotate_and_cache(ctx, shape, norm, Rows<const float>(angles.data(), rows, d),
                       Rows<Scalar>(result.data(), rows, shape.qkv_width()), batch,
                       {memory.data(), page_bytes, page_tokens, pages, 2});

      // The layout at the head of cpu/attention.hpp.
      constexpr int unit = std::is_same_v<Scalar, bf16> ? 2 : 1;
      const auto cached = [&](int position, int kv_head, bool value, int i) {
        const int token = position % page_tokens;
        const auto* head = reinterpret_cast<const Scalar*>(memory.data() + pages[position / page_tokens] * page_bytes) +
                           (2 * kv_head + value) * page_tokens * d;
        return value ? head[(i / 16 * (page_tokens / unit) + token / unit) * 16 * unit + i % 16 * unit + token % unit]
                     : head[(token / 16 * (d / unit) + i / unit) * 16 * unit + token % 16 * unit + i % unit];
      };
      double worst = 0;
      bool values_equal = true;
      for (int row = 0; row < rows; ++row) {
        for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
          const bool is_key = head >= shape.heads;
          const float* gain = is_key ? key_gain.data() : query_gain.data();
          const Scalar* x = qkv.data() + row * shape.qkv_width() + head * d;
          double squares = 0;
          for (int i = 0; i < d; ++i) squares += double(to_float(x[i])) * to_float(x[i]);
          const double factor = with_norm ? 1 / std::sqrt(squares / d + 1e-6f) : 1;
          const auto in = [&](int i) { return to_float(x[i]) * factor * (with_norm ? double(gain[i]) : 1); };
          for (int i = 0; i < d; ++i) {
            const int pair = i % (d / 2);
            const double cosine = angles[std::size_t(row * d + pair)],
                         sine = angles[std::size_t(row * d + d / 2 + pair)];
            const double a = in(pair), b = in(d / 2 + pair);
            const double expected = i < d / 2 ? a * cosine - b * sine : b * cosine + a * sine;
            const Scalar found = is_key ? cached(first + row, head - shape.heads, false, i)
                                        : result[std::size_t(row * shape.qkv_width() + head * d + i)];
            // Norm: half the sum of squares' d roundings, root, quotient and two products. Rotation: two products, a
            // sum.
            const double relative = (with_norm ? d / 2.0 + 5 : 0) * float_unit + 2 * float_unit;
            const double bound =
                1.01 *
                ((std::abs(a * cosine) + std::abs(b * sine) + std::abs(a * sine) + std::abs(b * cosine)) * relative +
                 std::abs(expected) * rounding_unit<Scalar>)+1e-37;
            const double error = std::abs(to_float(found) - expected);
            keep_worst(worst, error / bound);
          }
        }
        for (int i = 0; i < shape.kv_width(); ++i) {
          const Scalar value = qkv[std::size_t(row * shape.qkv_width() + shape.query_width() + shape.kv_width() + i)];
          const Scalar found = cached(first + row, i / d, true, i % d);
          values_equal = values_equal && std::memcmp(&value, &found, sizeof value) == 0;
        }
      }
      INFO(with_norm, " ", d);
      CHECK(worst <= 1);
      CHECK(values_equal);
      // Nothing else was written: tokens 0 to 2 of the first page, and page 1, are as before.
      CHECK(to_float(cached(0, 0, false, 0)) != to_float(cached(0, 0, false, 0)));
      const std::byte* unused = memory.data() + page_bytes;
      CHECK(std::all_of(unused, unused + page_bytes, [](std::byte b) { return b == std::byte{0xff}; }));
    }
  }
}

}  // namespace
