// The one list of fields: it is whole, and what is made of it agrees.
#include "ivl/config/fields.hpp"

#include <doctest/doctest.h>

#include <string>

#include "ivl/checkpoint/config_json.hpp"
#include "ivl/config/checkpoints.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

struct AnyValue {
  template <class Value>
  constexpr operator Value() const;
};
/// Members of an aggregate.
template <class Config, class... Values>
constexpr int members() {
  if constexpr (requires { Config{Values{}..., AnyValue{}}; })
    return members<Config, Values..., AnyValue>();
  else
    return sizeof...(Values);
}
template <class Config>
constexpr int listed() {
  int number = 0;
  const Config config{};
  each_field(config, [&](std::string_view, const auto&) { ++number; });
  return number;
}
static_assert(listed<VitConfig>() == members<VitConfig>() && members<VitConfig>() == 10);
static_assert(listed<ProjectorConfig>() == members<ProjectorConfig>());
static_assert(listed<AttentionConfig>() == members<AttentionConfig>());
static_assert(listed<MoeConfig>() == members<MoeConfig>());
static_assert(listed<DecoderConfig>() == members<DecoderConfig>());
static_assert(listed<VlmConfig>() == members<VlmConfig>());

}  // namespace

TEST_CASE("A field that differs is one line, whatever its type") {
  VlmConfig other = internvl3_5_gpt_oss_20b_a4b;
  CHECK(config_differences(other, internvl3_5_gpt_oss_20b_a4b) == "");
  other.vit.norm = NormKind::rms_norm;
  other.projector.scale = 4;
  other.decoder.attention.window_layers = WindowLayers::odd;
  other.decoder.moe.bias = false;
  CHECK(config_differences(other, internvl3_5_gpt_oss_20b_a4b) ==
        "\n  vit.norm: the file says rms_norm, the type layer_norm\n  projector.scale: the file says 4, the type 2"
        "\n  decoder.attention.window_layers: the file says odd, the type even"
        "\n  decoder.moe.bias: the file says false, the type true");
}

TEST_CASE("A structure that was read breaks the rules that a type would") {
  const auto rule_of = [](auto change) {
    VlmConfig config = internvl3_5_gpt_oss_20b_a4b;
    change(config);
    return broken_rule(config);
  };
  CHECK(rule_of([](VlmConfig&) {}) == "");
  CHECK(rule_of([](VlmConfig& c) { c.decoder.attention.head_dim = 24; }) ==
        "AttentionConfig: head_dim must be a multiple of 16, one tensor-core tile");
  CHECK(rule_of([](VlmConfig& c) { c.vit.heads = 0; }) == "VitConfig: every size must be set and positive");
  CHECK(rule_of([](VlmConfig& c) { c.vit.heads = 3; }) == "VitConfig: hidden must split evenly over heads");
  CHECK(rule_of([](VlmConfig& c) { c.projector.scale = 0; }) ==
        "VlmConfig: the patch grid (tile_px / patch_px) must be a whole number of blocks of the projector");
  CHECK(rule_of([](VlmConfig& c) { c.decoder.moe.mlp_hidden = 48; }) ==
        "MoeConfig: mlp_hidden must be a multiple of 32, one block of MXFP4");
  CHECK(rule_of([](VlmConfig& c) { c.decoder.mlp_hidden = 32; }) ==
        "DecoderConfig: exactly one of mlp_hidden (dense layers) and moe (mixtures of experts) must be set");
}

TEST_CASE("A structure survives JSON, and JSON that is no structure is refused by name") {
  for (const VlmConfig& config : {internvl3_38b, internvl3_5_gpt_oss_20b_a4b, drawn_scenes})
    CHECK(config_from_json<VlmConfig>(config_json(config), "here") == config);
  CHECK(config_json(internvl3_38b)["vit"]["norm"] == "rms_norm");
  CHECK(config_from_json<MoeConfig>({{"experts", 8}}, "here") == MoeConfig{.experts = 8});
  const auto error = [](const Json& json) {
    return test::error_of<FileError>([&] { config_from_json<VlmConfig>(json, "here"); });
  };
  CHECK(error({{"vit", {{"layers", "many"}}}}).starts_with("here: vit: layers: expected an integer"));
  CHECK(error({{"vit", {{"norm", "batch"}}}}).starts_with("here: vit: norm: expected layer_norm or rms_norm"));
  CHECK(error({{"vit", {{"layer", 3}}}}) == "here: vit: 'layer' is no field of this structure");
}
