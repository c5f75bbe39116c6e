// Folders whose weights are quantised: their matrices are what numpy makes of the published layouts
// (tests/golden/make_quantised.py), and their logits are those of the same numbers as floats.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/int8_weights.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/convert_checkpoint.hpp"
#include "ivl/model/taps.hpp"
#include "tests/support/checkpoint_copy.hpp"
#include "tests/support/hex_sha256.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/text.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Wide enough for groups of 128 inputs, with heights and widths that no block of 128 x 128 divides.
constexpr VlmConfig quantised_tiny{
    .vit = qwen3_tiny.vit,
    .projector = {},
    .decoder = {.layers = 1,
                .hidden = 128,
                .attention = {.heads = 3, .kv_heads = 1, .head_dim = 64, .head_norm = true},
                .mlp_hidden = 256}};

constexpr std::string_view quantised_layer = "language_model.model.layers.0.";

const Json& quantised_cases() {
  static const Json document =
      read_json(std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/quantised/matrices.json");
  return document["cases"];
}

std::vector<std::byte> drawn_bytes(const std::string& name, std::size_t count) {
  const auto mix = [](std::uint64_t word) {
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
    word = (word ^ word >> 27) * 0x94D049BB133111EBu;
    return word ^ word >> 31;
  };
  std::uint64_t seed = 0xCBF29CE484222325u;
  for (const char c : name) seed = (seed ^ std::uint8_t(c)) * 0x100000001B3u;
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = std::byte(mix(seed + (i / 8 + 1) * 0x9E3779B97F4A7C15u) >> 8 * (i % 8) & 255);
  return bytes;
}

/// A tensor as make_quantised.py draws it.
OwnedTensor drawn_plane(const std::string& name, Dtype dtype, const Shape& shape, int exponent) {
  const auto count = std::size_t(*elements_of(shape));
  if (dtype == Dtype::u8) return {dtype, shape, std::vector<std::byte>(count)};
  if (!scalar_kind(dtype)) {
    std::vector<std::byte> bytes = drawn_bytes(name, std::size_t(*bytes_of(dtype, shape)));
    for (std::byte& byte : bytes) {
      if (dtype == Dtype::f8_e4m3 && (byte & std::byte{127}) == std::byte{127}) byte &= std::byte{254};
    }
    return {dtype, shape, bytes};
  }
  const std::vector<std::byte> words = drawn_bytes(name, 4 * count);
  OwnedTensor tensor{dtype, shape, {}};
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, words.data() + 4 * i, sizeof bits);
    const std::uint32_t power = std::uint32_t(127 + exponent) - (bits >> 30);
    bits = power << 23 | (bits & 0x7fffff);
    if (dtype == Dtype::bf16) bits >>= 16;
    if (dtype == Dtype::f16) bits = (power - 112) << 10 | (bits & 0x7fffff) >> 13;
    const auto* from = reinterpret_cast<const std::byte*>(&bits);
    tensor.bytes.insert(tensor.bytes.end(), from, from + bits_of(dtype) / 8);
  }
  return tensor;
}

/// The folder becomes one of quantised_tiny, in bf16.
void draw_quantised_tiny(CheckpointCopy& copy, FolderFormat format) {
  copy.edit_json("config.json", [&](Json& config) {
    config[format == FolderFormat::hf ? "text_config" : "llm_config"].update({{"hidden_size", 128},
                                                                              {"head_dim", 64},
                                                                              {"num_attention_heads", 3},
                                                                              {"intermediate_size", 256},
                                                                              {"num_hidden_layers", 1}});
  });
  copy.tensors.clear();
  Vlm<quantised_tiny> vlm;
  ModelFacts facts;
  facts.format = format;
  facts.family = Family::qwen3;
  facts.vocab_rows = 320;
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.05f, 0.1f);
  const Binding binding = bind_weights(weight_slots(vlm), facts, NoTensors{});
  Binding::each_tensor(binding, [&](const BoundTensor& tensor) {
    OwnedTensor& drawn = copy.tensors[tensor.name] = {Dtype::bf16, tensor.shape, {}};
    for (std::int64_t i = *elements_of(tensor.shape); i > 0; --i) {
      const std::uint16_t bits = round_to<bf16>(normal(random)).bits;
      drawn.bytes.insert(drawn.bytes.end(), {std::byte(bits & 255), std::byte(bits >> 8)});
    }
  });
}

/// The matrices of a case in place of those of the folder, and its config; `object`: where that stands.
void quantise_copy(CheckpointCopy& copy, const std::string& name, const char* object) {
  const Json& one = quantised_cases().at(name);
  copy.edit_json("config.json",
                 [&](Json& config) { (*object ? config[object] : config)["quantization_config"] = one["config"]; });
  for (const auto& [matrix, description] : one["matrices"].items()) {
    REQUIRE(copy.tensors.erase(matrix + ".weight") == 1);
    for (const auto& [suffix, plane] : description["planes"].items()) {
      Shape shape;
      for (const Json& size : plane[1]) shape.push_back(size.get<int>());
      const std::string tensor = matrix + "." + suffix;
      copy.tensors[tensor] = drawn_plane(tensor, *find_dtype(plane[0].get<std::string>()), shape, one["exponent"]);
    }
  }
  copy.write_tensors();
}

/// Every matrix of the case means the numbers whose hash the golden file has. The folder's matrices become those
/// floats.
template <VlmConfig C>
void widen_quantised(CheckpointCopy& copy, const std::string& name, const ModelFacts& facts) {
  const Json& matrices = quantised_cases().at(name).at("matrices");
  std::size_t found = 0;
  const FolderWeights folder(copy.path());
  Vlm<C> vlm;
  for (const BoundWeight& weight : bind_weights(weight_slots(vlm), facts, folder).weights) {
    if (weight.slot.in == 0 || weight.slot.table != nullptr || weight.slot.shape) continue;
    const std::vector<SourceMatrix> sources = detail::matrices_of(weight);
    REQUIRE(sources.size() == weight.pieces.size());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const BoundPiece& piece = weight.pieces[i];
      if (piece.form.as == StoredAs::scalars) continue;
      const std::string& plane = piece.planes[0].name;
      const std::string matrix = plane.substr(0, plane.rfind('.'));
      CAPTURE(matrix);
      OwnedTensor floats{Dtype::f32, {sources[i].out, sources[i].in}, {}};
      std::vector<float> row(std::size_t(sources[i].in));
      for (std::int64_t o = 0; o < sources[i].out; ++o) {
        dequantise_row(sources[i], o, row.data());
        const auto bytes = std::as_bytes(std::span(row));
        floats.bytes.insert(floats.bytes.end(), bytes.begin(), bytes.end());
      }
      CHECK(test::hex_sha256(floats.bytes) == matrices.at(matrix).at("sha256"));
      ++found;
      std::erase_if(copy.tensors, [&](const auto& tensor) {
        return tensor.first.starts_with(matrix + ".") && !tensor.first.ends_with(".bias");
      });
      copy.tensors[matrix + ".weight"] = floats;
    }
  }
  CHECK(found == matrices.size());
}

template <VlmConfig C>
std::vector<float> quantised_logits(cpu::Context& ctx, const CheckpointCopy& copy, ModelFacts* facts = nullptr) {
  const auto loaded = load<C>(ctx, copy.path());
  if (facts != nullptr) *facts = loaded.vlm.facts;
  const std::int32_t ids[] = {5, 17, 200, 3, 42, 101, 7};
  return logits<float>(ctx, loaded.vlm, ids).values;
}

/// Name -> shape and bytes of all tensors, floats rounded to bf16.
std::map<std::string, std::string> in_bf16(const std::map<std::string, OwnedTensor>& tensors) {
  std::map<std::string, std::string> result;
  for (const auto& [name, tensor] : tensors) {
    std::string bytes(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    if (tensor.dtype == Dtype::f32) {
      std::string rounded;
      for (std::size_t at = 0; at < bytes.size(); at += sizeof(float)) {
        float number;
        std::memcpy(&number, bytes.data() + at, sizeof number);
        const bf16 half = round_to<bf16>(number);
        rounded.append(reinterpret_cast<const char*>(&half), sizeof half);
      }
      bytes = rounded;
    }
    result[published_name(name)] = shape_text(tensor.shape) + bytes;
  }
  return result;
}

/// The folder means its matrices, computes with them, and is converted to them in bf16.
template <VlmConfig C>
void check_quantised(CheckpointCopy& copy, const std::string& name, const char* object) {
  CAPTURE(name);
  cpu::Context ctx(1);
  quantise_copy(copy, name, object);
  ModelFacts facts;
  const std::vector<float> found = quantised_logits<C>(ctx, copy, &facts);
  const test::TemporaryFolder work;
  convert_checkpoint(copy.path(), work / "bf16", {});
  widen_quantised<C>(copy, name, facts);
  copy.edit_json("config.json",
                 [&](Json& config) { (*object ? config[object] : config).erase("quantization_config"); });
  copy.write_tensors();
  CHECK(in_bf16(CheckpointCopy(work / "bf16").tensors) == in_bf16(copy.tensors));
  CHECK(read_json(work / "bf16" / "config.json") == read_json(copy / "config.json"));
  const std::vector<float> wanted = quantised_logits<C>(ctx, copy);
  REQUIRE(found.size() == wanted.size());
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::abs(wanted[i]));
    difference = std::max(difference, std::abs(found[i] - wanted[i]));
  }
  CHECK(largest > 0.1f);
  // AWQ is multiplied as it is stored: its sums of at most 256 products come in another order. All others are placed as
  // the floats that they mean, so that no bit differs.
  CHECK(difference <= (name == "awq" ? 256 * 0x1p-24f * largest : 0));
}

TEST_CASE("A quantised folder means the numbers of its published layout and computes with them exactly") {
  for (const auto& [name, one] : quantised_cases().items()) {
    if (name == "fp8_experts") continue;
    const bool inside = one["config"]["quant_method"] == "awq";
    const bool tower = name == "llm_int8";  // named as in the GitHub format
    if (!tower) {
      CheckpointCopy hf(tiny_folder("qwen3_tiny", "hf"));
      draw_quantised_tiny(hf, FolderFormat::hf);
      check_quantised<quantised_tiny>(hf, name, inside ? "text_config" : "");
    }
    if (!tower && name != "awq" && name != "fp8_blocks") continue;
    CheckpointCopy github(tiny_folder("qwen3_tiny", "github"));
    draw_quantised_tiny(github, FolderFormat::github);
    check_quantised<quantised_tiny>(github, name, inside ? "llm_config" : "");
  }
}

TEST_CASE("Experts in FP8 mean the numbers of their published layout and compute with them exactly") {
  for (const char* format : {"hf", "github"}) {
    CheckpointCopy copy(tiny_folder("qwen3_moe_tiny", format));
    check_quantised<qwen3_moe_tiny>(copy, "fp8_experts", "");
  }
}

TEST_CASE("A folder of floats loaded as int8 computes as the folder that bitsandbytes would save of it") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
  draw_quantised_tiny(copy, FolderFormat::github);
  copy.write_tensors();
  cpu::Context ctx(1);
  const auto logits_as = [&](LoadAs as) {
    const auto loaded = load<quantised_tiny>(ctx, copy.path(), {.load_as = as});
    const std::int32_t ids[] = {5, 17, 200, 3, 42, 101, 7};
    return logits<float>(ctx, loaded.vlm, ids).values;
  };
  const std::vector<float> floats = logits_as(LoadAs::stored), found = logits_as(LoadAs::int8);
  CHECK(found != floats);
  {
    const FolderWeights files(copy.path());
    const Int8Weights weights(files, read_checkpoint_config(copy.path()).facts, "there");
    for (const std::string& name : weights.names()) {
      const TensorView* view = weights.find(name);
      weights.prepare(*view);
      copy.tensors[name] = {view->dtype, view->shape, {view->bytes.begin(), view->bytes.end()}};
    }
  }
  copy.write_tensors();
  CHECK(found == logits_as(LoadAs::stored));
  CHECK(contains(what_of<ConfigError>([&] { logits_as(LoadAs::int8); }),
                 "expected weights in F32, BF16 or F16 to load as int8, found quantised ones"));
}

// ---- what is wrong
// ---------------------------------------------------------------------------------------------------
/// What loading a folder of a case says once `change` was at its tensors, behind the folder's name.
template <class Kind, class Change>
std::string quantised_error(const std::string& name, const Change& change) {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
  draw_quantised_tiny(copy, FolderFormat::github);
  quantise_copy(copy, name, "");
  change(copy.tensors);
  copy.write_tensors();
  cpu::Context ctx(1);
  const std::string text = what_of<Kind>([&] { load<quantised_tiny>(ctx, copy.path()); });
  REQUIRE(text.starts_with(copy.path().string()));
  return text.substr(copy.path().string().size());
}

using Tensors = std::map<std::string, OwnedTensor>;

TEST_CASE("Planes of quantised matrices that are missing, misshapen or of another type are listed by name") {
  const std::string q = std::string(quantised_layer) + "self_attn.q_proj",
                    down = std::string(quantised_layer) + "mlp.down_proj";
  const std::string differ = ": tensors differ from the type:";
  const auto error = [](const char* name, const auto& change) { return quantised_error<ConfigError>(name, change); };
  CHECK(error("awq",
              [&](Tensors& tensors) {
                tensors.at(q + ".qweight").shape = {16, 192};  // as GPTQ has it
                tensors.at(down + ".qzeros").dtype = Dtype::u32;
                tensors.erase(down + ".scales");
              }) == differ + "\n  " + q + ".qweight: expected [128, 24], found [16, 192]\n  " + down +
                        ".scales: expected [2, 128], found none\n  " + down + ".qzeros: expected I32, found U32");
  CHECK(error("fp8_blocks",
              [&](Tensors& tensors) {
                tensors.at(q + ".weight_scale_inv").shape = {1, 2};
                tensors.at(down + ".weight").dtype = Dtype::f8_e5m2;
              }) == differ + "\n  " + q + ".weight_scale_inv: expected [2, 1], found [1, 2]\n  " + down +
                        ".weight: expected F8_E4M3, found F8_E5M2");
  CHECK(error("fp8_rows",
              [&](Tensors& tensors) {
                tensors.at(q + ".weight_scale").shape = {96, 2};
                tensors.at(down + ".weight").dtype = Dtype::u8;
                tensors[down + ".weight_zero_point"] = {Dtype::i8, {1}, std::vector<std::byte>(1)};
              }) == differ + "\n  " + q + ".weight_scale: expected [192, 1], found [96, 2]\n  " + down +
                        ".weight: expected F8_E4M3 or I8, found U8\n  " + down +
                        ".weight_zero_point: expected none, found [1]");
  CHECK(error("int4",
              [&](Tensors& tensors) {
                tensors.at(down + ".weight_scale").shape = {1, 256};
                tensors[q + ".weight_g_idx"] = {Dtype::i32, {128}, std::vector<std::byte>(512)};
              }) == differ + "\n  " + down + ".weight_scale: expected [128, 2], found [1, 256]\n  " + q +
                        ".weight_g_idx: expected none, found [128]");
  CHECK(error("llm_int8", [&](Tensors& tensors) {
          tensors.at(q + ".SCB").dtype = Dtype::i32;
          tensors.at(down + ".weight_format").bytes[0] = std::byte{2};
        }) == differ + "\n  " + q + ".SCB: expected F32, found I32\n  " + down + ".weight_format: expected 0, found 2");
  CHECK(error("int8", [&](Tensors& tensors) { tensors.erase(q + ".weight_scale"); }) ==
        differ + "\n  " + q + ".weight: expected F32, BF16 or F16, found I8");
}

TEST_CASE("A matrix that its groups do not divide is refused by its name") {
  const std::string out = std::string(quantised_layer) + "self_attn.o_proj";
  const std::string error = quantised_error<FileError>("awq", [&](Tensors& tensors) {
    tensors.erase(out + ".weight");
    tensors[out + ".qweight"] = drawn_plane(out, Dtype::i32, {192, 16}, 0);
    tensors[out + ".qzeros"] = drawn_plane(out, Dtype::i32, {1, 16}, 0);
    tensors[out + ".scales"] = drawn_plane(out, Dtype::f16, {1, 128}, -6);
  });
  CHECK(error == ": " + out + ".qweight: a matrix in awq: expected rows of whole blocks of 128, found 192 columns");
}

TEST_CASE("What is not a number in a quantised matrix is an error that names its tensor") {
  const std::string up = std::string(quantised_layer) + "mlp.up_proj",
                    v = std::string(quantised_layer) + "self_attn.v_proj";
  const auto with = [](const char* name, const std::string& tensor, std::uint32_t bits, std::size_t bytes) {
    return quantised_error<FileError>(name, [&](Tensors& tensors) {
      auto& all = tensors.at(tensor).bytes;
      std::memcpy(all.data() + (all.size() / bytes - 1) * bytes, &bits, bytes);
    });
  };
  const std::string scale = ": a scale is not a finite number";
  CHECK(with("awq", up + ".scales", 0x7c00, 2) == ": " + up + ".scales" + scale);
  CHECK(with("awq_f32", v + ".scales", 0x7fc00000, 4) == ": " + v + ".scales" + scale);
  CHECK(with("fp8_blocks", up + ".weight_scale_inv", 0xff800000, 4) == ": " + up + ".weight_scale_inv" + scale);
  CHECK(with("fp8_tensor", v + ".weight_scale", 0x7f800000, 4) == ": " + v + ".weight_scale" + scale);
  CHECK(with("int8", up + ".weight_scale", 0x7fc0, 2) == ": " + up + ".weight_scale" + scale);
  CHECK(with("int4", v + ".weight_scale", 0x7f80, 2) == ": " + v + ".weight_scale" + scale);
  CHECK(with("llm_int8", up + ".SCB", 0x7fc00000, 4) == ": " + up + ".SCB" + scale);
  CHECK(with("fp8_rows", v + ".weight", 0x7f, 1) == ": " + v + ".weight: a weight of FP8 is NaN");
  CHECK(with("fp8_blocks", up + ".weight", 0xff, 1) == ": " + up + ".weight: a weight of FP8 is NaN");
}

}  // namespace
