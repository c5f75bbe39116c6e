#include "ivl/cuda/attention/kv_write.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "tests/simt/support/device_test.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using ivl_test::float_unit, ivl_test::rounding_unit;

constexpr int page_tokens = 16;

/// Three sequences, one of which brings a single token, in pages that lie in no order.
struct Sequences {
  std::vector<std::int32_t> row_begin{0, 5, 6, 20};
  std::vector<std::int32_t> kv_length{21, 35, 14};
  std::vector<std::int32_t> page_table{6, 2, -1, 0, 7, 3, 5, -1, -1};  // [3, 3]; page 1 and 4 are nobody's
  static constexpr int pages = 8;

  std::vector<std::int32_t> sequence_of, positions;
  Sequences() {
    for (int s = 0; s < 3; ++s) {
      for (int row = row_begin[std::size_t(s)]; row < row_begin[std::size_t(s) + 1]; ++row) {
        sequence_of.push_back(s);
        positions.push_back(kv_length[std::size_t(s)] - row_begin[std::size_t(s) + 1] + row);
      }
    }
  }
  int rows() const { return row_begin.back(); }
  int page_of(int row) const {
    const std::size_t s = std::size_t(sequence_of[std::size_t(row)]);
    const int index = positions[std::size_t(row)] / page_tokens;
    return page_table[3 * s + std::size_t(index)];
  }
};

struct DeviceBatch {
  DeviceArray<std::int32_t> row_begin, kv_length, sequence_of, positions, page_table;
  Batch batch;

  explicit DeviceBatch(const Sequences& s)
      : row_begin(s.row_begin),
        kv_length(s.kv_length),
        sequence_of(s.sequence_of),
        positions(s.positions),
        page_table(s.page_table) {
    batch.rows = s.rows();
    batch.sequences = 3;
    batch.row_begin = row_begin.data();
    batch.kv_length = kv_length.data();
    batch.sequence_of = sequence_of.data();
    batch.positions = positions.data();
    batch.longest = 35;
  }
};

struct Wanted {
  double value, error;  // and what float arithmetic may add to the last rounding
};

/// One qkv matrix with NaN between rows, gains and angles, and what is wanted of each head.
template <class Scalar>
struct Problem {
  Sequences sequences;
  AttentionShape shape;
  int stride;
  std::vector<Scalar> qkv;
  std::vector<float> query_gain, key_gain, angles;
  static constexpr float eps = 1e-6f;
  static constexpr int angles_gap = 4;

  explicit Problem(const AttentionShape& shape) : shape(shape), stride(shape.qkv_width() + 8) {
    std::mt19937 random{unsigned(shape.head_dim)};
    std::normal_distribution<float> normal;
    qkv.assign(std::size_t(sequences.rows() * stride), round_to<Scalar>(std::numeric_limits<float>::quiet_NaN()));
    angles.assign(std::size_t(sequences.rows() * (shape.head_dim + angles_gap)),
                  std::numeric_limits<float>::quiet_NaN());
    for (int row = 0; row < sequences.rows(); ++row) {
      for (int i = 0; i < shape.qkv_width(); ++i)
        qkv[std::size_t(row * stride + i)] = round_to<Scalar>(std::ldexp(normal(random), row % 3 * 4));
      for (int i = 0; i < shape.head_dim / 2; ++i) {
        const float angle = 3 * normal(random);
        angles[std::size_t(row * (shape.head_dim + angles_gap) + i)] = std::cos(angle);
        angles[std::size_t(row * (shape.head_dim + angles_gap) + shape.head_dim / 2 + i)] = std::sin(angle);
      }
    }
    for (int i = 0; i < shape.head_dim; ++i) {
      query_gain.push_back(1 + normal(random));
      key_gain.push_back(1 + normal(random));
    }
  }

  Scalar stored(int row, int head, int i) const { return qkv[std::size_t(row * stride + head * shape.head_dim + i)]; }

  Wanted rotated(int row, int head, int i, const std::vector<float>* gain) const {
    const int d = shape.head_dim, half_dim = d / 2, column = i % half_dim;
    const auto x = [&](int k) { return double(to_float(stored(row, head, k))); };
    double squares = 0;
    for (int k = 0; k < d; ++k) squares += x(k) * x(k);
    const double factor = gain ? 1 / std::sqrt(squares / d + double(eps)) : 1;
    const auto n = [&](int k) { return gain ? x(k) * factor * double((*gain)[std::size_t(k)]) : x(k); };
    const double cosine = double(angles[std::size_t(row * (d + angles_gap) + column)]);
    const double sine = double(angles[std::size_t(row * (d + angles_gap) + half_dim + column)]);
    const double straight = n(i) * cosine, across = i < half_dim ? -n(i + half_dim) * sine : n(i - half_dim) * sine;
    // A square goes through its product, up to 16 sums in a thread and 5 in the warp, which the root halves; then mean,
    // eps (float(1e-6) is not the double), root, quotient, two products; the rotation's product and sum.
    const double roundings = (gain ? (1 + 16 + 5) / 2.0 + 6 : 0) + 2;
    return {straight + across, (std::abs(straight) + std::abs(across)) * roundings * float_unit};
  }
};

template <class Scalar>
bool near(Scalar found, const Wanted& wanted) {
  const double error = std::abs(double(to_float(found)) - wanted.value);
  return error <= wanted.error + rounding_unit<Scalar> * (std::abs(wanted.value) + wanted.error);
}

enum class Op { cache, rotate, norm_and_rotate };

template <class Scalar>
void check(const AttentionShape& shape, Op op, int first_page = 0) {
  cuda::Context ctx;
  Problem<Scalar> p(shape);
  for (std::int32_t& page : p.sequences.page_table) page += page >= 0 ? first_page : 0;
  const int d = shape.head_dim, rows = p.sequences.rows();
  const std::int64_t page_bytes = kv_page_bytes(ctx, shape, kind_of<Scalar>, page_tokens);
  REQUIRE(page_bytes == std::int64_t(sizeof(Scalar)) * 2 * shape.kv_heads * page_tokens * d);
  CAPTURE(d);
  for_each_order([&] {
    DeviceBatch batch(p.sequences);
    DeviceArray<Scalar> qkv(p.qkv), pages(std::size_t(Sequences::pages * page_bytes) / sizeof(Scalar));
    DeviceArray<float> angles(p.angles), query_gain(p.query_gain), key_gain(p.key_gain);
    // The memory begins with page `first_page`.
    const KvView kv{reinterpret_cast<std::byte*>(pages.data()) - first_page * page_bytes, page_bytes, page_tokens,
                    batch.page_table.data(), 3};
    const Rows<Scalar> view(qkv.data(), rows, shape.qkv_width(), p.stride);
    if (op == Op::cache) {
      cache_keys(ctx, shape, Rows<const Scalar>(view), batch.batch, kv);
    } else {
      HeadNorm norm;
      if (op == Op::norm_and_rotate) norm = {query_gain.data(), key_gain.data(), p.eps};
      rotate_and_cache(ctx, shape, norm, Rows<const float>(angles.data(), rows, d, d + p.angles_gap), view, batch.batch,
                       kv);
    }
    const std::vector<Scalar> found_qkv = qkv.download(), found_pages = pages.download();

    int wrong = 0;
    std::vector<bool> written(found_pages.size());
    for (int row = 0; row < rows; ++row) {
      for (int head = 0; head < shape.heads; ++head) {
        for (int i = 0; i < d; ++i) {
          const Scalar found = found_qkv[std::size_t(row * p.stride + head * d + i)];
          if (op == Op::cache) {
            wrong += !(to_float(found) == to_float(p.stored(row, head, i)));
          } else {
            wrong += !near(found, p.rotated(row, head, i, op == Op::norm_and_rotate ? &p.query_gain : nullptr));
          }
        }
      }
      for (int i = shape.qkv_width(); i < p.stride; ++i)
        wrong += !std::isnan(to_float(found_qkv[std::size_t(row * p.stride + i)]));
      const int token = p.sequences.positions[std::size_t(row)] % page_tokens;
      for (int head = 0; head < 2 * shape.kv_heads; ++head) {  // keys, then values
        for (int i = 0; i < d; ++i) {
          const std::size_t at = std::size_t((p.sequences.page_of(row) - first_page) * page_bytes) / sizeof(Scalar) +
                                 std::size_t((head * page_tokens + token) * d + i);
          written[at] = true;
          if (op == Op::cache || head >= shape.kv_heads) {
            wrong += !(to_float(found_pages[at]) == to_float(p.stored(row, shape.heads + head, i)));
          } else {
            wrong += !near(found_pages[at],
                           p.rotated(row, shape.heads + head, i, op == Op::norm_and_rotate ? &p.key_gain : nullptr));
          }
        }
      }
    }
    CHECK(wrong == 0);
    int touched = 0;
    for (std::size_t i = 0; i < written.size(); ++i) touched += !written[i] && !std::isnan(to_float(found_pages[i]));
    CHECK(touched == 0);
  });
}

}  // namespace

TEST_CASE_TEMPLATE(
    "on CUDA cache_keys puts keys and values into the pages of their positions, and changes nothing else", Scalar, bf16,
    float) {
  check<Scalar>({.heads = 2, .kv_heads = 2, .head_dim = 64}, Op::cache);
  check<Scalar>({.heads = 3, .kv_heads = 1, .head_dim = 16}, Op::cache);
}

// Heads of one thread, of some that are no power of two, and of half a warp or more; more heads than a block holds.
TEST_CASE_TEMPLATE("on CUDA rotate_and_cache agrees with the double-precision formula", Scalar, bf16, float) {
  check<Scalar>({.heads = 4, .kv_heads = 1, .head_dim = 16}, Op::norm_and_rotate);
  check<Scalar>({.heads = 5, .kv_heads = 1, .head_dim = 48}, Op::norm_and_rotate);
  check<Scalar>({.heads = 14, .kv_heads = 2, .head_dim = 128}, Op::norm_and_rotate);
  check<Scalar>({.heads = 2, .kv_heads = 1, .head_dim = 256}, Op::norm_and_rotate);
}

TEST_CASE_TEMPLATE("on CUDA rotate_and_cache leaves the norm out where there is no gain", Scalar, bf16, float) {
  check<Scalar>({.heads = 2, .kv_heads = 1, .head_dim = 32}, Op::rotate);
}

TEST_CASE("on CUDA keys and values find pages whose offsets need 64 bits") {
  constexpr int far = 1 << 23;  // pages of 1024 scalars and more
  check<bf16>({.heads = 2, .kv_heads = 2, .head_dim = 64}, Op::cache, far);
  check<bf16>({.heads = 4, .kv_heads = 2, .head_dim = 16}, Op::norm_and_rotate, far);
}

TEST_CASE("on CUDA keys and values are refused in rows that are not theirs, in any build") {
  cuda::Context ctx;
  const AttentionShape shape{4, 2, 64};
  Batch batch;
  batch.rows = 3;
  const KvView kv;
  const Rows<bf16> qkv(nullptr, 3, 512);
  const auto rotate = [&](Rows<const float> angles, Rows<bf16> rows) {
    rotate_and_cache(ctx, shape, HeadNorm{}, angles, rows, batch, kv);
  };
  CHECK_THROWS_WITH_AS(cache_keys(ctx, shape, Rows<const bf16>(nullptr, 3, 256), batch, kv),
                       "cache_keys on CUDA: expected qkv [3, 512] in rows that start at multiples of 16 bytes, found "
                       "[3, 256], 256 from row to row",
                       RequestError);
  CHECK_THROWS_AS(cache_keys(ctx, shape, Rows<const bf16>(nullptr, 2, 512), batch, kv), RequestError);
  CHECK_THROWS_AS(cache_keys(ctx, {4, 2, 40}, Rows<const bf16>(nullptr, 3, 320), batch, kv), RequestError);
  CHECK_THROWS_AS(rotate({nullptr, 3, 64}, Rows<bf16>(nullptr, 3, 512, 516)), RequestError);
  CHECK_THROWS_AS(rotate({nullptr, 3, 32}, qkv), RequestError);
  CHECK_THROWS_AS(rotate({nullptr, 2, 64}, qkv), RequestError);
}
