// Looking inside a model, as examples/look_inside.hpp does, against transformers (tests/golden/make_models.py).
#include "ivl/model/taps.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../support/golden.hpp"
#include "../support/tiny_models.hpp"
#include "examples/look_inside.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/testing/random_tensors.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// The bounds of check_golden: logits within four times the reference's own rounding, stages within that of their size.
struct Bounds {
  explicit Bounds(const Golden& golden)
      : logits(4 * golden.number("float32_to_float64_max")), relative(logits / golden.number("logits_std")) {}
  void check_stage(const HostRows& rows, const std::vector<float>& want) const {
    double square = 0;
    for (const float value : want) square += double(value) * value;
    CHECK(largest_difference(rows.values, want) <= relative * std::sqrt(square / double(want.size())));
  }
  double logits, relative;
};

const Checkpoint<qwen3_tiny>& tiny() {
  static cpu::Context ctx(1);
  static const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  return checkpoint;
}

TEST_CASE("Logits at every position of a text are the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden_text.safetensors"));
  const HostRows logits =
      look_inside::logits_everywhere<float>(ctx, tiny(), field<std::string>(golden.facts, "prompt", golden.name));
  CHECK(logits.width == tiny().vlm.facts.vocab_rows);
  CHECK(largest_difference(logits.values, golden.floats("logits")) <= Bounds(golden).logits);
}

TEST_CASE("With a picture, logits at every position and hidden states after every layer are the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden.safetensors"));
  const Bounds bounds(golden);
  const auto prompt = field<std::string>(golden.facts, "prompt", golden.name);
  const auto patches = patches_of<float>(ctx, tiny().vlm, golden.floats("pixel_values"));
  const HostRows logits = look_inside::logits_with_picture<float>(ctx, tiny(), prompt, patches);
  CHECK(largest_difference(logits.values, golden.floats("logits")) <= bounds.logits);

  const auto pictures = features(ctx, tiny().vlm, patches).projected;
  const auto ids = tiny().processor.sources(prompt, int(pictures.count));
  for (int layer = 0; layer < qwen3_tiny.decoder.layers; ++layer) {
    CAPTURE(layer);
    bounds.check_stage(look_inside::hidden_after<float>(ctx, tiny(), layer, ids, pictures),
                       golden.floats("decoder.layer." + std::to_string(layer)));
  }
}

TEST_CASE("Hidden states in bf16 are those in float, rounded on the way") {
  cpu::Context ctx(2);
  const auto ids = tiny().processor.ids_of("A small prompt.");
  const HostRows exact = look_inside::hidden_after<float>(ctx, tiny(), 2, ids),
                 rounded = look_inside::hidden_after<bf16>(ctx, tiny(), 2, ids);
  REQUIRE(exact.count == rounded.count);
  double square = 0;
  for (const float value : exact.values) square += double(value) * value;
  const double size = std::sqrt(square / double(exact.values.size()));
  // Three layers of ten roundings each, 2^-9 of the value; no value is four times as large as the root mean square.
  const double difference = largest_difference(exact.values, rounded.values);
  CHECK(difference <= 3 * 10 * 0x1p-9 * 4 * size);
  CHECK(difference > 0);
}

TEST_CASE("A block of the tower alone is the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden.safetensors"));
  Bounds(golden).check_stage(look_inside::block_alone<float>(ctx, tiny(), 0, golden.floats("vision.embeddings")),
                             golden.floats("vision.layer.0"));
}

TEST_CASE("A picture's rows are those of its pixel values") {
  cpu::Context ctx(2);
  const Image picture = noise_picture(120, 61, 3);
  const TileRules rules = tiny().processor.tile_rules();
  const int tiles = choose_grid(picture.width, picture.height, rules).tiles(rules);
  std::vector<float> pixels(std::size_t(tiles) * 3 * 56 * 56);
  make_pixel_values<float>(ctx.pool, picture, rules, PixelStatistics{}, pixels);
  const auto wanted = features(ctx, tiny().vlm, patches_of<float>(ctx, tiny().vlm, pixels));
  const HostRows found = look_inside::picture_rows<float>(ctx, tiny(), picture);
  CHECK(found.count == tiles * qwen3_tiny.tokens_per_tile());
  CHECK(found.values == to_floats(ctx, wanted.projected.view()).values);
}

/// Canonical tensors of a decoder layer out of a folder, q, k, v and gate, up joined.
class LayerOfFile {
 public:
  explicit LayerOfFile(int layer) : files_(tiny_folder("qwen3_tiny", "hf")) {
    for (const WantedTensor& wanted : tensors_of<DecoderBlock<qwen3_tiny.decoder>>()) {
      const TensorName* row = find_tensor_name("language.blocks.#." + wanted.name);
      REQUIRE(row != nullptr);
      std::vector<std::byte>& joined = kept_[wanted.name];
      Dtype dtype{};
      for (const std::string_view piece : file_names(*row, FolderFormat::hf)) {
        if (piece.empty()) continue;
        const TensorView* view = files_.find(with_layer(piece, layer));
        REQUIRE(view != nullptr);
        dtype = view->dtype;
        joined.insert(joined.end(), view->bytes.begin(), view->bytes.end());
      }
      tensors[wanted.name] = {dtype, wanted.shape, joined};
    }
  }
  TensorMap tensors;

 private:
  FolderWeights files_;
  std::map<std::string, std::vector<std::byte>> kept_;
};

TEST_CASE("A decoder layer of tensors under their canonical names is the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden.safetensors"));
  const ModelFacts& facts = tiny().vlm.facts;
  const LayerOfFile second(1);
  const HostRows rows = look_inside::own_layer<float, qwen3_tiny.decoder>(
      ctx, second.tensors, {.rope = facts.rope, .eps = facts.language_norm_eps}, golden.floats("decoder.layer.0"));
  Bounds(golden).check_stage(rows, golden.floats("decoder.layer.1"));
}

TEST_CASE("Tensors that are missing, misshapen or unknown are all named before anything is placed") {
  cpu::Context ctx(1);
  LayerOfFile layer(0);
  TensorMap& tensors = layer.tensors;
  tensors["norm3.weight"] = tensors["norm2.weight"];
  tensors["down.weight"].shape = {3, 48};
  tensors["norm1.weight"].dtype = Dtype::i16;
  tensors.erase("q_norm.weight");
  const std::string text = what_of<ConfigError>([&] { place<DecoderBlock<qwen3_tiny.decoder>>(ctx, tensors); });
  CAPTURE(text);
  CHECK(contains(text, "\n  q_norm.weight: expected [32], found none"));
  CHECK(contains(text, "\n  down.weight: expected [48, 48], found [3, 48]"));
  CHECK(contains(text, "\n  norm1.weight: expected F32, BF16 or F16, found I16"));
  CHECK(contains(text, "\n  norm3.weight: expected none, found [48]"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 4);
}

TEST_CASE("A mixture's layer is placed from a tensor for each expert, or from one for all") {
  cpu::Context ctx(2);
  const auto check = [&]<VlmConfig C>(Constant<C>, const char* first, const char* folder) {
    using Layer = DecoderBlock<C.decoder>;
    const auto wanted = tensors_of<Layer>();
    CHECK(std::any_of(wanted.begin(), wanted.end(), [&](const WantedTensor& one) { return one.name == first; }));
    // The same weights through the loader: gate and up must end up beside each other in the same way.
    const auto checkpoint = load<C>(ctx, tiny_folder(folder, "hf"));
    const FolderWeights files(tiny_folder(folder, "hf"));
    TensorMap tensors;
    std::map<std::string, std::vector<std::byte>> kept;
    for (const auto& [name, shape] : wanted) {
      std::string pattern = name, number;
      if (pattern.starts_with("experts.") && std::isdigit(static_cast<unsigned char>(pattern[8]))) {
        number = pattern.substr(8, pattern.find('.', 8) - 8);
        pattern.replace(8, number.size(), "*");
      }
      const TensorName* row = find_tensor_name("language.blocks.#." + pattern);
      REQUIRE(row != nullptr);
      Dtype dtype{};
      for (const std::string_view piece : file_names(*row, FolderFormat::hf)) {
        if (piece.empty()) continue;
        const std::string in_layer = with_layer(piece, 1);
        const TensorView* view = files.find(number.empty() ? in_layer : with_expert(in_layer, std::stoi(number)));
        REQUIRE(view != nullptr);
        dtype = view->dtype;
        kept[name].insert(kept[name].end(), view->bytes.begin(), view->bytes.end());
      }
      tensors[name] = {dtype, shape, kept[name]};
    }
    const LayerFacts facts{.rope = checkpoint.vlm.facts.rope};
    const auto rows = random_values(40 * C.decoder.hidden, 0, 1, 1);
    const OwnedRows<float, C.decoder.hidden> loaded(ctx, rows);
    run_alone(ctx, checkpoint.vlm.language.blocks[1], loaded, facts);
    CHECK(look_inside::own_layer<float, C.decoder>(ctx, tensors, facts, rows).values ==
          to_floats(ctx, loaded.view()).values);
  };
  check(Constant<qwen3_moe_tiny>{}, "experts.7.gate_up.weight", "qwen3_moe_tiny");
  check(Constant<gpt_oss_tiny>{}, "experts.gate_up.weight", "gpt_oss_tiny");
}

TEST_CASE("Steps of rows change no bit of a decoder layer") {
  cpu::Context ctx(2);
  constexpr DecoderConfig decoder = qwen3_tiny.decoder;
  constexpr int length = 1100;  // steps of 512, 512 and 76 rows
  const auto& layer = tiny().vlm.language.blocks[0];
  const LayerFacts facts{.rope = tiny().vlm.facts.rope, .window = 300};
  const auto values = random_values(length * decoder.hidden, 0, 1, 5);
  const OwnedRows<bf16, decoder.hidden> in_steps(ctx, values), at_once(ctx, values);
  run_alone(ctx, layer, in_steps, facts);

  const auto whole = WholeSequences::causal(ctx, layer.attention_shape, ScalarKind::bf16, length, length);
  REQUIRE(whole.steps().size() == 1);
  const auto& step = whole.steps().front();
  const OwnedRows<float, decoder.attention.head_dim> angles(ctx, length);
  rope_angles(ctx, facts.rope, step.batch.positions, step.rope_lengths, Rows<float>(angles));
  const OwnedScratch<DecoderBlock<decoder>::Scratch<bf16>> scratch(ctx, length);
  layer.forward(ctx, step.batch, whole.kv(), facts.window, angles.view(), facts.eps, scratch, at_once.view());
  CHECK(to_floats(ctx, in_steps.view()).values == to_floats(ctx, at_once.view()).values);
}

TEST_CASE("Tiles beside others give the bits that each gives alone") {
  cpu::Context ctx(2);
  constexpr int tokens = qwen3_tiny.vit.tokens(), tiles = 2 * (2048 / tokens) + 1, width = qwen3_tiny.vit.hidden;
  const auto values = random_values(tiles * tokens * width, 0, 1, 6);
  const HostRows together = look_inside::block_alone<bf16>(ctx, tiny(), 0, values);
  REQUIRE(together.count == tiles * tokens);
  for (const int tile : {0, 1, tiles / 2, tiles - 1}) {
    CAPTURE(tile);
    const auto first = values.begin() + std::ptrdiff_t(tile) * tokens * width;
    const HostRows alone =
        look_inside::block_alone<bf16>(ctx, tiny(), 0, std::vector<float>(first, first + tokens * width));
    CHECK(std::equal(alone.values.begin(), alone.values.end(), together[tile * tokens].begin()));
  }
}

TEST_CASE("Features of more tiles than a step takes are those of each tile alone") {
  cpu::Context ctx(2);
  constexpr int patches = qwen3_tiny.vit.patches(), width = qwen3_tiny.vit.patch_width();
  constexpr int features_each = qwen3_tiny.tokens_per_tile(), tiles = 2048 / qwen3_tiny.vit.tokens() + 2;
  const auto values = random_values(tiles * patches * width, 0, 1, 7);
  const auto all_of = [&](const std::vector<float>& rows) {
    std::map<std::string, HostRows> stages;
    features(ctx, tiny().vlm, OwnedRows<float, width>(ctx, rows),
             [&](Stage stage, auto seen) { stages[name_of(stage)] = to_floats(ctx, seen); });
    return stages;
  };
  const auto together = all_of(values);
  CHECK(together.size() == 4);
  for (const int tile : {0, tiles - 3, tiles - 1}) {
    const auto first = values.begin() + std::ptrdiff_t(tile) * patches * width;
    for (const auto& [stage, alone] : all_of(std::vector<float>(first, first + patches * width))) {
      CAPTURE(stage);
      const HostRows& all = together.at(stage);
      REQUIRE(all.count == tiles * alone.count);
      CHECK(std::equal(alone.values.begin(), alone.values.end(), all[tile * alone.count].begin()));
    }
  }
  CHECK(together.at("projector.output").count == tiles * features_each);
}

TEST_CASE("A prompt of more rows than a step takes runs as its layers do, and a token's logits know no later one") {
  cpu::Context ctx(2);
  const Vlm<qwen3_tiny>& vlm = tiny().vlm;
  std::vector<std::int32_t> ids;
  for (int n = 0; n < 600; ++n) ids.push_back(n * 37 % vlm.facts.vocab_rows);
  std::map<std::string, HostRows> stages;
  const HostRows all =
      logits<float>(ctx, vlm, ids, {}, [&](Stage stage, auto rows) { stages[name_of(stage)] = to_floats(ctx, rows); });
  const OwnedRows<float, qwen3_tiny.decoder.hidden> x(ctx, stages.at("decoder.embeddings").values);
  const LayerFacts facts{.rope = vlm.facts.rope, .eps = vlm.facts.language_norm_eps};
  for (std::size_t layer = 0; layer < vlm.language.blocks.size(); ++layer) {
    run_alone(ctx, vlm.language.blocks[layer], x, facts);
    CHECK(to_floats(ctx, x.view()).values == stages.at("decoder.layer." + std::to_string(layer)).values);
  }
  const OwnedRows<float, qwen3_tiny.decoder.hidden> normed(ctx, stages.at("decoder.norm").values);
  const Array<float> at_once(ctx, all.count * all.width);
  linear(ctx, normed.view(), vlm.language.head, Rows<float>(at_once.data(), all.count, all.width));
  CHECK(to_host<float>(ctx, at_once.data(), at_once.size()) == all.values);
  for (const int n : {0, 63, 64, 511, 512}) {
    CAPTURE(n);
    const HostRows begun = logits<float>(ctx, vlm, std::span(ids).first(std::size_t(n) + 1));
    CHECK(std::equal(begun[n].begin(), begun[n].end(), all[n].begin()));
  }
}

TEST_CASE("A prompt of nothing, ids and picture rows that are not there, and a part of a tile are refused") {
  cpu::Context ctx(1);
  const Vlm<qwen3_tiny>& vlm = tiny().vlm;
  const auto error = [&](std::vector<std::int32_t> ids) {
    return what_of<RequestError>([&] { logits<float>(ctx, vlm, ids); });
  };
  CHECK(contains(error({}), "at least one token"));
  CHECK(contains(error({1, vlm.facts.vocab_rows}), "found " + std::to_string(vlm.facts.vocab_rows)));
  CHECK(contains(error({1, -1}), "0 picture rows, found -1"));
  const OwnedRows<float, qwen3_tiny.decoder.hidden> pictures(ctx, random_values(2 * 48, 0, 1, 1));
  CHECK(logits<float>(ctx, vlm, std::vector<std::int32_t>{-2, 1}, pictures).count == 2);
  CHECK(contains(what_of<RequestError>([&] { logits<float>(ctx, vlm, std::vector<std::int32_t>{-3}, pictures); }),
                 "2 picture rows, found -3"));
  const OwnedRows<float, qwen3_tiny.vit.hidden> x(ctx, qwen3_tiny.vit.tokens() + 1);
  CHECK(contains(what_of<RequestError>([&] { run_alone(ctx, vlm.vision.blocks[0], x); }), "whole tiles of 17 rows"));
}

TEST_CASE("Rows come to the host as they are, columns of them too") {
  cpu::Context ctx(1);
  const OwnedRows<bf16, 3> rows(ctx, std::vector<float>{1, 2, 3, 4, 5, 1 + 0x1p-9f});
  CHECK(to_floats(ctx, rows.view()).values == std::vector<float>{1, 2, 3, 4, 5, 1});
  const HostRows columns = to_floats(ctx, rows.columns<1, 2>());
  CHECK(columns.values == std::vector<float>{2, 3, 5, 1});
  CHECK((columns.count == 2 && columns.width == 2 && columns[1][0] == 5));
  CHECK(contains(what_of<RequestError>([&] { (OwnedRows<float, 3>(ctx, std::vector<float>{1, 2})); }), "found 2"));
}

}  // namespace
