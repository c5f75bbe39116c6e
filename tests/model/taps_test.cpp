// Looking inside a model, as examples/look_inside.hpp does, against transformers (tests/golden/make_models.py).
#include "ivl/model/taps.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "../support/golden.hpp"
#include "../support/own_tensors.hpp"
#include "../support/tiny_models.hpp"
#include "examples/look_inside.hpp"
#include "ivl/core/error.hpp"
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
  const HostRows logits = look_inside::logits_everywhere<float>(ctx, tiny(), prompt_of(tiny(), golden));
  CHECK(logits.width == tiny().vlm.facts.vocab_rows);
  CHECK(largest_difference(logits.values, golden.floats("logits")) <= Bounds(golden).logits);
}

TEST_CASE("With a picture, logits at every position and hidden states after every layer are the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden.safetensors"));
  const Bounds bounds(golden);
  const Prompt prompt = prompt_of(tiny(), golden);
  const HostRows logits = look_inside::logits_everywhere<float>(ctx, tiny(), prompt);
  CHECK(largest_difference(logits.values, golden.floats("logits")) <= bounds.logits);

  const auto inputs = inputs_of<float>(ctx, tiny().vlm, prompt);
  for (int layer = 0; layer < qwen3_tiny.decoder.layers; ++layer) {
    CAPTURE(layer);
    bounds.check_stage(look_inside::hidden_after<float>(ctx, tiny(), layer, inputs.ids, inputs.pictures),
                       golden.floats("decoder.layer." + std::to_string(layer)));
  }
}

TEST_CASE("Hidden states in bf16 are those in float, rounded on the way") {
  cpu::Context ctx(2);
  const auto ids = tiny().processor.tokenizer().encode("A small prompt.");
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
  const Image image = noise_picture(120, 61, 3);
  const Picture picture = Picture::view(image, tiny().processor.tile_rules());
  const int tiles = picture.tiles();
  std::vector<float> pixels(std::size_t(tiles) * 3 * 56 * 56);
  make_pixel_values<float>(ctx.pool, picture, PixelStatistics{}, pixels);
  const auto wanted = features(ctx, tiny().vlm, patches_of<float>(ctx, tiny().vlm, pixels));
  const HostRows found = look_inside::picture_rows<float>(ctx, tiny(), image);
  CHECK(found.count == tiles * qwen3_tiny.tokens_per_tile());
  CHECK(found.values == to_floats(ctx, wanted.projected.view()).values);
}

/// The tensors of a folder's decoder layer as place<DecoderBlock> wants them: q, k, v joined, and gate above up.
template <VlmConfig C>
class LayerOfFile {
 public:
  LayerOfFile(const std::filesystem::path& folder, int layer) {
    const FolderWeights files(folder);
    Vlm<C> vlm;
    const Binding binding = bind_weights(weight_slots(vlm), read_checkpoint_config(folder).facts, files);
    const std::string where = "language.blocks.#.";
    std::map<std::string, Shape> shapes;
    for (const WantedTensor& wanted : tensors_of<DecoderBlock<C.decoder>>()) shapes[wanted.name] = wanted.shape;
    for (const BoundWeight& weight : binding.weights) {
      if (weight.slot.layer != layer || !weight.slot.canonical.starts_with(where)) continue;
      const std::string name = weight.slot.canonical.substr(where.size());
      const Dtype dtype = weight.pieces[0].planes[0].found->dtype;
      std::vector<std::byte>& joined = kept_[name];
      if (weight.slot.in == 0) {
        for (const BoundPiece& piece : weight.pieces) append(joined, piece.planes[0].found->bytes);
      } else {
        for (const SourceMatrix& matrix : ivl::detail::matrices_of(weight)) append(joined, matrix, dtype);
      }
      tensors[name] = {dtype, shapes.at(name), joined};
    }
    REQUIRE(tensors.size() == shapes.size());
  }
  TensorMap tensors;

 private:
  static void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
  }
  /// Rows as the file's scalars, whatever its strides.
  static void append(std::vector<std::byte>& to, const SourceMatrix& matrix, Dtype dtype) {
    std::vector<float> row(std::size_t(matrix.in));
    for (std::int64_t i = 0; i < matrix.out; ++i) {
      dequantise_row(matrix, i, row.data());
      if (dtype == Dtype::f32) {
        append(to, std::as_bytes(std::span(row)));
        continue;
      }
      REQUIRE(dtype == Dtype::bf16);
      std::vector<bf16> rounded;
      for (const float value : row) rounded.push_back(round_to<bf16>(value));
      append(to, std::as_bytes(std::span(rounded)));
    }
  }
  std::map<std::string, std::vector<std::byte>> kept_;
};

TEST_CASE("A decoder layer of tensors under their canonical names is the reference's") {
  cpu::Context ctx(2);
  const Golden golden(tiny_folder("qwen3_tiny", "golden.safetensors"));
  const ModelFacts& facts = tiny().vlm.facts;
  const LayerOfFile<qwen3_tiny> second(tiny_folder("qwen3_tiny", "hf"), 1);
  const HostRows rows = look_inside::own_layer<float, qwen3_tiny.decoder>(
      ctx, second.tensors, {.rope = facts.rope, .eps = facts.language_norm_eps}, golden.floats("decoder.layer.0"));
  Bounds(golden).check_stage(rows, golden.floats("decoder.layer.1"));
}

TEST_CASE("Tensors that are missing, misshapen or unknown are all named before anything is placed") {
  cpu::Context ctx(1);
  LayerOfFile<qwen3_tiny> layer(tiny_folder("qwen3_tiny", "hf"), 0);
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

TEST_CASE("A mixture's layer of tensors of all its experts is the loader's, bit for bit") {
  cpu::Context ctx(2);
  const auto check = [&]<VlmConfig C>(Constant<C>, const char* model) {
    const auto folder = tiny_folder(model, "hf");
    const auto checkpoint = load<C>(ctx, folder);
    const LayerFacts facts{.rope = checkpoint.vlm.facts.rope};
    const auto rows = random_values(40 * C.decoder.hidden, 0, 1, 1);
    const OwnedRows<float, C.decoder.hidden> loaded(ctx, rows);
    run_alone(ctx, checkpoint.vlm.language.blocks[1], loaded, facts);
    const LayerOfFile<C> second(folder, 1);
    CHECK(look_inside::own_layer<float, C.decoder>(ctx, second.tensors, facts, rows).values ==
          to_floats(ctx, loaded.view()).values);
  };
  check(Constant<qwen3_moe_tiny>{}, "qwen3_moe_tiny");
  check(Constant<gpt_oss_tiny>{}, "gpt_oss_tiny");
}

TEST_CASE("A model of tensors in memory gives the folder's logits, or the list of what is missing") {
  cpu::Context ctx(2);
  const ModelFacts& facts = tiny().vlm.facts;
  OwnTensors own = canonical_tensors<qwen3_tiny>(tiny_folder("qwen3_tiny", "hf"), facts, true);
  const std::vector<std::int32_t> ids{5, 6, 7, 8, 9, 10, 11};
  const HostRows rows = look_inside::own_model<float, qwen3_tiny>(ctx, own.views, facts, ids);
  CHECK(rows.values == logits<float>(ctx, tiny().vlm, ids).values);

  own.views["language.blocks.3.norm1.weight"] = own.views.at("language.blocks.2.norm1.weight");
  CHECK(own.views.erase("projector.fc1.bias") == 1);
  CHECK(own.views.erase("language.blocks.2.up.weight") == 1);
  CHECK(what_of<ConfigError>([&] { look_inside::own_model<float, qwen3_tiny>(ctx, own.views, facts, ids); }) ==
        "weights from memory: tensors differ from the type:"
        "\n  projector.fc1.bias: expected [48], found none"
        "\n  language.blocks.2.up.weight: expected [48, 48], found none"
        "\n  language.blocks.3.norm1.weight: expected none, found [48]");
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
