// Ranks as threads: what they make of a model together, beside what one context makes of it alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ivl/config/published.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/parallel/ranked.hpp"
#include "ivl/parallel/shard.hpp"
#include "ivl/parallel/threads.hpp"
#include "ivl/testing/random_tensors.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

using RankContext = Ranked<cpu::Context, ThreadRank>;
static_assert(Communicator<ThreadRank, cpu::Context> && HasRanks<RankContext> && !HasRanks<cpu::Context>);
static_assert(MoeOps<RankContext, bf16> && LinearOp<RankContext, bf16, float> && AttentionOps<RankContext, bf16>);

/// Calls body(ctx) on a thread for each rank.
template <class Body>
void on_ranks(int ranks, const Body& body) {
  ThreadGroup group(ranks);
  group.run([&](ThreadRank rank) {
    RankContext ctx(rank, 1);
    body(ctx);
  });
}

/// doctest counts on one thread; ranks fill one of these each.
template <class Value>
using OfRank = std::vector<Value>;

// ---- structures --------------------------------------------------------------------------------------------------
/// A tower and a dense decoder of which two ranks can share all.
inline constexpr VlmConfig small{
    .vit = {.layers = 2, .hidden = 64, .heads = 4, .mlp_hidden = 96, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 3,
                .hidden = 64,
                .attention = {.heads = 4, .kv_heads = 2, .head_dim = 32, .head_norm = true},
                .mlp_hidden = 96}};
static_assert(shard(small, 2).vit.ranks == 2 && shard(small, 2).decoder.ranks == 2);
static_assert(shard(small, 2).whole() == small && shard(small, 1) == small);
static_assert(checked<shard(small, 2)>());
static_assert(shard(gpt_oss_tiny, 2).vit.ranks == 1);  // a tower with one head

template <VlmConfig... Cs>
constexpr bool two_can_share(CheckpointList<Cs...>) {
  return (checked<shard(Cs, 2)>() && ...);
}
static_assert(two_can_share(AllCheckpoints{}));

TEST_CASE("What ranks cannot share is refused with a sentence") {
  CHECK(broken_rule(shard(small, 2)) == "");
  CHECK(broken_rule(shard(qwen3_tiny, 2)).starts_with("DecoderConfig: heads and kv_heads must be multiples of ranks"));
  CHECK(broken_rule(shard(vit6b_qwen3, 2)).starts_with("DecoderConfig: mlp_hidden must be a multiple of 16 on each"));
  CHECK(broken_rule(shard(gpt_oss_tiny, 0)).starts_with("DecoderConfig: ranks must be positive"));
  VlmConfig five = qwen3_moe_tiny;
  five.decoder.moe.experts = 5;
  CHECK(broken_rule(shard(five, 2)).starts_with("DecoderConfig: experts must be a multiple of ranks"));
  VlmConfig forced = small;
  forced.vit.ranks = 3;
  CHECK(broken_rule(forced).starts_with("VitConfig: heads must be a multiple of ranks"));
  forced.vit.ranks = 2;
  CHECK(broken_rule(forced).starts_with("VlmConfig: the ranks of the tower must be those of the decoder, or 1"));
  forced.vit.qk_norm = true;
  CHECK(broken_rule(forced).starts_with("VitConfig: a tower with qk_norm cannot be shared"));
  CHECK(shard(forced, 2).vit.ranks == 1);
}

// ---- ranks as threads --------------------------------------------------------------------------------------------
TEST_CASE("A rank that fails or ends ends the others, and its error is the one that is seen") {
  const auto error_of = [](const auto& body) { return what_of<Error>([&] { on_ranks(3, body); }); };
  CHECK(error_of([](RankContext& ctx) {
          float one = 1;
          ctx.all_reduce_sum(&one, 1);
          if (ctx.rank() == 1) fail<Error>("rank 1 is tired");
          ctx.all_reduce_sum(&one, 1);
        }) == "rank 1 is tired");
  CHECK(error_of([](RankContext& ctx) {
          float one = 1;
          if (ctx.rank() != 2) ctx.all_reduce_sum(&one, 1);
        }) == "ranks: one has ended, and others wait for it");
  CHECK(contains(error_of([](RankContext& ctx) {
                   std::vector<float> some(4, 1.0f);
                   ctx.all_reduce_sum(some.data(), ctx.rank() == 0 ? 3 : 4);
                 }),
                 "ranks: expected all to bring"));
}

TEST_CASE("Sums are those of the ranks in order, with the same bits on all, again and again") {
  constexpr int ranks = 3, number = 1001;
  std::vector<float> want(number);
  std::vector<std::vector<float>> own;
  for (int rank = 0; rank < ranks; ++rank) own.push_back(random_values(number, 0, 1, std::uint32_t(rank + 1)));
  for (int i = 0; i < number; ++i)
    want[std::size_t(i)] = own[0][std::size_t(i)] + own[1][std::size_t(i)] + own[2][std::size_t(i)];
  OfRank<bool> equal(ranks, true);
  on_ranks(ranks, [&](RankContext& ctx) {
    for (int time = 0; time < 20; ++time) {
      std::vector<float> sums = own[std::size_t(ctx.rank())];
      ctx.all_reduce_sum(sums.data(), number);
      if (sums != want) equal[std::size_t(ctx.rank())] = false;
    }
  });
  for (int rank = 0; rank < ranks; ++rank) CHECK(equal[std::size_t(rank)]);
}

// ---- ops ---------------------------------------------------------------------------------------------------------
/// x W^T of random values, with a bias and a scale; widths that fill no vector.
template <class Scalar>
struct Product {
  static constexpr std::int64_t rows = 5, in = 96, out = 37, stride = in + 8;
  std::vector<Scalar> x = random_values<Scalar>(rows * stride, 0, 1, 1), w = random_values<Scalar>(out * in, 0, 1, 2),
                      y = random_values<Scalar>(rows * out, 0, 1, 5);
  std::vector<float> bias = random_values(out, 0, 1, 3), scale = random_values(out, 1, 0.5f, 4);

  SourceMatrix source() const {
    return source_matrix({dtype_of(kind_of<Scalar>), {out, in}, std::as_bytes(std::span(w))});
  }
  Rows<const Scalar> columns(const RankPart& part) const { return {x.data() + part.first, rows, part.count, stride}; }
  /// [rows, out] as each rank has it.
  std::vector<std::vector<Scalar>> reduced(int ranks, const Epilogue& epilogue) const {
    std::vector<std::vector<Scalar>> results(std::size_t(ranks), y);
    on_ranks(ranks, [&](RankContext& ctx) {
      const RankPart part = equal_part(in, ctx.rank(), ranks);
      const SourceMatrix own = source().inputs(part.first, part.count);
      const PlacedMatrix placed = place_matrix(ctx, std::span(&own, 1), Fusion::stacked);
      auto& result = results[std::size_t(ctx.rank())];
      linear_reduced(ctx, columns(part), placed, epilogue, Rows<Scalar>(result.data(), rows, out));
    });
    return results;
  }
};

template <class Scalar>
void check_product() {
  const Product<Scalar> p;
  for (const EpilogueKind kind : {EpilogueKind::store, EpilogueKind::add, EpilogueKind::gelu}) {
    CAPTURE(int(kind));
    const Epilogue epilogue{kind, p.bias.data(), kind == EpilogueKind::add ? p.scale.data() : nullptr};

    // One rank through all of it: the bits of `linear`.
    cpu::Context ctx(1);
    const SourceMatrix source = p.source();
    const PlacedMatrix placed = place_matrix(ctx, std::span(&source, 1), Fusion::stacked);
    std::vector<Scalar> plain = p.y;
    linear(ctx, p.columns({0, p.in}), placed, epilogue, Rows<Scalar>(plain.data(), p.rows, p.out));
    const auto one = p.reduced(1, epilogue).front();
    CHECK(std::memcmp(plain.data(), one.data(), plain.size() * sizeof(Scalar)) == 0);
    if (kind == EpilogueKind::gelu) continue;

    for (const int ranks : {2, 3}) {
      CAPTURE(ranks);
      const auto results = p.reduced(ranks, epilogue);
      for (const auto& result : results)
        CHECK(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(Scalar)) == 0);
      for (std::int64_t r = 0; r < p.rows; ++r) {
        for (std::int64_t c = 0; c < p.out; ++c) {
          double sum = 0, size = 0;
          for (std::int64_t k = 0; k < p.in; ++k) {
            const double product =
                double(to_float(p.x[std::size_t(r * p.stride + k)])) * double(to_float(p.w[std::size_t(c * p.in + k)]));
            sum += product;
            size += std::abs(product);
          }
          sum += double(p.bias[std::size_t(c)]);
          const double scale = epilogue.scale ? double(epilogue.scale[c]) : 1;
          const double residual = kind == EpilogueKind::add ? double(to_float(p.y[std::size_t(r * p.out + c)])) : 0;
          const double want = residual + scale * sum;
          // A rounding of float for each product, and for each summand of a rank, the bias, the scale, the residual;
          // then one of the result.
          const double in_float = double(p.in + ranks + 3) * 0x1p-24 *
                                  (std::abs(residual) + scale * (size + std::abs(double(p.bias[std::size_t(c)]))));
          const double last = std::is_same_v<Scalar, bf16> ? 0x1p-8 * (std::abs(want) + in_float) : 0;
          const double error = std::abs(double(to_float(results[0][std::size_t(r * p.out + c)])) - want);
          if (!(error <= in_float + last)) FAIL("row " << r << ", column " << c << ": off by " << error);
        }
      }
    }
  }
}

TEST_CASE("One rank through the sums of ranks gives the bits of linear, and several give its product") {
  check_product<float>();
  check_product<bf16>();
}

TEST_CASE("Experts of a range add what they add among all, and others add nothing") {
  constexpr MoeConfig moe{.experts = 6, .active = 2, .mlp_hidden = 32, .bias = true};
  using Mlp = SparseMlp<64, moe>;
  cpu::Context ctx(1);
  const RandomTensors<Mlp> tensors(7);
  const auto whole = place<Mlp>(ctx, tensors);
  const TensorMap& all = tensors;
  constexpr std::int64_t rows = 9;
  const auto x = random_values<bf16>(rows * 64, 0, 1, 3);
  std::vector<std::int32_t> chosen;
  std::vector<float> weights;
  for (int row = 0; row < rows; ++row) {  // both on one rank of two, so that its sum is the whole one
    chosen.insert(chosen.end(), {row % 3 + row % 2 * 3, (row + 1) % 3 + row % 2 * 3});
    weights.insert(weights.end(), {0.75f, 0.25f});
  }
  const Routes routes{2, chosen.data(), weights.data()};
  const auto run = [&](auto& context, const ExpertMlp& mlp, std::vector<bf16>& y, const auto& op) {
    std::vector<bf16> inner(rows * 2 * 32);
    op(context, mlp, Rows<const bf16>(x.data(), rows, 64), routes, Rows<bf16>(inner.data(), rows * 2, 32),
       Rows<bf16>(y.data(), rows, 64));
  };
  const auto start = random_values<bf16>(rows * 64, 0, 1, 4);
  auto want = start;
  run(ctx, {&whole.gate_up.placed, &whole.down.placed, whole.gate_up_bias.data(), whole.down_bias.data()}, want,
      [](auto&&... arguments) { expert_mlp(arguments...); });
  CHECK(std::memcmp(want.data(), start.data(), want.size() * 2) != 0);

  /// Expert's matrix [64, in] of a tensor of all experts.
  const auto matrix_of = [&](const char* name, std::int64_t in, int expert) {
    const std::size_t bytes = std::size_t(64 * in * 2);
    return source_matrix({Dtype::bf16, {64, in}, all.at(name).bytes.subspan(std::size_t(expert) * bytes, bytes)});
  };
  for (const int ranks : {1, 2}) {
    CAPTURE(ranks);
    OfRank<std::vector<bf16>> results(std::size_t(ranks), start);
    on_ranks(ranks, [&](RankContext& rank_ctx) {
      const RankPart part = equal_part(moe.experts, rank_ctx.rank(), ranks);
      const int first = int(part.first), number = int(part.count);
      std::vector<SourceMatrix> up_parts, down_parts;
      for (int expert = first; expert < first + number; ++expert) {
        const SourceMatrix gate_above_up = matrix_of("experts.gate_up.weight", 64, expert);
        up_parts.push_back(gate_above_up.outputs(0, 32));
        up_parts.push_back(gate_above_up.outputs(32, 32));
        down_parts.push_back(matrix_of("experts.down.weight", 32, expert));
      }
      PlacedExperts gate_up =
          place_experts(rank_ctx, number, Fusion::interleaved, std::span<const SourceMatrix>(up_parts));
      PlacedExperts down = place_experts(rank_ctx, number, Fusion::stacked, std::span<const SourceMatrix>(down_parts));
      gate_up.first = down.first = first;
      const ExpertMlp mlp{&gate_up, &down, whole.gate_up_bias.data() + first * 64, whole.down_bias.data() + first * 64};
      run(rank_ctx, mlp, results[std::size_t(rank_ctx.rank())],
          [](auto&&... arguments) { expert_mlp_reduced(arguments...); });
    });
    for (const auto& result : results) CHECK(std::memcmp(result.data(), want.data(), want.size() * 2) == 0);
  }
}

// ---- the vocabulary ----------------------------------------------------------------------------------------------
TEST_CASE("Parts of a vocabulary are whole lines that follow each other and leave out nothing") {
  for (const std::int64_t rows : {1, 16, 17, 70, 151674}) {
    for (const int ranks : {1, 2, 3, 8}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const RankPart part = vocabulary_part(rows, rank, ranks);
        CHECK(part.first == next);
        CHECK((part.first % 16 == 0 || part.count == 0));
        CHECK(part.count <= vocabulary_part(rows, 0, ranks).count);
        next += part.count;
      }
      CHECK(next == rows);
    }
  }
}

TEST_CASE("The largest logit over the parts of a vocabulary is the largest of all, whatever the numbers are") {
  constexpr int ranks = 3, rows = 40;
  constexpr std::int64_t vocabulary = 70;  // 32, 32 and 6
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  std::vector<float> logits(rows * vocabulary);
  RandomBits bits(11);
  for (float& logit : logits) {  // a few values, so that there are ties
    const std::uint32_t kind = bits() >> 26;
    logit = kind == 0 ? infinity : kind < 5 ? -infinity : float(int(bits() >> 29) - 4);
  }
  const auto row_of = [&](int row) { return logits.begin() + row * vocabulary; };
  std::fill_n(row_of(0) + 32, 32, nan);  // a part without numbers
  std::fill_n(row_of(1), vocabulary, nan);
  std::fill_n(row_of(2), vocabulary, -infinity);
  std::fill_n(row_of(3), 64, -infinity);  // but for the last part
  for (const int id : {0, 31, 32, 40, 64, 69}) row_of(4 + id % 7)[id] = nan;

  for (const int among : {70, 66, 64, 50, 32, 5, 1}) {
    CAPTURE(among);
    cpu::Context ctx(1);
    std::vector<std::int32_t> want(rows);
    argmax(ctx, Rows<const float>(logits.data(), rows, among, vocabulary), want.data());
    OfRank<std::vector<std::int32_t>> ids(ranks, std::vector<std::int32_t>(rows, -7));
    on_ranks(ranks, [&](RankContext& rank_ctx) {
      std::vector<float> own(logits.size(), 1000.0f);  // each knows its own columns
      const RankPart part = vocabulary_part(vocabulary, rank_ctx.rank(), ranks);
      for (int row = 0; row < rows; ++row)
        std::copy_n(&logits[std::size_t(row * vocabulary + part.first)], part.count,
                    &own[std::size_t(row * vocabulary + part.first)]);
      argmax_reduced<ranks>(rank_ctx, Rows<const float>(own.data(), rows, vocabulary), among,
                            ids[std::size_t(rank_ctx.rank())].data());
    });
    for (const auto& found : ids) CHECK(found == want);
  }
}

TEST_CASE("Logits that are gathered are those of all ranks, bit for bit") {
  constexpr int ranks = 3, rows = 4;
  constexpr std::int64_t vocabulary = 70, stride = 75;
  const auto want = random_values(rows * stride, 0, 1, 3);
  OfRank<std::vector<float>> results(ranks, want);
  on_ranks(ranks, [&](RankContext& ctx) {
    auto& own = results[std::size_t(ctx.rank())];
    const RankPart part = vocabulary_part(vocabulary, ctx.rank(), ranks);
    for (int row = 0; row < rows; ++row) {
      for (std::int64_t id = 0; id < vocabulary; ++id) {
        if (id < part.first || id >= part.first + part.count) own[std::size_t(row * stride + id)] = -1;
      }
    }
    gather_vocabulary<ranks>(ctx, Rows<float>(own.data(), rows, vocabulary, stride));
  });
  for (const auto& result : results) CHECK(result == want);
}

// ---- models ------------------------------------------------------------------------------------------------------
/// Random weights of a whole model under canonical names. Every difference between ranks and one would show: biases and
/// layer scales are as large as what they meet.
class RandomModel {
 public:
  template <VlmConfig C>
  static RandomModel of(const ModelFacts& facts) {
    RandomModel model;
    Vlm<C> vlm;
    const Binding wanted = bind_weights(weight_slots(vlm), facts, NoTensors{}, {.dialects = {Dialect::canonical}});
    std::uint32_t seed = 1;
    Binding::each_tensor(wanted, [&](const BoundTensor& tensor) {
      const bool gain = tensor.name.find("norm") != std::string::npos && !tensor.name.ends_with("bias");
      const bool around_one = gain || tensor.name.find("layer_scale") != std::string::npos;
      auto& values = model.values_[tensor.name] =
          random_values<bf16>(*elements_of(tensor.shape), around_one ? 1.0f : 0.0f, 0.2f, seed++);
      model.views_[tensor.name] = {Dtype::bf16, tensor.shape, std::as_bytes(std::span(values))};
    });
    return model;
  }
  const TensorView* find(const std::string& name) const {
    const auto found = views_.find(name);
    return found == views_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::string, std::vector<bf16>> values_;
  std::map<std::string, TensorView> views_;
};

constexpr int vocabulary = 100;  // of two ranks, one has 64 rows and one 36

std::vector<std::int32_t> some_ids() {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 23; ++i) ids.push_back(i * 37 % vocabulary);
  return ids;
}

/// What one context, or each rank, makes of a picture and a text behind it.
struct Seen {
  std::vector<float> features, logits;
};
template <class Scalar, class Context, VlmConfig C>
Seen seen_by(Context& ctx, const Vlm<C>& vlm) {
  const auto pixels = random_values(2 * 3 * C.vit.tile_px * C.vit.tile_px, 0, 1, 5);
  std::vector<std::int32_t> ids;
  for (int row = 0; row < 2 * C.tokens_per_tile(); ++row) ids.push_back(-1 - row);
  for (const std::int32_t id : some_ids()) ids.push_back(id);
  const auto rows = features(ctx, vlm, patches_of<Scalar>(ctx, vlm, pixels)).projected;
  return {to_floats(ctx, rows.view()).values,
          logits<Scalar>(ctx, vlm, std::span<const std::int32_t>(ids), rows).values};
}

/// What an engine answers to a text, greedily and drawn.
struct Answer {
  std::vector<std::int32_t> greedy, drawn;
};
template <class Context, VlmConfig C>
Answer answer_of(Context& ctx, const Vlm<C>& vlm) {
  RunnerAndEngine<C, Context, float> on(ctx, vlm, {.kv_tokens = 128, .max_rows = 16});
  Request request{.prompt = {some_ids()}, .generation = {.max_new_tokens = 12, .ignore_stop_ids = true}};
  Answer answer;
  answer.greedy = ids_of(*run(on.engine, request));
  request.generation.sampling = {
      .temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 7};
  answer.drawn = ids_of(*run(on.engine, request));
  return answer;
}

struct SmallModel {
  SmallModel() {
    facts.vocab_rows = vocabulary;
    facts.context_length = 1024;
    weights = RandomModel::of<small>(facts);
  }
  ModelFacts facts;
  RandomModel weights;
};

/// `unit`: what one rounding, or one sum in another order, takes from a value of its size.
template <class Scalar>
void check_seen(double unit) {
  const SmallModel model;
  cpu::Context ctx(1);
  const Seen want = seen_by<Scalar>(ctx, load<small>(ctx, model.facts, model.weights));
  if constexpr (std::is_same_v<Scalar, float>) {  // a context of ranks that has a whole model is the backend's own
    OfRank<Seen> one(1);
    on_ranks(1,
             [&](RankContext& rank) { one[0] = seen_by<Scalar>(rank, load<small>(rank, model.facts, model.weights)); });
    CHECK(one[0].features == want.features);
    CHECK(one[0].logits == want.logits);
  }

  OfRank<Seen> two(2);
  on_ranks(2, [&](RankContext& rank) {
    two[std::size_t(rank.rank())] = seen_by<Scalar>(rank, load<shard(small, 2)>(rank, model.facts, model.weights));
  });
  CHECK(two[0].features == two[1].features);
  CHECK(two[0].logits == two[1].logits);

  // A value passes ten roundings a layer; no value is four times as large as the root mean square.
  const auto close = [&](const std::vector<float>& found, const std::vector<float>& to, int layers) {
    double square = 0;
    for (const float value : to) square += double(value) * value;
    const double bound = layers * 10 * unit * 4 * std::sqrt(square / double(to.size()));
    const double difference = largest_difference(found, to);
    CAPTURE(difference);
    CHECK(difference <= bound);
  };
  close(two[0].features, want.features, small.vit.layers + 1);
  close(two[0].logits, want.logits, small.vit.layers + 1 + small.decoder.layers);
}

TEST_CASE("Two ranks share a tower and a dense decoder, and see what one does") {
  check_seen<float>(96 * 0x1p-24);  // sums of up to 96 products
  check_seen<bf16>(0x1p-9);
}

TEST_CASE("Two ranks answer with the ids of one, greedily and drawn") {
  const SmallModel model;
  cpu::Context ctx(1);
  const Answer want = answer_of(ctx, load<small>(ctx, model.facts, model.weights));
  OfRank<Answer> two(2);
  on_ranks(2, [&](RankContext& rank) {
    two[std::size_t(rank.rank())] = answer_of(rank, load<shard(small, 2)>(rank, model.facts, model.weights));
  });
  for (const Answer& answer : two) {
    CHECK(answer.greedy == want.greedy);
    CHECK(answer.drawn == want.drawn);
  }
  CHECK(want.greedy != want.drawn);
}

template <VlmConfig C>
void check_golden_on_ranks(const char* model, const char* format, const char* file) {
  CAPTURE(model);
  const Golden golden(tiny_folder(model, file));
  OfRank<std::vector<float>> logits_of(2);
  on_ranks(2, [&](RankContext& ctx) {
    const auto checkpoint = load<shard(C, 2)>(ctx, tiny_folder(model, format));
    const Prompt prompt = prompt_of(checkpoint, golden);
    logits_of[std::size_t(ctx.rank())] = logits<float>(ctx, checkpoint.vlm, prompt).values;
  });
  const double bound = 4 * golden.number("float32_to_float64_max");  // of check_golden
  for (const auto& found : logits_of) CHECK(largest_difference(found, golden.floats("logits")) <= bound);
}

TEST_CASE("Two ranks share the experts of a mixture, and are as far from transformers as one is") {
  check_golden_on_ranks<qwen3_moe_tiny>("qwen3_moe_tiny", "hf", "golden.safetensors");
  check_golden_on_ranks<gpt_oss_tiny>("gpt_oss_tiny", "hf", "golden.safetensors");
}

TEST_CASE("A rank's part of a fused tensor is the part of each of its weights, and half of the bytes") {
  cpu::Context ctx(1);
  const CheckpointConfig config = read_checkpoint_config(tiny_folder("gpt_oss_tiny", "mxfp4"));
  auto whole = load_weights<gpt_oss_tiny>(ctx, tiny_folder("gpt_oss_tiny", "mxfp4"), config);
  OfRank<std::size_t> bytes(2);
  OfRank<int> first(2);
  on_ranks(2, [&](RankContext& rank) {
    const auto part = load_weights<shard(gpt_oss_tiny, 2)>(rank, tiny_folder("gpt_oss_tiny", "mxfp4"), config);
    const PlacedExperts& experts = part.language.blocks[1].mlp.gate_up.placed;
    bytes[std::size_t(rank.rank())] = std::size_t(experts.experts * experts.all.strips[0].bytes);
    first[std::size_t(rank.rank())] = experts.first;
  });
  const PlacedExperts& experts = whole.language.blocks[1].mlp.gate_up.placed;
  CHECK(bytes[0] + bytes[1] == std::size_t(experts.experts * experts.all.strips[0].bytes));
  CHECK(bytes[0] == bytes[1]);
  CHECK(first == OfRank<int>{0, 3});
}

TEST_CASE("A type for two ranks does not load on one, nor on three") {
  ModelFacts facts;
  facts.vocab_rows = vocabulary;
  CHECK(what_of<ConfigError>([&] {
          on_ranks(3, [&](RankContext& ctx) { load<shard(small, 2)>(ctx, facts, NoTensors{}); });
        }) == "the type is a part for 2 ranks, and the context is one of 3");
}

}  // namespace
