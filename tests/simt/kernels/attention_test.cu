#include "ivl/cuda/attention/attention.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

/// One step's share of a sequence: its tokens [first, first + number).
struct Piece {
  int sequence, first, number;
};

/// What a step's launches are sized by may be more than there is.
struct Spare {
  int rows = 0, sequences = 0, longest = 0;
};

/// Queries, keys and values of whole sequences, and pages for them. Everything that is not theirs is NaN.
template <class Scalar>
struct World {
  AttentionShape shape;
  int page_tokens;
  std::vector<int> lengths;
  int ring_pages = 0;
  int first_page = 0;  // with which the memory of pages begins
  std::vector<float> sinks;
  std::vector<std::vector<Scalar>> qkv_of;
  std::vector<std::int32_t> page_table;
  int pages = 0, pages_per_sequence = 0;

  World(AttentionShape shape, int page_tokens, std::vector<int> lengths, int ring_pages = 0)
      : shape(shape), page_tokens(page_tokens), lengths(std::move(lengths)), ring_pages(ring_pages) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (const int length : this->lengths) {
      qkv_of.emplace_back(std::size_t(length) * std::size_t(shape.qkv_width()));
      for (Scalar& x : qkv_of.back()) x = round_to<Scalar>(normal(random));
      pages_per_sequence = std::max(pages_per_sequence, int(ceil_div(length, page_tokens)));
      pages += int(ceil_div(length, page_tokens));
    }
    std::vector<std::int32_t> scrambled(std::size_t(pages += 2));  // two stay unused
    std::iota(scrambled.begin(), scrambled.end(), 0);
    std::shuffle(scrambled.begin(), scrambled.end(), random);
    page_table.assign(this->lengths.size() * std::size_t(pages_per_sequence), -1000000);
    std::size_t next = 0;
    for (std::size_t s = 0; s < this->lengths.size(); ++s) {
      // With `ring_pages`, a table lists so many pages again and again: what an engine may do in front of a window.
      std::int32_t* const table = page_table.data() + s * std::size_t(pages_per_sequence);
      for (int page = 0; page < ceil_div(this->lengths[s], page_tokens); ++page)
        table[page] = ring_pages > 0 && page >= ring_pages ? table[page - ring_pages] : scrambled[next++];
    }
  }

  Scalar at(int sequence, int token, int column) const {
    return qkv_of[std::size_t(sequence)][std::size_t(token) * std::size_t(shape.qkv_width()) + std::size_t(column)];
  }
  std::int64_t page_scalars() const { return std::int64_t(2) * page_tokens * shape.kv_width(); }

  /// The pages when the pieces' tokens and those before them are cached, by the layout of kv_layout.cuh; tokens that no
  /// row of a piece sees any more are NaN.
  std::vector<Scalar> filled_pages(const std::vector<Piece>& pieces) const {
    std::vector<Scalar> memory(std::size_t(pages * page_scalars()),
                               round_to<Scalar>(std::numeric_limits<float>::quiet_NaN()));
    const int d = shape.head_dim;
    for (const Piece& piece : pieces) {
      const int seen = shape.window > 0 ? std::max(0, piece.first + 1 - shape.window) : 0;
      for (int token = seen; token < piece.first + piece.number; ++token) {
        const int index = token / page_tokens;
        const std::int64_t page = page_table[std::size_t(piece.sequence * pages_per_sequence + index)];
        for (int i = 0; i < 2 * shape.kv_width(); ++i) {
          const std::int64_t head = i / d;  // those of values follow those of keys
          memory[std::size_t(page * page_scalars() + (head * page_tokens + token % page_tokens) * d + i % d)] =
              at(piece.sequence, token, shape.query_width() + i);
        }
      }
    }
    return memory;
  }

  /// y of each piece, its rows without gaps.
  std::vector<std::vector<Scalar>> step(cuda::Context& ctx, Mask mask, const std::vector<Piece>& pieces,
                                        const Spare& spare = {}) const {
    std::vector<std::int32_t> row_begin{0}, kv_length, sequence_of, positions, table;
    Batch batch;
    for (const Piece& piece : pieces) {
      for (int i = 0; i < piece.number; ++i) {
        sequence_of.push_back(std::int32_t(kv_length.size()));
        positions.push_back(piece.first + i);
      }
      row_begin.push_back(row_begin.back() + piece.number);
      kv_length.push_back(piece.first + piece.number);
      batch.longest = std::max(batch.longest, kv_length.back());
      const auto row = page_table.begin() + piece.sequence * pages_per_sequence;
      for (int i = 0; i < pages_per_sequence; ++i) table.push_back(row[i] < 0 ? row[i] : row[i] + first_page);
    }
    const int rows = row_begin.back();
    batch.rows = rows + spare.rows;
    batch.sequences = int(pieces.size()) + spare.sequences;
    batch.longest += spare.longest;
    row_begin.resize(std::size_t(batch.sequences) + 1, rows);
    kv_length.resize(std::size_t(batch.sequences), 0);
    sequence_of.resize(std::size_t(batch.rows), -1);

    const Scalar nan = round_to<Scalar>(std::numeric_limits<float>::quiet_NaN());
    const int width = shape.query_width(), stride = width + 8;
    std::vector<Scalar> queries(std::size_t(batch.rows * stride), nan);
    for (std::size_t p = 0, row = 0; p < pieces.size(); ++p) {
      for (int i = 0; i < pieces[p].number; ++i, ++row) {
        for (int column = 0; column < width; ++column)
          queries[row * std::size_t(stride) + std::size_t(column)] =
              at(pieces[p].sequence, pieces[p].first + i, column);
      }
    }
    DeviceArray<std::int32_t> device_row_begin(row_begin), device_kv_length(kv_length), device_sequence_of(sequence_of),
        device_positions(positions), device_table(table);
    batch.row_begin = device_row_begin.data();
    batch.kv_length = device_kv_length.data();
    batch.sequence_of = device_sequence_of.data();
    batch.positions = device_positions.data();
    DeviceArray<Scalar> device_pages(filled_pages(pieces)), device_queries(queries), y(queries.size());
    DeviceArray<float> device_sinks(sinks);
    const std::int64_t page_bytes = page_scalars() * int(sizeof(Scalar));
    const KvView kv{reinterpret_cast<std::byte*>(device_pages.data()) - first_page * page_bytes, page_bytes,
                    page_tokens, device_table.data(), pages_per_sequence};
#if !defined(__CUDACC__)
    const auto conflicts = simt::stats().bank_conflicts;
#endif
    attention(ctx, shape, mask, sinks.empty() ? nullptr : device_sinks.data(),
              Rows<const Scalar>(device_queries.data(), batch.rows, width, stride), batch, kv,
              Rows<Scalar>(y.data(), batch.rows, width, stride));
#if !defined(__CUDACC__)
    REQUIRE(simt::stats().bank_conflicts == conflicts);  // of ldmatrix
#endif

    const std::vector<Scalar> all = y.download();
    std::vector<std::vector<Scalar>> result;
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      result.emplace_back();
      for (int row = row_begin[p]; row < row_begin[p + 1]; ++row)
        result.back().insert(result.back().end(), all.begin() + row * stride, all.begin() + row * stride + width);
    }
    int written_outside = 0;
    for (int row = 0; row < batch.rows; ++row) {
      for (int i = row < rows ? width : 0; i < stride; ++i)
        written_outside += !std::isnan(to_float(all[std::size_t(row * stride + i)]));
    }
    REQUIRE(written_outside == 0);
    return result;
  }

  struct Wanted {
    double value, bound;
  };

  /// Results of a piece by the formula in double precision, and how far off arithmetic may be.
  std::vector<Wanted> formula(Mask mask, const Piece& piece) const {
    const int d = shape.head_dim, s = piece.sequence;
    std::vector<Wanted> wanted;
    for (int token = piece.first; token < piece.first + piece.number; ++token) {
      const int end = mask == Mask::full ? piece.first + piece.number : token + 1;
      const int begin = mask == Mask::causal && shape.window > 0 ? std::max(0, end - shape.window) : 0;
      for (int head = 0; head < shape.heads; ++head) {
        const int key_column = shape.query_width() + head / shape.group() * d;
        std::vector<double> p;
        double magnitude = 0;  // of the products in a score
        for (int key = begin; key < end; ++key) {
          double score = 0, absolute = 0;
          for (int i = 0; i < d; ++i) {
            const double product = double(to_float(at(s, token, head * d + i))) * to_float(at(s, key, key_column + i));
            score += product;
            absolute += std::abs(product);
          }
          p.push_back(score / std::sqrt(double(d)));
          magnitude = std::max(magnitude, absolute / std::sqrt(double(d)));
        }
        if (!sinks.empty()) p.push_back(sinks[std::size_t(head)]);
        const double highest = *std::max_element(p.begin(), p.end());
        double total = 0;
        for (double& x : p) total += x = std::exp(x - highest);

        // Weights w (1 + e) instead of w move the mean of values y by at most e / (1 - e) mean |v - y|. A score is d
        // products and sums, then a factor and a shift; a unit is 2^-23, since tensor cores may cut off. Its power of
        // two is off by 2 units; then perhaps a rounding to bf16.
        constexpr double unit = 0x1p-23;
        const double error = (d + 4) * unit * magnitude + 4 * unit + (std::is_same_v<Scalar, bf16> ? 0x1p-8 : 0);
        // Sums over keys; a fade and its power of two a block of keys, and as much again to join chunks.
        const double sums = (double(p.size()) + 8 * (2 + double(p.size()) / 32)) * unit;
        for (int i = 0; i < d; ++i) {
          double value = 0, absolute = 0, spread = 0;
          const auto v = [&](int key) {
            return key < end ? double(to_float(at(s, key, key_column + shape.kv_width() + i))) : 0;  // the sink's
          };
          for (std::size_t k = 0; k < p.size(); ++k) {
            value += p[k] / total * v(begin + int(k));
            absolute += p[k] / total * std::abs(v(begin + int(k)));
          }
          for (std::size_t k = 0; k < p.size(); ++k) spread += p[k] / total * std::abs(v(begin + int(k)) - value);
          const double arithmetic = spread * error / (1 - error) + 2 * absolute * sums;
          const double rounding = (std::abs(value) + arithmetic) * (std::is_same_v<Scalar, bf16> ? 0x1p-8 : 0x1p-24);
          wanted.push_back({value, arithmetic + rounding + 1e-37});
        }
      }
    }
    return wanted;
  }

  /// Runs the step in every order and compares all pieces with the formula.
  void check(Mask mask, const std::vector<Piece>& pieces, const Spare& spare = {}) const {
    INFO("head_dim ", shape.head_dim, ", group ", shape.group(), ", window ", shape.window, ", page ", page_tokens);
    std::vector<std::vector<Wanted>> wanted;
    for (const Piece& piece : pieces) wanted.push_back(formula(mask, piece));
    cuda::Context ctx;
    for_each_order([&] {
      const auto y = step(ctx, mask, pieces, spare);
      for (std::size_t p = 0; p < pieces.size(); ++p) {
        CAPTURE(p);
        double worst = 0;
        for (std::size_t i = 0; i < y[p].size(); ++i) {
          const double error = std::abs(double(to_float(y[p][i])) - wanted[p][i].value) / wanted[p][i].bound;
          if (!(error <= worst)) worst = error;
        }
        REQUIRE(y[p].size() == wanted[p].size());
        REQUIRE(worst <= 1);
      }
    });
  }
};

template <class Scalar>
bool same_bits(const std::vector<Scalar>& a, const std::vector<Scalar>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

/// One sequence in steps of these sizes: y of all its rows.
template <class Scalar>
std::vector<Scalar> in_steps(cuda::Context& ctx, const World<Scalar>& world, const std::vector<int>& steps) {
  std::vector<Scalar> y;
  int first = 0;
  for (const int number : steps) {
    const auto some = world.step(ctx, Mask::causal, {{0, first, number}});
    y.insert(y.end(), some[0].begin(), some[0].end());
    first += number;
  }
  return y;
}

}  // namespace

TEST_CASE("on CUDA attention over all keys equals the formula") {
  for (const int head_dim : {32, 48, 64, 128}) {
    // One page a sequence. 129 rows are whole tiles and a CLS row; 65 are if head_dim is 128, else more than are over.
    const World<bf16> world({2, 2, head_dim}, 144, {129, 1, 17, 65});
    world.check(Mask::full, {{0, 0, 129}, {1, 0, 1}, {2, 0, 17}, {3, 0, 65}});
  }
  World<bf16>({1, 1, 64}, 272, {257}).check(Mask::full, {{0, 0, 257}});
  World<float>({2, 2, 64}, 80, {1, 65}).check(Mask::full, {{0, 0, 1}, {1, 0, 65}});
}

TEST_CASE("on CUDA causal attention equals the formula, for prompts and single tokens in one step") {
  const std::vector<int> lengths{1, 3, 17, 300, 290, 64};
  const std::vector<Piece> pieces{{0, 0, 1}, {4, 289, 1}, {3, 283, 17}, {2, 0, 17}, {1, 0, 3}, {5, 0, 63}};
  for (const auto& [head_dim, group, page_tokens] : {std::tuple{32, 1, 16}, {64, 7, 64}, {128, 2, 64}, {32, 17, 48}})
    World<bf16>({2 * group, 2, head_dim}, page_tokens, lengths).check(Mask::causal, pieces);
  World<bf16>({2, 2, 16}, 16, lengths).check(Mask::causal, {pieces[1], pieces[3]});
  World<float>({4, 2, 32}, 16, lengths).check(Mask::causal, {pieces[1], pieces[3], pieces[4]});
}

TEST_CASE("on CUDA windows and sinks equal the formula, in pages of their own and in pages used again") {
  const std::vector<Piece> pieces{{0, 267, 33}, {1, 39, 1}, {2, 298, 1}, {3, 0, 3}};
  const auto test = [&](auto world) {
    world.sinks = {-1, 0.5f, 20, 3};
    world.check(Mask::causal, pieces);
  };
  // A ring of 112 tokens holds the window and 33 rows; one of 256 keys' width spans two chunks.
  const std::vector<int> lengths{300, 40, 299, 3};
  test(World<bf16>({4, 2, 64, 70}, 16, lengths, 7));
  test(World<bf16>({4, 1, 32, 70}, 16, lengths, 7));
  test(World<bf16>({4, 2, 64, 130}, 64, lengths));
  test(World<bf16>({4, 2, 64}, 64, lengths));
  test(World<bf16>({4, 2, 128, 70}, 64, lengths));
  test(World<float>({4, 2, 32, 70}, 16, lengths, 7));
}

TEST_CASE("on CUDA a prompt at once, in chunks and token by token gives the same bits") {
  cuda::Context ctx;
  const auto test = [&](const auto& world, const std::vector<int>& steps) {
    const int length = world.lengths[0];
    const auto at_once = in_steps(ctx, world, {length});
    INFO(world.shape.head_dim, " ", world.shape.group());
    CHECK(same_bits(at_once, in_steps(ctx, world, steps)));
  };
  // Over 256 keys the chunks are joined; two and four rows go through the prefill kernel and the split one.
  test(World<bf16>({7, 1, 64}, 64, {330}), {200, 1, 2, 54, 1, 4, 68});
  test(World<bf16>({4, 2, 128}, 64, {290}), {255, 1, 1, 33});
  test(World<bf16>({3, 1, 32}, 48, {600}), {250, 270, 1, 78, 1});
  test(World<bf16>({2, 1, 32}, 16, {70}), std::vector<int>(70, 1));
  test(World<bf16>({2, 1, 64, 71}, 64, {330}), {200, 1, 2, 54, 1, 4, 68});
  test(World<float>({2, 1, 32}, 16, {40}), {7, 1, 32});
}

TEST_CASE("on CUDA several sequences in one step, with room for more, give the bits that each gives alone") {
  cuda::Context ctx;
  const auto test = [&](const auto& world) {
    const std::vector<Piece> pieces{{3, 20, 13}, {2, 100, 29}, {1, 0, 1}, {0, 299, 1}};
    const auto together = world.step(ctx, Mask::causal, pieces, {.rows = 9, .sequences = 3, .longest = 300});
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      CAPTURE(p);
      CHECK(same_bits(together[p], world.step(ctx, Mask::causal, {pieces[p]})[0]));
    }
    // Room for more sequences than rows: each token has a tile of its own.
    const std::vector<Piece> tokens{{3, 32, 1}, {0, 298, 2}};
    const auto split = world.step(ctx, Mask::causal, tokens, {.rows = 2, .sequences = 4});
    CHECK(same_bits(split[0], world.step(ctx, Mask::causal, {tokens[0]})[0]));
    CHECK(same_bits(split[1], world.step(ctx, Mask::causal, {tokens[1]})[0]));
  };
  const std::vector<int> lengths{300, 1, 129, 33};
  test(World<bf16>({6, 2, 32}, 32, lengths));
  test(World<bf16>({2, 1, 64}, 64, lengths));
  test(World<float>({2, 1, 32}, 32, lengths));
}

TEST_CASE("on CUDA the size of a page, and pages used again in front of a window, change no bit") {
  cuda::Context ctx;
  const auto step = [&](int page_tokens, int ring_pages) {
    return World<bf16>({4, 2, 32, 70}, page_tokens, {200}, ring_pages).step(ctx, Mask::causal, {{0, 180, 20}})[0];
  };
  const auto first = step(64, 0);
  CHECK(same_bits(first, step(16, 0)));
  CHECK(same_bits(first, step(208, 0)));
  CHECK(same_bits(first, step(16, 6)));
}

TEST_CASE("on CUDA attention equals the formula where its sizes are those of real prompts") {
  // A window whose first chunk of 256 keys is not the first of all, for one token and for several.
  World<bf16> windowed({4, 2, 64, 128}, 64, {900, 700, 520});
  windowed.check(Mask::causal, {{0, 880, 1}, {1, 599, 17}, {2, 519, 1}});
  windowed.check(Mask::causal, {{0, 899, 1}, {1, 640, 1}, {2, 519, 1}});
  // More than eight chunks; a last one of one key.
  World<bf16>({2, 1, 32}, 64, {2305, 40}).check(Mask::causal, {{0, 2304, 1}, {1, 39, 1}});
  // More sequences than a warp has lanes, with tiles of rows behind the 32nd.
  std::vector<int> lengths(40, 5);
  std::vector<Piece> pieces;
  lengths[35] = lengths[39] = 90;
  for (int s = 0; s < 40; ++s) pieces.push_back(lengths[std::size_t(s)] == 90 ? Piece{s, 0, 90} : Piece{s, 4, 1});
  World<bf16>({1, 1, 32}, 16, lengths).check(Mask::causal, pieces);
}

TEST_CASE("on CUDA attention finds pages whose offsets need 64 bits") {
  for (const int number : {1, 40}) {  // split, prefill
    World<bf16> world({2, 2, 32}, 16, {40});
    world.first_page = 1 << 21;  // pages of 2048 scalars
    world.check(Mask::causal, {{0, 40 - number, number}});
  }
  World<float> plain({2, 2, 32}, 16, {40});
  plain.first_page = 1 << 21;
  plain.check(Mask::causal, {{0, 38, 2}});
}

#if !defined(__CUDACC__)
TEST_CASE("on CUDA a block of keys counts itself in when all of its warps have left their part, not before") {
  const World<bf16> world({2, 1, 64}, 64, {1500});
  std::vector<bf16> first;
  simt::options().order = simt::Order::random;
  for (simt::options().seed = 1; simt::options().seed <= 6; ++simt::options().seed) {
    cuda::Context ctx;  // whose working memory is NaN
    const auto y = world.step(ctx, Mask::causal, {{0, 1499, 1}})[0];
    if (first.empty()) first = y;
    CHECK(!std::isnan(to_float(y[0])));
    CHECK(same_bits(y, first));
  }
  simt::options() = {};
}
#endif

TEST_CASE("on CUDA scores too large for e^x alone still give a softmax") {
  World<bf16> world({2, 1, 64}, 64, {70});
  for (bf16& x : world.qkv_of[0]) x = round_to<bf16>(30 * to_float(x));
  world.check(Mask::causal, {{0, 0, 70}});
}

TEST_CASE("on CUDA a head_dim or a page size that has no pages is refused when pages are sized") {
  cuda::Context ctx;
  CHECK(kv_page_bytes(ctx, {4, 2, 48}, ScalarKind::bf16, 32) == 2 * 2 * 48 * 32 * 2);
  CHECK_THROWS_WITH_AS(kv_page_bytes(ctx, {4, 2, 40}, ScalarKind::bf16, 32),
                       "attention: head_dim must be a multiple of 16 up to 256 on CUDA, found 40", ConfigError);
  CHECK_THROWS_AS(kv_page_bytes(ctx, {4, 2, 272}, ScalarKind::bf16, 32), ConfigError);
  CHECK_THROWS_WITH_AS(kv_page_bytes(ctx, {4, 2, 48}, ScalarKind::f32, 24),
                       "attention: page_tokens must be a multiple of 16, found 24", ConfigError);
}

TEST_CASE("on CUDA attention refuses shapes that do not fit together, in any build") {
  cuda::Context ctx;
  const AttentionShape shape{4, 2, 64};
  Batch batch;
  batch.rows = 3;
  KvView kv;
  kv.page_tokens = 32;
  kv.page_bytes = kv_page_bytes(ctx, shape, ScalarKind::bf16, 32);
  const auto call = [&](Rows<const bf16> queries, Rows<bf16> y) {
    attention(ctx, shape, Mask::causal, nullptr, queries, batch, kv, y);
  };
  const Rows<bf16> y(nullptr, 3, 256);
  CHECK_THROWS_WITH_AS(call({nullptr, 3, 128}, y),
                       "attention on CUDA: expected queries and y of 256 scalars a row, found 128 and 256",
                       RequestError);
  CHECK_THROWS_AS(call(y, {nullptr, 3, 252}), RequestError);
  CHECK_THROWS_WITH_AS(call({nullptr, 2, 256}, y),
                       "attention on CUDA: expected queries and y of at least 3 rows, found 2 and 3", RequestError);
  CHECK_THROWS_AS(call({nullptr, 3, 256, 258}, y), RequestError);
  kv.page_bytes += 1;
  CHECK_THROWS_WITH_AS(call(y, y), "attention on CUDA: expected pages of 16384 bytes, found 16385", RequestError);
}
