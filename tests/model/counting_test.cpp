// What a counting context says of the published checkpoints, against closed formulas; and that counting changes
// nothing.
#include "ivl/counting/counting.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "../support/tiny_models.hpp"
#include "bench/model.hpp"
#include "ivl/config/published.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/predict.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Products of whole numbers below 2^53 and sums of them: doubles hold them, or round once a sum.
doctest::Approx about(double value) { return doctest::Approx(value).epsilon(1e-12); }

template <VlmConfig C>
void check_prediction() {
  constexpr DecoderConfig d = C.decoder;
  ModelFacts facts;
  for (const PublishedCheckpoint& published : published_checkpoints) {
    if (published.config == C) {
      facts.family = published.family;
      facts.vocab_rows = published.vocab_rows;
    }
  }
  const double vocabulary = facts.vocab_rows;
  REQUIRE(vocabulary > 0);
  Counting<> ctx;
  const auto tally_of = [&](const auto& body) {
    ctx.ops.clear();
    body();
    return ctx.total();
  };

  const Vlm<C> vlm = outline<C>(ctx, facts);
  CHECK(placed_bytes(vlm) == weight_bytes(C, facts.vocab_rows));
  const Vlm<C> packed = outline<C>(ctx, facts, StoredAs::mxfp4);
  constexpr bool has_mxfp4 = d.attention.sinks;  // GPT-OSS
  CHECK(placed_bytes(packed) ==
        (has_mxfp4 ? weight_bytes_mxfp4(C, facts.vocab_rows) : weight_bytes(C, facts.vocab_rows)));

  const Prediction prediction = predict<C>(facts, 100, StoredAs::mxfp4);
  CHECK(prediction.weight_bytes == placed_bytes(packed));
  CHECK(prediction.tile.flops == about(bench::vision_flops(C)));
  // 100 tokens are within every window, which the formula does not know.
  CHECK(prediction.prefill.flops == about(bench::prefill_flops(d, vocabulary, 100, 0)));
  CHECK(prediction.token.flops == about(bench::prefill_flops(d, vocabulary, 1, 100)));
  const double window_kv = 2.0 * d.windows() * d.attention.kv_width() * sizeof(bf16);  // of a token
  CHECK(prediction.kv_bytes == double(kv_bytes_per_token(d)) + window_kv);

  const bench::WeightBytes weights = bench::weight_bytes_of(packed);
  for (const auto& [rows, before] : {std::pair{1, 4095}, {8, 511}}) {
    CAPTURE(rows);
    const Tally step = tally_of([&] { run_step(ctx, packed, rows, before, 1); });
    const double tokens = double(rows) * (before + 1), seen = double(rows) * std::min(before + 1, d.attention.window);
    CHECK(step.matrix_bytes + ctx.ops["attention"].kv_bytes ==
          about(bench::step_bytes(d, weights, rows, tokens) + seen * window_kv));
  }
  if (d.attention.window == 0) {
    const Tally chunk = tally_of([&] { run_step(ctx, vlm, 1, 1000, 512); });
    CHECK(chunk.flops == about(bench::prefill_flops(d, vocabulary, 512, 1000)));
  } else {
    // Layers with a window see 128 keys a row, the others all before it.
    const Tally chunk = tally_of([&] { run_step(ctx, vlm, 1, 1000, 512); });
    const double unseen = 512 * (1000 + 513.0 / 2 - d.attention.window);
    CHECK(chunk.flops ==
          about(bench::prefill_flops(d, vocabulary, 512, 1000) - 4 * unseen * d.windows() * d.attention.query_width()));
  }
}

TEST_CASE("Counted flops and bytes of published checkpoints are those of the closed formulas") {
  SUBCASE("InternVL3-1B") { check_prediction<internvl3_1b>(); }
  SUBCASE("InternVL3.5-38B, with the 6B tower") { check_prediction<internvl3_5_38b>(); }
  SUBCASE("InternVL3.5-GPT-OSS-20B") { check_prediction<internvl3_5_gpt_oss_20b_a4b>(); }
  SUBCASE("InternVL3.5-241B") { check_prediction<internvl3_5_241b_a28b>(); }
}

TEST_CASE("A context that counts gives the bits of the one below it, and counts what sizes alone say") {
  const std::vector<std::int32_t> ids{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  cpu::Context plain(2);
  Counting<cpu::Context> counting(2);
  const auto checkpoint = load<gpt_oss_tiny>(counting, tiny_folder("gpt_oss_tiny", "mxfp4"));
  CHECK(counting.ops.empty());
  const HostRows counted = logits(counting, checkpoint.vlm, ids);
  CHECK(counted.values == logits(plain, checkpoint.vlm, ids).values);

  Counting<> sizes;
  logits(sizes, outline<gpt_oss_tiny>(sizes, checkpoint.vlm.facts, StoredAs::mxfp4), ids);
  REQUIRE(sizes.ops.size() == counting.ops.size());
  for (const auto& [op, tally] : sizes.ops) {
    CAPTURE(op);
    const Tally& found = counting.ops.at(op);
    CHECK(found.calls == tally.calls);
    CHECK(found.flops == tally.flops);
    CHECK(found.matrix_bytes == tally.matrix_bytes);
    CHECK(found.kv_bytes == tally.kv_bytes);
  }
  CHECK(sizes.ops.contains("expert_mlp"));
  CHECK(sizes.ops.contains("attention"));
}

TEST_CASE("A window cuts pairs and keys where it begins to matter") {
  DryRun ctx;
  const auto seen = [&](Mask mask, int window, int before, int rows) {
    const auto whole =
        WholeSequences::newest(ctx, {.heads = 1, .kv_heads = 1, .head_dim = 16}, ScalarKind::bf16, 2, before, rows);
    return detail::seen_in(ctx, mask, window, whole.steps().front().batch);
  };
  for (const int window : {0, 1, 5, 8, 100}) {
    for (const int before : {0, 3, 7, 20}) {
      for (const int rows : {1, 4, 9}) {
        double pairs = 0, oldest = before + rows;
        for (int p = before; p < before + rows; ++p) {
          const int first = window > 0 ? std::max(0, p - window + 1) : 0;
          pairs += p - first + 1;
          oldest = std::min(oldest, double(first));
        }
        const detail::Seen found = seen(Mask::causal, window, before, rows);
        CAPTURE(window);
        CAPTURE(before);
        CAPTURE(rows);
        CHECK(found.pairs == 2 * pairs);
        CHECK(found.keys == 2 * (before + rows - oldest));
      }
    }
  }
  CHECK(seen(Mask::full, 0, 0, 7).pairs == 2 * 49);
}

}  // namespace
