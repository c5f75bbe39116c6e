// One decoder layer of every published checkpoint and one block of both vision towers, at their real widths with random
// bf16 weights, against the formulas worked out in double.
//
// Reduced, to keep the run short: few rows (a sequence in two steps, so that it meets its own keys again, beside a new
// one), tiles of 2 x 2 patches, and, on levels of instructions below the machine's best, no layer above 130 M weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "ivl/config/checkpoints.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/language/decoder_block.hpp"
#include "ivl/model/whole_sequences.hpp"
#include "ivl/vision/vit_block.hpp"

namespace {

using namespace ivl;

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
  std::vector<SourceMatrix> parts;
  for (const Matrix* matrix : matrices) matrix->weights();  // the longest window first: a growing row moves
  for (const Matrix* matrix : matrices)
    parts.push_back(source_matrix(Format::bf16, matrix->out, matrix->in, {std::as_bytes(matrix->weights())}));
  return place_matrix(context(), parts, fusion);
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

/// A matrix of random MXFP4: two codes a byte, the first in the low half; a power of two for each 32 of them.
struct PackedMatrix {
  int out, in;
  std::vector<std::byte> blocks, scales;

  PackedMatrix(int out, int in, int place)
      : out(out), in(in), blocks(std::size_t(out) * std::size_t(in) / 2), scales(blocks.size() / 16) {
    for (std::size_t i = 0; i < blocks.size(); i += 8) {
      const std::uint64_t bits = hash_of((std::uint64_t(place) << 40) + i + 0x9e3779b97f4a7c15u);
      std::memcpy(&blocks[i], &bits, 8);
    }
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = std::byte(119 + (i * 2654435761u >> 16) % 3);
  }
  double weight(std::int64_t row, int k) const {
    constexpr double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    const std::size_t at = std::size_t(row * in + k);
    const int code = int(blocks[at / 2]) >> (k % 2 == 0 ? 0 : 4) & 15;
    return (code < 8 ? 1 : -1) * magnitudes[code % 8] * std::exp2(int(scales[at / 32]) - 127);
  }
};

Reference multiply(const PackedMatrix& w, const Reference& x) {
  Reference y(std::size_t(w.out));
  context().pool.run(w.out, [&](std::int64_t row) {
    for (int k = 0; k < w.in; ++k) y[std::size_t(row)].rows += w.weight(row, k) * x[std::size_t(k)].rows;
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

/// q [heads d], k and v [kv_heads d]. `window`: keys that a row sees, 0 for all; `sinks`: a score of each head, or
/// none.
Reference attend(const Reference& q, const Reference& k, const Reference& v, int heads, int kv_heads, int d,
                 std::span<const Place> places, bool causal, int window = 0, std::span<const float> sinks = {}) {
  Reference y(q.size());
  for (int head = 0; head < heads; ++head) {
    const std::size_t query = std::size_t(head) * std::size_t(d),
                      key = std::size_t(head / (heads / kv_heads)) * std::size_t(d);
    for (std::size_t r = 0; r < places.size(); ++r) {
      double weight[8] = {}, total = sinks.empty() ? 0 : std::exp(double(sinks[std::size_t(head)]));
      for (std::size_t s = 0; s < places.size(); ++s) {
        if (places[s].sequence != places[r].sequence || (causal && places[s].position > places[r].position)) continue;
        if (window > 0 && places[s].position <= places[r].position - window) continue;
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

/// The feed-forward of a dense layer.
template <DecoderConfig C>
struct RandomDense {
  Matrix gate{C.mlp_hidden, C.hidden, 5}, up{C.mlp_hidden, C.hidden, 6}, down{C.hidden, C.mlp_hidden, 7};

  void place_into(typename DecoderBlock<C>::Mlp& mlp) const {
    mlp.gate_up.placed = place({&gate, &up}, Fusion::interleaved);
    mlp.down.placed = place({&down});
  }
  Reference operator()(const Reference& h) const {
    Reference m = multiply(gate, h);
    const Reference u = multiply(up, h);
    for (std::size_t i = 0; i < m.size(); ++i) {
      for (int r = 0; r < decoder_rows; ++r) m[i].rows[r] *= u[i].rows[r] / (1 + std::exp(-m[i].rows[r]));
    }
    return multiply(down, m);
  }
};

/// How a file holds experts: a matrix each, or gate and up in turns, in bf16 [in, out] or as MXFP4.
enum class Layout { separate, fused, mxfp4 };

/// The feed-forward of a layer with a mixture. Its router has pairs of experts with opposite rows, as many as a row's
/// active ones, and zeros for all others: each row goes to one of each pair. Memory of the others is never touched.
template <DecoderConfig C>
struct RandomMixture {
  static constexpr MoeConfig moe = C.moe;
  static constexpr int d = C.hidden, mlp = moe.mlp_hidden, pairs = moe.active;
  static constexpr double margin = 0.2;  ///< no logit is nearer to 0, before biases of a quarter of this at most

  Layout layout;
  std::vector<bf16> router = std::vector<bf16>(std::size_t(moe.experts) * d);
  std::vector<float> router_bias = random_vector(moe.experts, 0, margin / 4, 20);
  // So large that some gates and ups meet the limit of GPT-OSS.
  std::vector<float> gate_up_bias = random_vector(moe.experts * 2 * mlp, 0, 9, 21),
                     down_bias = random_vector(moe.experts * d, 0, 1, 22);

  explicit RandomMixture(Layout layout) : layout(layout) {}

  static int expert(int pair, int side) { return (2 * pair + side + 1) * (moe.experts / (2 * pairs)) - 1; }
  Matrix gate(int e) const { return {mlp, d, 10 + 3 * e}; }
  Matrix up(int e) const { return {mlp, d, 11 + 3 * e}; }
  Matrix gate_up(int e) const { return {2 * mlp, d, 10 + 3 * e}; }  ///< rows 2j and 2j + 1 of GPT-OSS
  Matrix down(int e) const { return {d, mlp, 12 + 3 * e}; }
  PackedMatrix packed_gate_up(int e) const { return {2 * mlp, d, 2 * e}; }
  PackedMatrix packed_down(int e) const { return {d, mlp, 2 * e + 1}; }

  /// Looks for rows of the router under which no row of h is near a tie, and gives the weights [pair][side][row].
  std::vector<std::array<std::array<double, 8>, 2>> make_router(const Reference& h) {
    std::vector<std::array<std::array<double, 8>, 2>> weights(pairs);
    double total[8] = {};
    int place = 1000;
    for (int pair = 0; pair < pairs;) {
      const Matrix candidate{1, d, place++};
      const std::span<const bf16> row = candidate.weights();
      double logits[8] = {};
      for (int k = 0; k < d; ++k) {
        for (int r = 0; r < decoder_rows; ++r)
          logits[r] += double(to_float(row[std::size_t(k)])) * h[std::size_t(k)].rows[r];
      }
      if (std::any_of(logits, logits + decoder_rows, [](double logit) { return !(std::abs(logit) > margin); }))
        continue;
      for (int side = 0; side < 2; ++side) {
        const int e = expert(pair, side);
        const double sign = side == 0 ? 1 : -1, bias = moe.bias ? double(router_bias[std::size_t(e)]) : 0;
        for (int k = 0; k < d; ++k)
          router[std::size_t(e) * d + std::size_t(k)] = round_to<bf16>(float(sign) * to_float(row[std::size_t(k)]));
        for (int r = 0; r < decoder_rows; ++r) {
          if (sign * logits[r] > 0)
            total[r] += weights[std::size_t(pair)][std::size_t(side)][std::size_t(r)] =
                std::exp(sign * logits[r] + bias);
        }
      }
      ++pair;
    }
    for (auto& pair : weights) {
      for (auto& side : pair) {
        for (int r = 0; r < decoder_rows; ++r) side[std::size_t(r)] /= total[r];
      }
    }
    return weights;
  }

  double activate(double gate, double up) const {
    if (moe.activation == ExpertActivation::swi_glu) return gate / (1 + std::exp(-gate)) * up;
    gate = std::min(gate, 7.0);
    return gate / (1 + std::exp(-1.702 * gate)) * (std::clamp(up, -7.0, 7.0) + 1);
  }

  Reference operator()(const Reference& h) {
    const auto weights = make_router(h);
    Reference y(std::size_t{d});
    for (int pair = 0; pair < pairs; ++pair) {
      for (int side = 0; side < 2; ++side) {
        const int e = expert(pair, side);
        Reference gates(std::size_t{mlp}), ups(std::size_t{mlp});
        if (layout == Layout::separate) {
          gates = multiply(gate(e), h);
          ups = multiply(up(e), h);
        } else {
          Reference both = layout == Layout::mxfp4 ? multiply(packed_gate_up(e), h) : multiply(gate_up(e), h);
          for (int i = 0; i < 2 * mlp; ++i) {
            both[std::size_t(i)].rows += double(gate_up_bias[std::size_t(e) * 2 * mlp + std::size_t(i)]);
            (i % 2 == 0 ? gates : ups)[std::size_t(i / 2)] = both[std::size_t(i)];
          }
        }
        for (int i = 0; i < mlp; ++i) {
          for (int r = 0; r < decoder_rows; ++r)
            gates[std::size_t(i)].rows[r] = activate(gates[std::size_t(i)].rows[r], ups[std::size_t(i)].rows[r]);
        }
        const Reference outputs = layout == Layout::mxfp4 ? multiply(packed_down(e), gates) : multiply(down(e), gates);
        for (int i = 0; i < d; ++i) {
          const double bias = moe.bias ? double(down_bias[std::size_t(e) * d + std::size_t(i)]) : 0;
          for (int r = 0; r < decoder_rows; ++r) {
            y[std::size_t(i)].rows[r] += weights[std::size_t(pair)][std::size_t(side)][std::size_t(r)] *
                                         (outputs[std::size_t(i)].rows[r] + bias);
          }
        }
      }
    }
    return y;
  }

  /// As GPT-OSS stores a matrix in bf16: [in, out].
  static std::vector<bf16> transposed(const Matrix& w) {
    std::vector<bf16> columns(std::size_t(w.out) * std::size_t(w.in));
    const std::span<const bf16> rows = w.weights();
    for (std::int64_t row = 0; row < w.out; ++row) {
      for (std::int64_t k = 0; k < w.in; ++k) columns[std::size_t(k * w.out + row)] = rows[std::size_t(row * w.in + k)];
    }
    return columns;
  }

  /// `parts_of(expert, place)` calls place with the tensors of one expert.
  template <class PartsOf>
  static PlacedExperts place_chosen(Fusion fusion, const PartsOf& parts_of) {
    PlacedExperts all;
    for (int i = 0; i < 2 * pairs; ++i) {
      const int e = expert(i / 2, i % 2);
      parts_of(e, [&](const std::vector<SourceMatrix>& parts) {
        const PlacedExperts one = place_experts(context(), 1, fusion, parts);
        const std::int64_t bytes = one.all.strips[0].bytes, behind = std::int64_t(one.all.memory().bytes) - bytes;
        Strip& strip = all.all.strips[0];
        if (all.experts == 0) {
          all = {moe.experts, one.all};
          strip.memory = allocate(context(), std::size_t(bytes * moe.experts + behind));
        }
        std::memcpy(strip.memory.data + e * bytes, one.expert(0), std::size_t(bytes));
      });
    }
    return all;
  }
  static SourceMatrix source(const Matrix& w) {
    return source_matrix(Format::bf16, w.out, w.in, {std::as_bytes(w.weights())});
  }

  void place_into(typename DecoderBlock<C>::Mlp& to) const {
    const SourceMatrix router_source = source_matrix(Format::bf16, moe.experts, d, {std::as_bytes(std::span(router))});
    to.router.placed = place_matrix(context(), std::span(&router_source, 1), Fusion::stacked);
    if constexpr (moe.bias) {
      to.router_bias.placed = place(router_bias);
      to.gate_up_bias.placed = place(gate_up_bias);
      to.down_bias.placed = place(down_bias);
    }
    const auto parts_of = [this](Fusion fusion, auto plain, auto packed) {
      return [this, fusion, plain, packed](int e, const auto& place) {
        const auto place_turns = [&](const SourceMatrix& both) {
          if (fusion == Fusion::stacked) return place({both});
          place({both.every_other(0), both.every_other(1)});
        };
        if (layout == Layout::mxfp4) {
          const PackedMatrix w = (this->*packed)(e);
          place_turns(source_matrix(Format::mxfp4, w.out, w.in, {w.blocks, w.scales}));
        } else {
          const Matrix w = (this->*plain)(e);
          const std::vector<bf16> columns = transposed(w);
          place_turns(
              source_matrix(Format::bf16, w.out, w.in, {std::as_bytes(std::span(columns))}, SourceOrder::transposed));
        }
      };
    };
    if (layout == Layout::separate) {
      to.gate_up.placed = place_chosen(Fusion::interleaved, [this](int e, const auto& place) {
        up(e).weights();  // the longest window first: a growing row moves
        place({source(gate(e)), source(up(e))});
      });
      to.down.placed = place_chosen(Fusion::stacked, [this](int e, const auto& place) { place({source(down(e))}); });
    } else {
      to.gate_up.placed = place_chosen(
          Fusion::interleaved, parts_of(Fusion::interleaved, &RandomMixture::gate_up, &RandomMixture::packed_gate_up));
      to.down.placed =
          place_chosen(Fusion::stacked, parts_of(Fusion::stacked, &RandomMixture::down, &RandomMixture::packed_down));
    }
  }
};

template <DecoderConfig C>
struct RandomLayer {
  static constexpr auto shape = DecoderBlock<C>::attention_shape;
  static constexpr int d = C.hidden, head_dim = C.attention.head_dim;
  Matrix q{shape.query_width(), d, 1}, k{shape.kv_width(), d, 2}, v{shape.kv_width(), d, 3},
      out{d, shape.query_width(), 4};
  // Gains that undo the growth of sums over many weights, so that values of all stages are about 1.
  double gain = 1 / (weight_rms * std::sqrt(double(d)));
  std::vector<float> norm1 = random_vector(d, gain, 0.3 * gain, 1), norm2 = random_vector(d, gain, 0.3 * gain, 2);
  std::vector<float> bias_q = random_vector(shape.query_width(), 0, 1, 3),
                     bias_k = random_vector(shape.kv_width(), 0, 1, 4),
                     bias_v = random_vector(shape.kv_width(), 0, 1, 5), bias_out = random_vector(d, 0, 1, 8);
  std::vector<float> norm_q = random_vector(head_dim, 1, 0.3, 6), norm_k = random_vector(head_dim, 1, 0.3, 7);
  std::vector<float> sinks = random_vector(C.attention.sinks ? C.attention.heads : 0, 1, 2, 9);

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
    if constexpr (C.attention.sinks) block.sinks.placed = place(sinks);
    block.out.placed = place({&out});
    if constexpr (C.attention.out_bias) block.out_bias.placed = place(bias_out);
    block.norm2_gain.placed = place(norm2);
    return block;
  }

  /// Of angle i, and what cosines and sines are multiplied by (transformers' `_compute_yarn_parameters`).
  static double frequency(const RopeFacts& rope, int i) {
    const double plain = std::pow(rope.base, -2.0 * i / head_dim);
    if (rope.kind != RopeKind::yarn) return plain;
    const auto dimension_of = [&](double turns) {
      return head_dim * std::log(rope.context / (turns * 2 * std::numbers::pi)) / (2 * std::log(rope.base));
    };
    const double low = dimension_of(rope.beta_fast), high = dimension_of(rope.beta_slow);
    const double slow = std::clamp((i - low) / (high - low), 0.0, 1.0);
    return plain * (1 - slow + slow / rope.factor);
  }

  /// Norm and rotation of every head.
  static void rotate(Reference& x, const std::vector<float>& gain, const RopeFacts& rope) {
    for (std::size_t head = 0; head < x.size(); head += head_dim) {
      const std::span<Column> one = std::span(x).subspan(head, head_dim);
      if (C.attention.head_norm) normalise(one, gain, nullptr, double(eps));
      for (int i = 0; i < head_dim / 2; ++i) {
        for (int r = 0; r < decoder_rows; ++r) {
          const double angle = decoder_places[r].position * frequency(rope, i);
          double &a = reinterpret_cast<double*>(&one[std::size_t(i)])[r],
                 &b = reinterpret_cast<double*>(&one[std::size_t(i + head_dim / 2)])[r];
          const double rotated = a * std::cos(angle) - b * std::sin(angle);
          b = rope.attention_factor * (b * std::cos(angle) + a * std::sin(angle));
          a = rope.attention_factor * rotated;
        }
      }
    }
  }

  /// `mlp`: what the feed-forward makes of its input.
  template <class Mlp>
  Reference reference(Reference x, const RopeFacts& rope, int window, Mlp& mlp) const {
    Reference h = x;
    normalise(h, norm1, nullptr, double(eps));
    Reference queries = multiply(q, h), keys = multiply(k, h), values = multiply(v, h);
    if (C.attention.qkv_bias) {
      add_vector(queries, bias_q);
      add_vector(keys, bias_k);
      add_vector(values, bias_v);
    }
    rotate(queries, norm_q, rope);
    rotate(keys, norm_k, rope);
    Reference update = multiply(
        out, attend(queries, keys, values, shape.heads, shape.kv_heads, head_dim, decoder_places, true, window, sinks));
    if (C.attention.out_bias) add_vector(update, bias_out);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += update[i].rows;
    h = x;
    normalise(h, norm2, nullptr, double(eps));
    const Reference second = mlp(h);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].rows += second[i].rows;
    return x;
  }
};

/// Rows 0 ... 2 in one step; then 3 and 4, whose sequence has those three keys, together with 5 and 6.
template <class Scalar, DecoderConfig C>
std::vector<Scalar> run_layer(const DecoderBlock<C>& block, const Input& input, const RopeFacts& rope, int window) {
  cpu::Context& ctx = context();
  constexpr int page_tokens = kv_page_unit;
  const auto page_bytes = kv_page_bytes(ctx, DecoderBlock<C>::attention_shape, kind_of<Scalar>, page_tokens);
  const Poisoned pages(std::size_t(2 * page_bytes));
  const std::int32_t page_table[] = {1, 0};  // not in order
  const KvView kv{pages.memory.data, page_bytes, page_tokens, page_table, 1};
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

  const std::int32_t first_begin[] = {0, 3}, first_length[] = {3}, first_of[] = {0, 0, 0};
  const Batch first{.rows = 3,
                    .sequences = 1,
                    .row_begin = first_begin,
                    .kv_length = first_length,
                    .sequence_of = first_of,
                    .positions = positions.data(),
                    .longest = 3};
  block.forward(ctx, first, kv, window, angles.slice(0, 3), eps, scratch, x.slice(0, 3));
  const std::int32_t second_begin[] = {0, 2, 4}, second_length[] = {5, 2}, second_of[] = {0, 0, 1, 1};
  const Batch second{.rows = 4,
                     .sequences = 2,
                     .row_begin = second_begin,
                     .kv_length = second_length,
                     .sequence_of = second_of,
                     .positions = positions.data() + 3,
                     .longest = 5};
  block.forward(ctx, second, kv, window, angles.slice(3, 4), eps, scratch, x.slice(3, 4));
  return x_data;
}

/// Whether this build shall run a layer of so many weights.
bool in_reach(std::int64_t weights) {
#if defined(__SANITIZE_ADDRESS__)
  return weights < 60'000'000;
#endif
  return weights < 130'000'000 || compiled_level == offered_level();
}

/// `feed_forward`: where its weights come from; they lie `deep` after one another.
template <DecoderConfig C, class FeedForward>
void check_layer(FeedForward feed_forward, const RopeFacts& rope, int window, std::initializer_list<int> deep,
                 int stores) {
  const RandomLayer<C> layer;
  const Input input(decoder_rows, C.hidden);
  const Reference expected = layer.reference(input.exact, rope, window, feed_forward);
  DecoderBlock<C> block = layer.block();
  feed_forward.place_into(block.mlp);
  const double sums = bound_of_sums(deep);
  auto floats = run_layer<float>(block, input, rope, window);
  check_rows(Rows<float, C.hidden>(floats.data(), decoder_rows), expected, sums);
  auto rounded = run_layer<bf16>(block, input, rope, window);
  check_rows(Rows<bf16, C.hidden>(rounded.data(), decoder_rows), expected, sums + bound_of_stores(stores));
}

constexpr RopeFacts plain_rope{.base = 1e6, .context = 32768};

template <DecoderConfig C>
void check_decoder(const char* name) {
  CAPTURE(name);
  if (!in_reach(3LL * C.hidden * C.mlp_hidden)) return;
  // Stored: norm, qkv, rotated q and k, probabilities, attended, x, norm, SwiGLU, x.
  check_layer<C>(
      RandomDense<C>(), plain_rope, 0,
      {C.hidden, C.hidden, C.attention.head_dim, C.attention.query_width(), C.hidden, C.hidden, C.mlp_hidden}, 9);
}

template <DecoderConfig C>
void check_mixture(const char* name, Layout layout, const RopeFacts& rope, int window) {
  CAPTURE(name);
  if (!in_reach(6LL * C.moe.active * C.hidden * C.moe.mlp_hidden)) return;
  // The weights of experts err as the router's logits do, which are sums over a stored norm.
  check_layer<C>(RandomMixture<C>(layout), rope, window,
                 {C.hidden, C.hidden, C.attention.head_dim, C.attention.query_width(), C.hidden, C.hidden, C.hidden,
                  C.moe.mlp_hidden},
                 10);
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
  SUBCASE("InternLM3 8B") { check_decoder<internlm3_8b>("8B"); }
  SUBCASE("Qwen3 30B-A3B") { check_mixture<qwen3_30b_a3b>("30B", Layout::separate, plain_rope, 0); }
  SUBCASE("Qwen3 235B-A22B") { check_mixture<qwen3_235b_a22b>("235B", Layout::separate, plain_rope, 0); }
  // A window of 3, since five tokens fill no larger one.
  constexpr RopeFacts yarn{.kind = RopeKind::yarn,
                           .base = 150000,
                           .factor = 32,
                           .context = 4096,
                           .truncate = false,
                           .attention_factor = 1.3465735902799727};
  SUBCASE("GPT-OSS 20B, bf16") { check_mixture<gpt_oss_20b>("20B", Layout::fused, yarn, 3); }
  SUBCASE("GPT-OSS 20B, MXFP4") { check_mixture<gpt_oss_20b>("20B", Layout::mxfp4, yarn, 0); }
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
  const auto whole =
      WholeSequences::full(ctx, VitBlock<C>::attention_shape, kind_of<Scalar>, 1, C.tokens(), C.tokens());
  const Poisoned pages{std::size_t(whole.kv().page_bytes)};
  using Scratch = typename VitBlock<C>::template Scratch<Scalar>;
  Poisoned memory;
  const Scratch scratch = carve<Scratch>(memory, C.tokens());
  std::vector<Scalar> x_data = input.as<Scalar>();
  block.forward(ctx, whole.steps().front().batch, whole.kv(pages.memory.data), eps, scratch,
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
