// One decoder layer of every published checkpoint and one block of both vision towers, at their real widths with random
// bf16 weights, against the formulas worked out in double.
//
// Reduced, to keep the run short: few rows (a sequence in two steps, so that it meets its own keys again, beside a new
// one), tiles of 2 x 2 patches, and, on levels of instructions below the machine's best, no layer above 130 M weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "../support/run_model.hpp"
#include "ivl/config/checkpoints.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

cpu::Context& context() {
  static cpu::Context ctx(2);
  return ctx;
}

// ---- random weights ------------------------------------------------------------------------------------------------

std::uint64_t hash_of(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

constexpr double weight_rms = 0.02;

/// Uniform bf16 numbers of that root mean square, one long row of them: every matrix is a window of its own into it, so
/// that billions of weights need few random numbers. Grows as wider layers come.
std::span<const bf16> random_weights(std::int64_t first, std::int64_t number) {
  static std::vector<bf16> pool;
  const std::int64_t have = std::int64_t(pool.size()), wanted = round_up(first + number, 4);
  if (wanted > have) {
    pool.resize(std::size_t(wanted));
    constexpr std::int64_t task_words = 1 << 16;
    context().pool.run(ceil_div((wanted - have) / 4, task_words), [&](std::int64_t task) {
      const std::int64_t end = std::min(wanted, have + (task + 1) * task_words * 4);
      for (std::int64_t i = have + task * task_words * 4; i < end; i += 4) {
        std::uint64_t bits = hash_of(std::uint64_t(i) + 0x9e3779b97f4a7c15u);
        for (std::int64_t j = i; j < i + 4; ++j, bits >>= 16)
          pool[std::size_t(j)] =
              round_to<bf16>(float(std::int16_t(bits)) * float(weight_rms * std::numbers::sqrt3 / 32768));
      }
    });
  }
  return std::span<const bf16>(pool).subspan(std::size_t(first), std::size_t(number));
}

/// One matrix of a file, [out, in]. `place`: a number of its own within a layer, so that no two are the same window.
struct Matrix {
  int out, in, place;
  std::span<const bf16> weights() const { return random_weights(place * 100003LL, std::int64_t(out) * in); }
};

std::vector<float> random_vector(int width, double middle, double spread, int seed) {
  std::vector<float> values(std::size_t(width), 0);
  for (int i = 0; i < width; ++i) {
    const std::uint64_t bits = hash_of(std::uint64_t(seed) * 0x9e3779b97f4a7c15u + std::uint64_t(i));
    values[std::size_t(i)] = float(middle + spread * (double(bits >> 11) * 0x1p-52 - 1));
  }
  return values;
}

PlacedMatrix place(std::initializer_list<const Matrix*> matrices, Fusion fusion = Fusion::stacked) {
  std::vector<TensorView> views;
  for (const Matrix* matrix : matrices) matrix->weights();  // the longest window first: a growing row moves
  for (const Matrix* matrix : matrices)
    views.push_back({Dtype::bf16, {matrix->out, matrix->in}, std::as_bytes(matrix->weights())});
  return place_matrix(context(), views, fusion);
}
PlacedVector place(const std::vector<float>& values) {
  const TensorView view{Dtype::f32, {std::int64_t(values.size())}, std::as_bytes(std::span(values))};
  return place_vector(context(), std::span(&view, 1));
}

// ---- the reference -------------------------------------------------------------------------------------------------

/// One column of up to eight rows, all in double.
struct Column {
  typedef double Eight __attribute__((vector_size(64)));
  Eight rows{};
};
/// [width] columns of eight rows.
using Reference = std::vector<Column>;

Reference multiply(const Matrix& w, const Reference& x) {
  REQUIRE(std::size_t(w.in) == x.size());
  Reference y(std::size_t(w.out));
  constexpr int together = 4;
  REQUIRE(w.out % together == 0);
  const bf16* all_weights = w.weights().data();
  context().pool.run(w.out / together, [&](std::int64_t task) {
    const bf16* weights = all_weights + task * together * w.in;
    Column sums[together];
    for (int k = 0; k < w.in; ++k) {
      for (int j = 0; j < together; ++j)
        sums[j].rows += double(to_float(weights[std::int64_t(j) * w.in + k])) * x[std::size_t(k)].rows;
    }
    std::copy(sums, sums + together, y.begin() + task * together);
  });
  return y;
}

void add_vector(Reference& x, const std::vector<float>& v) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += double(v[i]);
}

/// gain (x - mean) / sqrt(var + eps) + bias for layer_norm, gain x / sqrt(mean x^2 + eps) without a bias; `x` in place.
void normalise(std::span<Column> x, const std::vector<float>& gain, const std::vector<float>* bias, double eps) {
  for (int r = 0; r < 8; ++r) {
    double mean = 0, square = 0;
    if (bias) {
      for (const Column& c : x) mean += c.rows[r] / double(x.size());
    }
    for (const Column& c : x) square += (c.rows[r] - mean) * (c.rows[r] - mean) / double(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i].rows[r] =
          double(gain[i]) * (x[i].rows[r] - mean) / std::sqrt(square + eps) + (bias ? double((*bias)[i]) : 0.0);
  }
}

/// Where each of the rows stands; rows of other sequences do not see each other.
struct Place {
  int sequence, position;
};

/// q [heads d], k and v [kv_heads d].
Reference attend(const Reference& q, const Reference& k, const Reference& v, int heads, int kv_heads, int d,
                 std::span<const Place> places, bool causal) {
  Reference y(q.size());
  for (int head = 0; head < heads; ++head) {
    const std::size_t query = std::size_t(head) * std::size_t(d),
                      key = std::size_t(head / (heads / kv_heads)) * std::size_t(d);
    for (std::size_t r = 0; r < places.size(); ++r) {
      double weight[8] = {}, total = 0;
      for (std::size_t s = 0; s < places.size(); ++s) {
        if (places[s].sequence != places[r].sequence || (causal && places[s].position > places[r].position)) continue;
        double score = 0;
        for (int i = 0; i < d; ++i) score += q[query + std::size_t(i)].rows[r] * k[key + std::size_t(i)].rows[s];
        total += weight[s] = std::exp(score / std::sqrt(double(d)));
      }
      for (int i = 0; i < d; ++i) {
        for (std::size_t s = 0; s < places.size(); ++s)
          y[query + std::size_t(i)].rows[r] += weight[s] / total * v[key + std::size_t(i)].rows[s];
      }
    }
  }
  return y;
}

// ---- comparing ------------------------------------------------------------------------------------------------------

/// A sum of n products rounds n times, each time by at most u of a partial sum that grows like a random walk: standard
/// deviation u sqrt(n / 6) of the result. Twelve times what the layer's sums make together: six deviations, and a
/// factor of two for SwiGLU, whose factors both err.
double bound_of_sums(std::initializer_list<int> depths) {
  double n = 0;
  for (const int depth : depths) n += depth;
  return 12 * 0x1p-24 * std::sqrt(n / 6);
}
/// Each row that is stored between two ops is rounded by at most u = 2^-8 of a value, 0.42 u in the mean square.
double bound_of_stores(int stores) { return 12 * 0x1p-8 * 0.42 * std::sqrt(double(stores)); }

/// y [rows, width] against the reference; the bound is relative to the root mean square of all of it.
template <class Scalar, int Width>
void check_rows(Rows<Scalar, Width> y, const Reference& expected, double bound) {
  double square = 0, worst = 0;
  for (const Column& c : expected) {
    for (std::int64_t r = 0; r < y.count; ++r) square += c.rows[r] * c.rows[r];
  }
  const double rms = std::sqrt(square / double(y.count * Width));
  std::int64_t outside = 0;
  for (std::int64_t r = 0; r < y.count; ++r) {
    for (int c = 0; c < Width; ++c) {
      const double error = std::abs(double(to_float(y[r][c])) - expected[std::size_t(c)].rows[r]) / rms;
      outside += !(error <= bound);  // a NaN is outside
      worst = std::max(worst, error);
    }
  }
  CAPTURE(kind_of<Scalar> == ScalarKind::bf16);
  CAPTURE(rms);
  CAPTURE(worst);
  CHECK(outside == 0);
}

/// Input rows that bf16 holds exactly, both as rows and as the reference's.
struct Input {
  std::vector<float> values;
  Reference exact;
  Input(int rows, int width)
      : values(random_vector(rows * width, 0, std::numbers::sqrt3, 99)), exact(std::size_t(width)) {
    for (float& value : values) value = to_float(round_to<bf16>(value));
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < width; ++c) exact[std::size_t(c)].rows[r] = double(values[std::size_t(r * width + c)]);
    }
  }
  template <class Scalar>
  std::vector<Scalar> as() const {
    std::vector<Scalar> rounded;
    for (const float value : values) rounded.push_back(round_to<Scalar>(value));
    return rounded;
  }
};

/// Memory that is NaN in every scalar.
struct Poisoned {
  Memory memory;
  Poisoned() = default;
  explicit Poisoned(std::size_t bytes) : memory(allocate(context(), bytes)) { std::memset(memory.data, 0xff, bytes); }
};

template <class Scratch>
Scratch carve(Poisoned& poisoned, std::int64_t rows) {
  Carver measure;
  Scratch::carve(measure, rows);
  poisoned = Poisoned(measure.used());
  Carver place(poisoned.memory.data);
  return Scratch::carve(place, rows);
}

// ---- decoder layers -------------------------------------------------------------------------------------------------

constexpr float eps = 1e-6f;

/// Rows 0 ... 4 are one sequence, rows 5 and 6 another.
constexpr Place decoder_places[] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 0}, {1, 1}};
constexpr int decoder_rows = 7;

template <DecoderConfig C>
struct RandomLayer {
  static constexpr auto shape = DecoderBlock<C>::attention_shape;
  static constexpr int d = C.hidden, head_dim = C.attention.head_dim, mlp = C.mlp_hidden;
  Matrix q{shape.query_width(), d, 1}, k{shape.kv_width(), d, 2}, v{shape.kv_width(), d, 3},
      out{d, shape.query_width(), 4};
  Matrix gate{mlp, d, 5}, up{mlp, d, 6}, down{d, mlp, 7};
  // Gains that undo the growth of sums over many weights, so that values of all stages are about 1.
  double gain = 1 / (weight_rms * std::sqrt(double(d)));
  std::vector<float> norm1 = random_vector(d, gain, 0.3 * gain, 1), norm2 = random_vector(d, gain, 0.3 * gain, 2);
  std::vector<float> bias_q = random_vector(shape.query_width(), 0, 1, 3),
                     bias_k = random_vector(shape.kv_width(), 0, 1, 4),
                     bias_v = random_vector(shape.kv_width(), 0, 1, 5);
  std::vector<float> norm_q = random_vector(head_dim, 1, 0.3, 6), norm_k = random_vector(head_dim, 1, 0.3, 7);

  DecoderBlock<C> block() const {
    DecoderBlock<C> block;
    block.norm1_gain.placed = place(norm1);
    block.qkv.placed = place({&q, &k, &v});
    if constexpr (C.attention.qkv_bias) {
      std::vector<float> all = bias_q;
      all.insert(all.end(), bias_k.begin(), bias_k.end());
      all.insert(all.end(), bias_v.begin(), bias_v.end());
      block.qkv_bias.placed = place(all);
    }
    if constexpr (C.attention.head_norm) {
      block.query_gain.placed = place(norm_q);
      block.key_gain.placed = place(norm_k);
    }
    block.out.placed = place({&out});
    block.norm2_gain.placed = place(norm2);
    block.gate_up.placed = place({&gate, &up}, Fusion::interleaved);
    block.down.placed = place({&down});
    return block;
  }

  /// Norm and rotation of every head.
  static void rotate(Reference& x, const std::vector<float>& gain, double base) {
    for (std::size_t head = 0; head < x.size(); head += head_dim) {
      const std::span<Column> one = std::span(x).subspan(head, head_dim);
      if (C.attention.head_norm) normalise(one, gain, nullptr, double(eps));
      for (int i = 0; i < head_dim / 2; ++i) {
        for (int r = 0; r < decoder_rows; ++r) {
          const double angle = decoder_places[r].position * std::pow(base, -2.0 * i / head_dim);
          double &a = reinterpret_cast<double*>(&one[std::size_t(i)])[r],
                 &b = reinterpret_cast<double*>(&one[std::size_t(i + head_dim / 2)])[r];
          const double rotated = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = rotated;
        }
      }
    }
  }

  Reference reference(Reference x, double base) const {
    Reference h = x;
    normalise(h, norm1, nullptr, double(eps));
    Reference queries = multiply(q, h), keys = multiply(k, h), values = multiply(v, h);
    if (C.attention.qkv_bias) {
      add_vector(queries, bias_q);
      add_vector(keys, bias_k);
      add_vector(values, bias_v);
    }
    rotate(queries, norm_q, base);
    rotate(keys, norm_k, base);
    const Reference update =
        multiply(out, attend(queries, keys, values, shape.heads, shape.kv_heads, head_dim, decoder_places, true));
    for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += update[i].rows;
    h = x;
    normalise(h, norm2, nullptr, double(eps));
    Reference m = multiply(gate, h);
    const Reference u = multiply(up, h);
    for (std::size_t i = 0; i < m.size(); ++i) {
      for (int r = 0; r < decoder_rows; ++r) m[i].rows[r] *= u[i].rows[r] / (1 + std::exp(-m[i].rows[r]));
    }
    const Reference second = multiply(down, m);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += second[i].rows;
    return x;
  }
};

/// Rows 0 ... 2 in one step; then 3 and 4, whose sequence has those three keys, together with 5 and 6.
template <class Scalar, DecoderConfig C>
std::vector<Scalar> run_layer(const DecoderBlock<C>& block, const Input& input, const RopeFacts& rope) {
  cpu::Context& ctx = context();
  constexpr int page_tokens = kv_page_unit;
  const auto page_bytes = kv_page_bytes(ctx, DecoderBlock<C>::attention_shape, kind_of<Scalar>, page_tokens);
  const Poisoned pages(std::size_t(2 * page_bytes));
  const KvView kv{pages.memory.data, page_bytes, page_tokens};
  using Scratch = typename DecoderBlock<C>::template Scratch<Scalar>;
  Poisoned memory;
  const Scratch scratch = carve<Scratch>(memory, decoder_rows);
  std::vector<Scalar> x_data = input.as<Scalar>();
  const Rows<Scalar, C.hidden> x(x_data.data(), decoder_rows);
  std::vector<float> angle_data(std::size_t(decoder_rows * C.attention.head_dim));
  const Rows<float, C.attention.head_dim> angles(angle_data.data(), decoder_rows);
  std::vector<std::int32_t> positions;
  for (const Place& place : decoder_places) positions.push_back(place.position);
  rope_angles(ctx, rope, positions.data(), positions.data(), Rows<float>(angles));

  const std::int32_t page_table[] = {1, 0};  // not in order
  const std::int32_t first_begin[] = {0, 3}, first_length[] = {3}, first_of[] = {0, 0, 0};
  const Batch first{.rows = 3,
                    .sequences = 1,
                    .row_begin = first_begin,
                    .kv_length = first_length,
                    .sequence_of = first_of,
                    .positions = positions.data(),
                    .page_table = page_table,
                    .pages_per_sequence = 1,
                    .longest = 3};
  block.forward(ctx, first, kv, angles.slice(0, 3), eps, scratch, x.slice(0, 3));
  const std::int32_t second_begin[] = {0, 2, 4}, second_length[] = {5, 2}, second_of[] = {0, 0, 1, 1};
  const Batch second{.rows = 4,
                     .sequences = 2,
                     .row_begin = second_begin,
                     .kv_length = second_length,
                     .sequence_of = second_of,
                     .positions = positions.data() + 3,
                     .page_table = page_table,
                     .pages_per_sequence = 1,
                     .longest = 5};
  block.forward(ctx, second, kv, angles.slice(3, 4), eps, scratch, x.slice(3, 4));
  return x_data;
}

/// Whether this build shall run a layer of so many weights.
bool in_reach(std::int64_t weights) {
#if defined(__SANITIZE_ADDRESS__)
  return weights < 60'000'000;
#endif
  return weights < 130'000'000 || compiled_level == offered_level();
}

template <DecoderConfig C>
void check_decoder(const char* name) {
  CAPTURE(name);
  if (!in_reach(3LL * C.hidden * C.mlp_hidden)) return;
  const RandomLayer<C> layer;
  const Input input(decoder_rows, C.hidden);
  const RopeFacts rope{.base = 1e6, .context = 32768};
  const Reference expected = layer.reference(input.exact, rope.base);
  const DecoderBlock<C> block = layer.block();
  const double sums = bound_of_sums(
      {C.hidden, C.hidden, C.attention.head_dim, C.attention.query_width(), C.hidden, C.hidden, C.mlp_hidden});

  auto floats = run_layer<float>(block, input, rope);
  check_rows(Rows<float, C.hidden>(floats.data(), decoder_rows), expected, sums);
  // Stored: norm, qkv, rotated q and k, probabilities, attended, x, norm, SwiGLU, x.
  auto rounded = run_layer<bf16>(block, input, rope);
  check_rows(Rows<bf16, C.hidden>(rounded.data(), decoder_rows), expected, sums + bound_of_stores(9));
}

TEST_CASE("A decoder layer of every checkpoint is its formula at real widths") {
  SUBCASE("Qwen2.5 0.5B") { check_decoder<qwen2_5_0_5b>("0.5B"); }
  SUBCASE("Qwen2.5 1.5B") { check_decoder<qwen2_5_1_5b>("1.5B"); }
  SUBCASE("Qwen2.5 7B") { check_decoder<qwen2_5_7b>("7B"); }
  SUBCASE("Qwen2.5 14B") { check_decoder<qwen2_5_14b>("14B"); }
  SUBCASE("Qwen2.5 32B") { check_decoder<qwen2_5_32b>("32B"); }
  SUBCASE("Qwen2.5 72B") { check_decoder<qwen2_5_72b>("72B"); }
  SUBCASE("Qwen3 0.6B") { check_decoder<qwen3_0_6b>("0.6B"); }
  SUBCASE("Qwen3 1.7B") { check_decoder<qwen3_1_7b>("1.7B"); }
  SUBCASE("Qwen3 4B") { check_decoder<qwen3_4b>("4B"); }
  SUBCASE("Qwen3 8B") { check_decoder<qwen3_8b>("8B"); }
  SUBCASE("Qwen3 14B") { check_decoder<qwen3_14b>("14B"); }
  SUBCASE("Qwen3 32B") { check_decoder<qwen3_32b>("32B"); }
}

// ---- vision blocks --------------------------------------------------------------------------------------------------

/// The tower with tiles of 2 x 2 patches.
constexpr VitConfig with_small_tiles(VitConfig vit) {
  vit.tile_px = 2 * vit.patch_px;
  return vit;
}

template <VitConfig C>
struct RandomBlock {
  static constexpr int d = C.hidden, mlp = C.mlp_hidden;
  static constexpr bool layer_norm = C.norm == NormKind::layer_norm;
  Matrix q{d, d, 1}, k{d, d, 2}, v{d, d, 3}, proj{d, d, 4}, fc1{mlp, d, 5}, fc2{d, mlp, 6};
  double gain = 1 / (weight_rms * std::sqrt(double(d)));
  std::vector<float> norm1 = random_vector(d, gain, 0.3 * gain, 1), norm2 = random_vector(d, gain, 0.3 * gain, 2);
  std::vector<float> norm1_bias = random_vector(d, 0, 0.3 * gain, 3), norm2_bias = random_vector(d, 0, 0.3 * gain, 4);
  std::vector<float> bias_q = random_vector(d, 0, 1, 5), bias_k = random_vector(d, 0, 1, 6),
                     bias_v = random_vector(d, 0, 1, 7);
  std::vector<float> norm_q = random_vector(d, 1, 0.3, 8), norm_k = random_vector(d, 1, 0.3, 9);
  std::vector<float> proj_bias = random_vector(d, 0, 1, 10), fc1_bias = random_vector(mlp, 0, 1, 11),
                     fc2_bias = random_vector(d, 0, 1, 12);
  std::vector<float> scale1 = random_vector(d, 0, 1, 13), scale2 = random_vector(d, 0, 1, 14);

  VitBlock<C> block() const {
    VitBlock<C> block;
    block.norm1_gain.placed = place(norm1);
    block.norm2_gain.placed = place(norm2);
    if constexpr (layer_norm) {
      block.norm1_bias.placed = place(norm1_bias);
      block.norm2_bias.placed = place(norm2_bias);
    }
    block.qkv.placed = place({&q, &k, &v});
    if constexpr (C.qkv_bias) {
      std::vector<float> all = bias_q;
      all.insert(all.end(), bias_k.begin(), bias_k.end());
      all.insert(all.end(), bias_v.begin(), bias_v.end());
      block.qkv_bias.placed = place(all);
    }
    if constexpr (C.qk_norm) {
      block.query_gain.placed = place(norm_q);
      block.key_gain.placed = place(norm_k);
    }
    block.proj.placed = place({&proj});
    block.proj_bias.placed = place(proj_bias);
    block.layer_scale1.placed = place(scale1);
    block.fc1.placed = place({&fc1});
    block.fc1_bias.placed = place(fc1_bias);
    block.fc2.placed = place({&fc2});
    block.fc2_bias.placed = place(fc2_bias);
    block.layer_scale2.placed = place(scale2);
    return block;
  }

  static void add_scaled(Reference& x, Reference update, const std::vector<float>& bias,
                         const std::vector<float>& scale) {
    add_vector(update, bias);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += double(scale[i]) * update[i].rows;
  }

  Reference reference(Reference x, std::span<const Place> places) const {
    Reference h = x;
    normalise(h, norm1, layer_norm ? &norm1_bias : nullptr, double(eps));
    Reference queries = multiply(q, h), keys = multiply(k, h), values = multiply(v, h);
    if (C.qkv_bias) {
      add_vector(queries, bias_q);
      add_vector(keys, bias_k);
      add_vector(values, bias_v);
    }
    if (C.qk_norm) {
      normalise(queries, norm_q, nullptr, double(eps));
      normalise(keys, norm_k, nullptr, double(eps));
    }
    add_scaled(x, multiply(proj, attend(queries, keys, values, C.heads, C.heads, C.head_dim(), places, false)),
               proj_bias, scale1);
    h = x;
    normalise(h, norm2, layer_norm ? &norm2_bias : nullptr, double(eps));
    Reference m = multiply(fc1, h);
    add_vector(m, fc1_bias);
    for (Column& c : m) {
      for (int r = 0; r < 8; ++r) c.rows[r] *= 0.5 * std::erfc(-c.rows[r] / std::numbers::sqrt2);
    }
    add_scaled(x, multiply(fc2, m), fc2_bias, scale2);
    return x;
  }
};

template <class Scalar, VitConfig C>
std::vector<Scalar> run_block(const VitBlock<C>& block, const Input& input) {
  cpu::Context& ctx = context();
  const WholeSequences whole(1, C.tokens());
  constexpr int page_tokens = kv_page_unit;
  const auto page_bytes = kv_page_bytes(ctx, VitBlock<C>::attention_shape, kind_of<Scalar>, page_tokens);
  const Poisoned pages{std::size_t(page_bytes)};
  using Scratch = typename VitBlock<C>::template Scratch<Scalar>;
  Poisoned memory;
  const Scratch scratch = carve<Scratch>(memory, C.tokens());
  std::vector<Scalar> x_data = input.as<Scalar>();
  block.forward(ctx, whole.batch, {pages.memory.data, page_bytes, page_tokens}, eps, scratch,
                Rows<Scalar, C.hidden>(x_data.data(), C.tokens()));
  return x_data;
}

template <VitConfig C>
void check_vision() {
  static_assert(C.tokens() == 5);
  const RandomBlock<C> random;
  const Input input(C.tokens(), C.hidden);
  const Place places[] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}};
  const Reference expected = random.reference(input.exact, places);
  const VitBlock<C> block = random.block();
  const double sums =
      bound_of_sums({C.hidden, C.hidden, C.hidden, C.head_dim(), C.hidden, C.hidden, C.hidden, C.mlp_hidden});
  auto floats = run_block<float>(block, input);
  check_rows(Rows<float, C.hidden>(floats.data(), C.tokens()), expected, sums);
  // Stored: norm, qkv, normed q and k, probabilities, attended, x, norm, GELU, x.
  auto rounded = run_block<bf16>(block, input);
  check_rows(Rows<bf16, C.hidden>(rounded.data(), C.tokens()), expected, sums + bound_of_stores(9));
}

TEST_CASE("A vision block of both towers is its formula at real widths") {
  SUBCASE("InternViT-300M") { check_vision<with_small_tiles(intern_vit_300m)>(); }
  SUBCASE("InternViT-6B") {
    if (in_reach(4LL * 3200 * 3200 + 2LL * 3200 * 12800)) check_vision<with_small_tiles(intern_vit_6b)>();
  }
}

}  // namespace
