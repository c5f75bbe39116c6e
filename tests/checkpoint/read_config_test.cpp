// config.json of both formats: what is read of it, and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/checkpoint_copy.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/config/checkpoints.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

Json document(std::string_view name, std::string_view format) {
  return read_json(tiny_folder(name, format) / "config.json");
}

CheckpointConfig parse(const Json& json) { return parse_checkpoint_config(json, "config.json"); }

TEST_CASE("Both formats of one checkpoint say the same structure and facts") {
  const CheckpointConfig hf = parse(document("qwen3_tiny", "hf")), github = parse(document("qwen3_tiny", "github"));
  CHECK(hf.vlm == qwen3_tiny);
  CHECK(github.vlm == qwen3_tiny);
  CHECK(hf.facts.format == FolderFormat::hf);
  CHECK(github.facts.format == FolderFormat::github);
  CHECK(github.facts.prompt_template == "internvl2_5");
  for (const ModelFacts& facts : {hf.facts, github.facts}) {
    CHECK(facts.vocab_rows == 320);
    CHECK(facts.context_length == 4096);
    CHECK(facts.rope == RopeFacts{.base = 1e6, .context = 4096});
    CHECK(facts.vision_norm_eps == 1e-6f);
    CHECK(facts.language_norm_eps == 1e-6f);
    CHECK(!facts.tied_head);
    CHECK(facts.stop_ids == std::vector{282});
    CHECK(facts.image.max_tiles == 12);
  }
  const CheckpointConfig dynamic = parse(document("qwen2_dynamic", "hf"));
  CHECK(dynamic.vlm == qwen2_dynamic);
  CHECK(dynamic.facts.rope == RopeFacts{.kind = RopeKind::dynamic_ntk, .base = 1e4, .factor = 2, .context = 64});
  CHECK(dynamic.facts.context_length == 128);
  for (const char* format : {"hf", "github"}) CHECK(parse(document("qwen3_moe_tiny", format)).vlm == qwen3_moe_tiny);
  for (const char* format : {"hf", "github", "mxfp4"}) {
    const CheckpointConfig gpt_oss = parse(document("gpt_oss_tiny", format));
    CHECK(gpt_oss.vlm == gpt_oss_tiny);
    CHECK(gpt_oss.facts.context_length == 256);
    CHECK(gpt_oss.facts.rope == RopeFacts{.kind = RopeKind::yarn,
                                          .base = 1e4,
                                          .factor = 4,
                                          .context = 64,
                                          .beta_fast = 32,
                                          .beta_slow = 1,
                                          .truncate = false,
                                          .attention_factor = 0.1 * std::log(4.0) + 1});
  }
  const CheckpointConfig tower_6b = parse(document("vit6b_qwen3", "github"));
  CHECK(tower_6b.vlm.vit.norm == NormKind::rms_norm);
  CHECK(!tower_6b.vlm.vit.qkv_bias);
  CHECK(tower_6b.vlm.vit.qk_norm);
}

TEST_CASE("What the keys of a config mean, where they are there and where not") {
  Json github = document("qwen3_tiny", "github"), hf = document("qwen3_tiny", "hf");
  github["llm_config"].erase("head_dim");
  github["llm_config"]["num_attention_heads"] = 3;
  CHECK(parse(github).vlm.decoder.attention.head_dim == 16);
  github.erase("ps_version");
  CHECK(parse(github).vlm.projector.order == ShuffleOrder::v1);
  CHECK(parse(hf).vlm.projector.order == ShuffleOrder::v2);
  REQUIRE(parse(github).facts.image.max_tiles == 12);
  github.erase("max_dynamic_patch");
  CHECK(parse(github).facts.image.max_tiles == 6);
  github["max_dynamic_patch"] = 9;
  CHECK(parse(github).facts.image.max_tiles == 9);
  github["dynamic_image_size"] = false;
  CHECK(parse(github).facts.image.max_tiles == 1);
  github.erase("dynamic_image_size");
  CHECK(parse(github).facts.image.max_tiles == 1);
  github.erase("use_thumbnail");
  CHECK(!parse(github).facts.image.thumbnail);
  github["llm_config"]["eos_token_id"] = {7, 8};
  CHECK(parse(github).facts.stop_ids == std::vector{7, 8});
  github["llm_config"]["eos_token_id"] = nullptr;
  CHECK(parse(github).facts.stop_ids.empty());
  hf["vision_config"]["image_size"] = 56;
  CHECK(parse(hf).vlm == qwen3_tiny);
  hf["downsample_ratio"] = 0.25;
  hf["image_seq_length"] = 1;
  CHECK(parse(hf).vlm.projector.scale == 4);
  hf["text_config"].erase("rope_theta");
  hf["text_config"]["rope_parameters"] = {{"rope_theta", 500000.0}, {"rope_type", "default"}};
  CHECK(parse(hf).facts.rope.base == 500000);
  // InternVLConfig of transformers ties unless it is told not to; the reference of the GitHub format does not.
  hf.erase("tie_word_embeddings");
  CHECK(parse(hf).facts.tied_head);
  github.erase("tie_word_embeddings");
  CHECK(!parse(github).facts.tied_head);
}

struct Refusal {
  const char* place;  ///< JSON pointer
  Json value;         ///< null: the key is erased
  const char* text;   ///< what the error says
};

void check_refusals(const Json& good, const std::vector<Refusal>& refusals) {
  parse(good);
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.place);
    const std::string value = refusal.value.dump();
    CAPTURE(value);
    Json bad = good;
    const Json::json_pointer place(refusal.place);
    if (refusal.value.is_null())
      bad[place.parent_pointer()].erase(place.back());
    else
      bad[place] = refusal.value;
    const std::string text = what_of<Error>([&] { parse(bad); });
    CHECK(text.starts_with("config.json: "));
    CAPTURE(text);
    CHECK(contains(text, refusal.text));
  }
}

TEST_CASE("A config that the library cannot run is refused with key, expectation and finding: GitHub format") {
  check_refusals(
      document("qwen3_tiny", "github"),
      {
          {"/model_type", "llava", "model_type: expected one of internvl_chat, internvl, found 'llava'"},
          {"/model_type", nullptr, "model_type: expected a value, found none"},
          {"/model_type", 3, "model_type: expected a string, found 3"},
          {"/architectures", {"MambaForCausalLM"}, "expected InternVLChatModel, found [\"MambaForCausalLM\"]"},
          {"/architectures", {"InternVLForConditionalGeneration"}, "architectures: expected InternVLChatModel, found"},
          {"/llm_config", nullptr, "llm_config: expected an object, found none"},
          {"/llm_config/model_type", "mamba",
           "llm_config: model_type: expected one of qwen2, qwen3, qwen3_moe, gpt_oss, internlm3, llama, found 'mamba'"},
          {"/llm_config/model_type", "qwen2", "model_type: expected qwen3 beside Qwen3ForCausalLM, found 'qwen2'"},
          {"/vision_config/model_type", "clip",
           "vision_config: model_type: expected one of intern_vit_6b, internvl_vision, found 'clip'"},
          {"/vision_config/architectures",
           {"CLIPVisionModel"},
           "architectures: expected one of InternVisionModel, InternVLVisionModel, found [\"CLIPVisionModel\"]"},
          {"/vision_config", {1, 2}, "vision_config: expected an object, found an array of 2"},
          {"/llm_config/architectures",
           {"InternLM2ForCausalLM"},
           "architectures: expected one of Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM, GptOssForCausalLM, "
           "InternLM3ForCausalLM, LlamaForCausalLM, found [\"InternLM2ForCausalLM\"]"},
          {"/llm_config/architectures", "Qwen3ForCausalLM", "llm_config: architectures: expected an array"},
          {"/llm_config/architectures", Json::array(), "found []"},
          {"/llm_config/hidden_size", nullptr, "llm_config: hidden_size: expected a value, found none"},
          {"/llm_config/hidden_size", 0, "hidden_size: expected a size from 1 to 1048576, found 0"},
          {"/llm_config/hidden_size", -1, "hidden_size: expected a size from 1 to 1048576, found -1"},
          {"/llm_config/hidden_size", 1000000000, "hidden_size: expected a size from 1 to 1048576, found 1000000000"},
          {"/llm_config/hidden_size", 5000000000, "found 5000000000"},
          {"/llm_config/hidden_size", "48", "hidden_size: expected an integer"},
          {"/llm_config/hidden_size", 48.5, "found 48.5"},
          {"/llm_config/num_hidden_layers", 0, "llm_config: num_hidden_layers: expected a size"},
          {"/llm_config/intermediate_size", -7, "intermediate_size: expected a size"},
          {"/llm_config/num_attention_heads", 0, "num_attention_heads: expected a size"},
          {"/llm_config/num_key_value_heads", 0, "num_key_value_heads: expected a size"},
          {"/llm_config/head_dim", 0, "head_dim: expected a size"},
          {"/llm_config/vocab_size", 0, "vocab_size: expected a size"},
          {"/llm_config/max_position_embeddings", 0, "max_position_embeddings: expected a size"},
          {"/llm_config/hidden_act", "gelu", "hidden_act: expected \"silu\", found the string 'gelu'"},
          {"/llm_config/use_sliding_window", true, "use_sliding_window: expected false, found true"},
          {"/llm_config/attention_bias", true, "attention_bias: expected false, found true"},
          {"/llm_config/rms_norm_eps", nullptr, "rms_norm_eps: expected a value, found none"},
          {"/llm_config/rms_norm_eps", "1e-6", "rms_norm_eps: expected a number"},
          {"/llm_config/rope_theta", nullptr, "rope_theta: expected a value, found none"},
          {"/llm_config/rope_theta", 0, "rope_theta: expected a positive number"},
          {"/llm_config/rope_scaling",
           {{"rope_type", "llama3"}, {"factor", 4}},
           "rope_scaling: rope_type: expected default, dynamic or yarn, found llama3"},
          {"/llm_config/rope_scaling",
           {{"rope_type", "yarn"}, {"factor", 4}},
           "rope_scaling: original_max_position_embeddings: expected a value, found none"},
          {"/llm_config/rope_scaling", {{"type", "linear"}, {"factor", 4}}, "found linear"},
          {"/llm_config/rope_scaling",
           {{"rope_type", "dynamic"}},
           "rope_scaling: factor: expected a value, found none"},
          {"/llm_config/rope_scaling", {{"rope_type", "dynamic"}, {"factor", 0.5}}, "factor: expected at least 1"},
          {"/llm_config/rope_scaling", 4, "rope_scaling: expected an object, found 4"},
          {"/vision_config/hidden_size", 0, "vision_config: hidden_size: expected a size"},
          {"/vision_config/num_attention_heads", -1, "num_attention_heads: expected a size"},
          {"/vision_config/norm_type", "batch_norm", "norm_type: expected layer_norm or rms_norm, found batch_norm"},
          {"/vision_config/norm_type", nullptr, "norm_type: expected a value, found none"},
          {"/vision_config/hidden_act", "quick_gelu", "hidden_act: expected \"gelu\", found the string 'quick_gelu'"},
          {"/vision_config/num_channels", 1, "num_channels: expected 3, found 1"},
          {"/vision_config/qkv_bias", 1, "qkv_bias: expected true or false, found 1"},
          {"/vision_config/qk_normalization", nullptr, "qk_normalization: expected a value, found none"},
          {"/vision_config/image_size", {56, 28}, "image_size: expected one number, or two equal ones, found [56,28]"},
          {"/vision_config/patch_size", Json::array(), "patch_size: expected one number, or two equal ones, found []"},
          {"/vision_config/patch_size", {0, 0}, "patch_size: expected a size"},
          {"/force_image_size", 448, "force_image_size: expected 56, found 448"},
          {"/select_layer", -2, "select_layer: expected -1, found -2"},
          {"/pad2square", true, "pad2square: expected false, found true"},
          {"/flash_mode", true, "flash_mode: expected false, found true"},
          {"/ps_version", "v3", "ps_version: expected v1 or v2, found v3"},
          {"/downsample_ratio", 0, "downsample_ratio: expected more than 0, at most 1"},
          {"/downsample_ratio", 2, "downsample_ratio: expected more than 0, at most 1"},
          {"/template", nullptr, "template: expected a value, found none"},
          {"/tie_word_embeddings", "no", "tie_word_embeddings: expected true or false"},
      });
}

TEST_CASE("A config that the library cannot run is refused with key, expectation and finding: HF format") {
  check_refusals(
      document("qwen2_dynamic", "hf"),
      {
          {"/text_config", nullptr, "text_config: expected an object, found none"},
          {"/architectures", {"InternVLModel"}, "architectures: expected InternVLForConditionalGeneration"},
          {"/text_config/architectures", {"PhiForCausalLM"}, "found [\"PhiForCausalLM\"]"},
          {"/text_config/model_type", "mamba", "text_config: model_type: expected one of qwen2"},
          {"/vision_config/use_mean_pooling", false, "use_mean_pooling: expected true, found false"},
          {"/vision_config/use_mask_token", true, "use_mask_token: expected false, found true"},
          {"/vision_config/use_absolute_position_embeddings", false,
           "use_absolute_position_embeddings: expected true, found false"},
          {"/vision_config/attention_bias", nullptr, "attention_bias: expected a value, found none"},
          {"/vision_config/use_qk_norm", "yes", "use_qk_norm: expected true or false"},
          {"/vision_feature_layer", -2, "vision_feature_layer: expected -1, found -2"},
          {"/vision_feature_select_strategy", "full", "expected \"default\", found the string 'full'"},
          {"/projector_hidden_act", "relu", "projector_hidden_act: expected \"gelu\", found the string 'relu'"},
      });
}

TEST_CASE("What the keys of mixtures, of YaRN and of InternLM3 mean, where they are there and where not") {
  Json moe = document("qwen3_moe_tiny", "hf"), gpt_oss = document("gpt_oss_tiny", "github");
  moe["text_config"].erase("architectures");  // model_type says it too
  moe["text_config"].erase("num_experts");
  moe["text_config"]["num_local_experts"] = 8;  // as transformers 5 writes it
  moe["text_config"]["mlp_only_layers"] = nullptr;
  moe["text_config"]["layer_types"] = {"full_attention", "full_attention"};
  CHECK(parse(moe).vlm == qwen3_moe_tiny);

  Json& language = gpt_oss["llm_config"];
  language.erase("layer_types");
  language.erase("num_experts_per_tok");  // experts_per_token says it too
  language["rope_parameters"] = language["rope_scaling"];
  language["rope_parameters"]["rope_theta"] = 5e4;
  for (const char* key : {"truncate", "beta_fast", "beta_slow"}) language["rope_parameters"].erase(key);
  language["rope_parameters"]["attention_factor"] = 1.5;
  CHECK(parse(gpt_oss).vlm == gpt_oss_tiny);
  CHECK(parse(gpt_oss).facts.rope ==
        RopeFacts{.kind = RopeKind::yarn, .base = 5e4, .factor = 4, .context = 64, .attention_factor = 1.5});

  Json internlm3 = document("qwen3_tiny", "github");
  Json& its = internlm3["llm_config"];
  its["architectures"] = {"InternLM3ForCausalLM"};
  its["model_type"] = "internlm3";
  its["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 6.0}};
  its["qkv_bias"] = its["bias"] = false;
  VlmConfig expected = qwen3_tiny;
  expected.decoder.attention.head_norm = false;
  CHECK(parse(internlm3).vlm == expected);
  CHECK(parse(internlm3).facts.context_length == 6 * 4096);
  CHECK(parse(internlm3).facts.family == Family::internlm3);
  its["architectures"] = {"LlamaForCausalLM"};
  CHECK(parse(internlm3).vlm == expected);
  its["model_type"] = "llama";
  CHECK(parse(internlm3).vlm == expected);
  CHECK(parse(internlm3).facts.family == Family::internlm3);
}

TEST_CASE("The family comes from the file, by its class, its type or both") {
  for (const auto& [name, family] :
       {std::pair{"qwen2_gqa7", Family::qwen2}, std::pair{"qwen3_tiny", Family::qwen3},
        std::pair{"qwen3_moe_tiny", Family::qwen3_moe}, std::pair{"gpt_oss_tiny", Family::gpt_oss},
        std::pair{"internlm3_tiny", Family::internlm3}}) {
    CAPTURE(name);
    Json json = document(name, "hf");
    CHECK(parse(json).facts.family == family);
    for (const char* object : {"text_config", "vision_config"}) json[object].erase("architectures");
    json.erase("architectures");
    CHECK(parse(json).facts.family == family);
    json = document(name, "hf");
    for (const char* object : {"text_config", "vision_config"}) json[object].erase("model_type");
    CHECK(parse(json).facts.family == family);
  }
  Json neither = document("qwen3_tiny", "hf");
  for (const char* key : {"architectures", "model_type"}) neither["text_config"].erase(key);
  CHECK(what_of<Error>([&] { parse(neither); }) ==
        "config.json: text_config: model_type: expected a value, found none");
}

TEST_CASE("layer_types says which layers have the window; without it, GPT-OSS's even ones do") {
  Json json = document("gpt_oss_tiny", "hf");
  Json& types = json["text_config"]["layer_types"];
  const std::string full = "full_attention", sliding = "sliding_attention";
  VlmConfig expected = gpt_oss_tiny;
  AttentionConfig& attention = expected.decoder.attention;
  CHECK(parse(json).vlm == expected);
  types = {full, sliding, full};
  attention.window_layers = WindowLayers::odd;
  CHECK(parse(json).vlm == expected);
  types = {sliding, sliding, sliding};
  attention.window_layers = WindowLayers::all;
  CHECK(parse(json).vlm == expected);
  types = {full, full, full};
  attention.window = 0;
  CHECK(parse(json).vlm == expected);
  json["text_config"].erase("layer_types");
  CHECK(parse(json).vlm == gpt_oss_tiny);
}

TEST_CASE("The numbers of the published configs of mixtures and of InternLM3 are their types") {
  Json vision_300m = document("qwen3_tiny", "github")["vision_config"],
       vision_6b = document("vit6b_qwen3", "github")["vision_config"];
  vision_300m.update({{"hidden_size", 1024},
                      {"num_hidden_layers", 24},
                      {"num_attention_heads", 16},
                      {"intermediate_size", 4096},
                      {"image_size", 448}});
  vision_6b.update({{"hidden_size", 3200},
                    {"num_hidden_layers", 45},
                    {"num_attention_heads", 25},
                    {"intermediate_size", 12800},
                    {"image_size", 448}});
  const auto parsed = [&](const char* like, const Json& vision, const Json& numbers) {
    Json json = document(like, "github");
    json["vision_config"] = vision;
    json["force_image_size"] = 448;
    json["llm_config"].update(numbers);
    json["llm_config"].erase("layer_types");
    return parse(json);
  };
  CHECK(parsed("qwen3_moe_tiny", vision_300m,
               {{"num_hidden_layers", 48},
                {"hidden_size", 2048},
                {"num_attention_heads", 32},
                {"num_key_value_heads", 4},
                {"head_dim", 128},
                {"num_experts", 128},
                {"num_experts_per_tok", 8},
                {"moe_intermediate_size", 768},
                {"intermediate_size", 6144}})
            .vlm == internvl3_5_30b_a3b);
  CHECK(parsed("qwen3_moe_tiny", vision_6b,
               {{"num_hidden_layers", 94},
                {"hidden_size", 4096},
                {"num_attention_heads", 64},
                {"num_key_value_heads", 4},
                {"head_dim", 128},
                {"num_experts", 128},
                {"num_experts_per_tok", 8},
                {"moe_intermediate_size", 1536},
                {"intermediate_size", 12288}})
            .vlm == internvl3_5_241b_a28b);
  const CheckpointConfig gpt_oss = parsed("gpt_oss_tiny", vision_300m,
                                          {{"num_hidden_layers", 24},
                                           {"hidden_size", 2880},
                                           {"num_attention_heads", 64},
                                           {"num_key_value_heads", 8},
                                           {"head_dim", 64},
                                           {"num_local_experts", 32},
                                           {"num_experts_per_tok", 4},
                                           {"intermediate_size", 2880},
                                           {"sliding_window", 128},
                                           {"max_position_embeddings", 131072},
                                           {"rope_theta", 150000},
                                           {"rope_scaling",
                                            {{"rope_type", "yarn"},
                                             {"factor", 32.0},
                                             {"beta_fast", 32.0},
                                             {"beta_slow", 1.0},
                                             {"original_max_position_embeddings", 4096},
                                             {"truncate", false}}}});
  CHECK(gpt_oss.vlm == internvl3_5_gpt_oss_20b_a4b);
  CHECK(gpt_oss.facts.context_length == 131072);
  CHECK(std::abs(gpt_oss.facts.rope.attention_factor - 1.3465735902799727) < 1e-15);
  const CheckpointConfig internlm3 = parsed("qwen3_tiny", vision_300m,
                                            {{"architectures", {"InternLM3ForCausalLM"}},
                                             {"model_type", "internlm3"},
                                             {"num_hidden_layers", 48},
                                             {"hidden_size", 4096},
                                             {"num_attention_heads", 32},
                                             {"num_key_value_heads", 2},
                                             {"head_dim", 128},
                                             {"intermediate_size", 10240},
                                             {"bias", false},
                                             {"qkv_bias", false},
                                             {"max_position_embeddings", 32768},
                                             {"rope_theta", 50000000},
                                             {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 6.0}}}});
  CHECK(internlm3.vlm == internvl3_9b);
  CHECK(internlm3.facts.rope == RopeFacts{.kind = RopeKind::dynamic_ntk, .base = 5e7, .factor = 6, .context = 32768});
}

TEST_CASE("A mixture, a window or a YaRN that the library cannot run is refused with key, expectation and finding") {
  check_refusals(
      document("qwen3_moe_tiny", "github"),
      {
          {"/llm_config/num_experts", nullptr, "num_local_experts: expected a value, found none"},
          {"/llm_config/num_experts", 0, "num_experts: expected a size"},
          {"/llm_config/num_experts_per_tok", 9, "num_experts_per_tok: expected at most the 8 experts, found 9"},
          {"/llm_config/moe_intermediate_size", nullptr, "moe_intermediate_size: expected a value, found none"},
          {"/llm_config/norm_topk_prob", nullptr, "norm_topk_prob: expected true, found false, its default"},
          {"/llm_config/norm_topk_prob", false, "norm_topk_prob: expected true"},
          {"/llm_config/decoder_sparse_step", 2, "decoder_sparse_step: expected 1, found 2"},
          {"/llm_config/mlp_only_layers", {1}, "mlp_only_layers: expected [], found an array of 1"},
          {"/llm_config/attention_bias", true, "attention_bias: expected false, found true"},
          {"/llm_config/layer_types",
           {"full_attention", "sliding_attention"},
           "layer_types: expected full_attention in layer 1, found sliding_attention"},
      });
  check_refusals(
      document("gpt_oss_tiny", "hf"),
      {
          {"/text_config/num_local_experts", 1 << 21, "num_local_experts: expected a size from 1 to 1048576"},
          {"/text_config/sliding_window", nullptr, "sliding_window: expected a value, found none"},
          {"/text_config/attention_bias", false, "attention_bias: expected true, found false"},
          {"/text_config/swiglu_limit", 6.0, "swiglu_limit: expected 7.0, found 6.0"},
          {"/text_config/swiglu_alpha", 1.0, "swiglu_alpha: expected 1.702, found 1.0"},
          {"/text_config/layer_types", {"sliding_attention"}, "layer_types: expected one for each layer, found 1"},
          {"/text_config/layer_types",
           {"full_attention", "full_attention", "sliding_attention"},
           "layer_types: expected sliding_attention in all layers, or in every second one, found [\"full"},
          {"/text_config/layer_types",
           {"sliding_attention", "chunked_attention", "sliding_attention"},
           "layer_types: expected full_attention or sliding_attention in layer 1, found chunked_attention"},
          {"/text_config/rope_scaling", nullptr, "rope_scaling: expected an object, since transformers puts YaRN"},
          {"/text_config/rope_scaling/factor", 0.5, "factor: expected at least 1"},
          {"/text_config/rope_scaling/factor", nullptr, "factor: expected a value, found none"},
          {"/text_config/rope_scaling/original_max_position_embeddings", 0, "expected a size from 1"},
          {"/text_config/rope_scaling/beta_slow", 0, "beta_fast: expected at least beta_slow, and that more than 0"},
          {"/text_config/rope_scaling/beta_fast", 0.5, "beta_fast: expected at least beta_slow"},
          {"/text_config/rope_scaling/mscale", 1.0, "mscale: expected null"},
          {"/text_config/rope_scaling/partial_rotary_factor", 0.5, "partial_rotary_factor: expected 1.0, found 0.5"},
          {"/text_config/rope_scaling/truncate", 1, "truncate: expected true or false"},
      });
  Json internlm3 = document("qwen3_tiny", "github");
  internlm3["llm_config"]["architectures"] = {"InternLM3ForCausalLM"};
  internlm3["llm_config"]["model_type"] = "internlm3";
  check_refusals(internlm3, {{"/llm_config/qkv_bias", true, "qkv_bias: expected false, found true"},
                             {"/llm_config/bias", true, "bias: expected false, found true"},
                             {"/llm_config/rope_scaling", {{"rope_type", "linear"}}, "found linear"}});
}

TEST_CASE("Weights that are quantised in a way that is not read are refused by name") {
  const auto refusal = [](const char* model, const char* format, const char* object, const Json& quantised) {
    Json json = document(model, format);
    (*object ? json[object] : json)["quantization_config"] = quantised;
    return what_of<ConfigError>([&] { parse(json); });
  };
  const std::string refused = "quantization_config: the weights of this folder are quantised: ";
  const std::string otherwise =
      ". Such weights cannot be loaded: use the folder of the model that they were made from, in bf16, or one in AWQ, "
      "FP8 or GGUF";
  CHECK(refusal("qwen3_tiny", "hf", "", {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}) ==
        "config.json: " + refused + "bitsandbytes in 4 bits (nf4 or fp4)" + otherwise);
  CHECK(contains(refusal("qwen3_tiny", "hf", "text_config", {{"quant_method", "torchao"}}), "quantised: torchao."));
  CHECK(contains(refusal("qwen3_tiny", "hf", "vision_config", {{"quant_method", "gptq"}}), "quantised: GPTQ"));
  CHECK(
      contains(refusal("qwen3_tiny", "hf", "", {{"quant_method", "modelopt"}}), "quantised: modelopt (FP8 or NVFP4)."));
  CHECK(contains(refusal("qwen3_tiny", "hf", "", {{"quant_method", "fbgemm_fp8"}}), "quantised: FP8 (fbgemm)."));
  CHECK(contains(refusal("qwen3_tiny", "hf", "", {{"quant_method", "new"}}), "quantised: 'new'."));
  CHECK(contains(refusal("qwen3_tiny", "hf", "", {{"bits", 4}}), "quantised: 'unknown'."));
  CHECK(contains(refusal("qwen3_tiny", "hf", "text_config", {{"quant_method", "mxfp4"}}), "GPT-OSS alone"));
  for (const char* object : {"", "text_config"}) {
    CHECK(refusal("gpt_oss_tiny", "mxfp4", object, {{"quant_method", "mxfp4"}}).empty());
    CHECK(refusal("qwen3_tiny", "hf", object, nullptr).empty());
  }

  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  const auto folder_refusal = [&] { return what_of<ConfigError>([&] { read_checkpoint_config(copy.path()); }); };
  CHECK(folder_refusal().empty());
  std::ofstream(copy / "hf_quant_config.json") << R"({"quantization": {"quant_algo": "NVFP4"}})";
  CHECK(contains(folder_refusal(), "hf_quant_config.json: the weights of this folder are quantised: 'NVFP4'"));
  std::ofstream(copy / "quantize_config.json") << R"({"bits": 4, "group_size": 128})";
  CHECK(contains(folder_refusal(), "quantize_config.json: the weights of this folder are quantised: GPTQ"));
}

TEST_CASE("Of quantised weights the ways that are read are taken, and every other value is refused by its name") {
  const auto refusal = [](const Json& base, const Json& more) {
    Json json = document("qwen3_tiny", "github");
    Json& quantised = json["llm_config"]["quantization_config"] = base;
    quantised.merge_patch(more);
    const std::string place = "config.json: llm_config: quantization_config: ",
                      text = what_of<ConfigError>([&] { parse(json); });
    CHECK((text.empty() || text.starts_with(place)));
    return text.empty() ? text : text.substr(place.size());
  };
  const auto check = [&](const Json& base, const std::vector<std::pair<Json, std::string>>& changes) {
    CHECK(refusal(base, Json::object()).empty());
    for (const auto& [change, expected] : changes) CHECK(refusal(base, change) == expected);
  };
  check({{"quant_method", "awq"}, {"version", "GEMM"}, {"bits", 4}, {"group_size", 128}, {"zero_point", true}},
        {{{{"bits", 8}}, "bits: expected 4, found 8"},
         {{{"group_size", 64}}, "group_size: expected 128, found 64"},
         {{{"version", "gemv"}}, "version: expected gemm, found gemv"},
         {{{"version", "exllama"}}, "version: expected gemm, found exllama"},
         {{{"zero_point", false}}, "zero_point: expected true, found false"},
         {{{"modules_to_not_convert", {"vision_model"}}}, ""}});
  check({{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {128, 128}}},
        {{{{"weight_block_size", {64, 64}}}, "weight_block_size: expected [128,128], found [64,64]"},
         {{{"weight_block_size", nullptr}}, ""},
         {{{"activation_scheme", "static"}}, ""},
         {{{"activation_scheme", "new"}}, "activation_scheme: expected dynamic or static, found new"},
         {{{"fmt", "e5m2"}}, "fmt: expected \"e4m3\", found \"e5m2\""}});
  check({{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}, {"llm_int8_threshold", 6.0}}, {});

  check({{"quant_method", "smooth_quant"}, {"quant_dtype", "float8_e4m3fn"}},
        {{{{"quant_dtype", "int4"}}, "quant_dtype: expected int8 or float8_e4m3fn, found int4"}});

  const auto scheme = [](const Json& change) { return Json{{"config_groups", {{"group_0", {{"weights", change}}}}}}; };
  const auto compressed = [](const char* format, const Json& weights) {
    return Json{{"quant_method", "compressed-tensors"},
                {"format", format},
                {"quantization_status", "compressed"},
                {"kv_cache_scheme", nullptr},
                {"sparsity_config", Json::object()},
                {"config_groups", {{"group_0", {{"weights", weights}, {"targets", {"Linear"}}}}}}};
  };
  const std::string weights = "config_groups: group_0: weights: ";
  const Json int8{{"num_bits", 8}, {"type", "int"}, {"strategy", "channel"}, {"symmetric", true}, {"dynamic", false}};
  check(compressed("int-quantized", int8),
        {{scheme({{"symmetric", false}}), weights + "symmetric: expected true, found false"},
         {scheme({{"num_bits", 4}}), weights + "num_bits: expected 8, found 4"},
         {scheme({{"strategy", "group"}}), weights + "strategy: expected channel or tensor, found group"},
         {scheme({{"type", "float"}}), weights + "type: expected int, found float"},
         {{{"format", "nvfp4-pack"}},
          "format: expected int-quantized or float-quantized or naive-quantized or pack-quantized, found nvfp4-pack"},
         {{{"kv_cache_scheme", {{"num_bits", 8}}}}, R"(kv_cache_scheme: expected none, found {"num_bits":8})"},
         {{{"transform_config", {{"r1", 1}}}}, R"(transform_config: expected none, found {"r1":1})"},
         {{{"quantization_status", "frozen"}}, "quantization_status: expected \"compressed\", found \"frozen\""}});
  check(compressed("float-quantized", {{"num_bits", 8}, {"type", "float"}, {"strategy", "tensor"}}),
        {{scheme({{"type", "int"}}), weights + "type: expected float, found int"},
         {scheme({{"strategy", "block"}, {"block_structure", {128, 128}}}), ""},
         {scheme({{"strategy", "block"}, {"block_structure", {64, 128}}}),
          weights + "block_structure: expected [128,128], found [64,128]"},
         {scheme({{"strategy", "group"}}), weights + "strategy: expected channel or tensor or block, found group"}});
  check(compressed("pack-quantized", {{"num_bits", 4}, {"type", "int"}, {"strategy", "group"}, {"group_size", 32}}),
        {{scheme({{"group_size", 128}, {"symmetric", false}}), ""},
         {scheme({{"group_size", 64}}), weights + "group_size: expected 32 or 128, found 64"},
         {scheme({{"num_bits", 8}}), weights + "num_bits: expected 4, found 8"},
         {scheme({{"actorder", "static"}}), ""},
         {scheme({{"actorder", "group"}}), weights + "actorder: expected static or none, found \"group\""}});
}

TEST_CASE("The neighbours of config.json count where they exist") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  copy.edit_json("generation_config.json", [](Json& json) {
    json = {{"eos_token_id", {5, 6}}, {"do_sample", true},         {"temperature", 0.6}, {"top_k", 20},
            {"top_p", 0.95},          {"repetition_penalty", 1.1}, {"min_p", 0.05},      {"max_new_tokens", 70},
            {"max_length", 90}};
    json["stop_strings"] = "END";
    json["sequence_bias"] = {{{1, 2}, -0.5}, {{3}, 2}};
    json["bad_words_ids"] = {{4}, {5, 6}};
  });
  copy.edit_json("preprocessor_config.json", [](Json& json) {
    json["image_mean"] = {0.1, 0.2, 0.3};
    json["image_std"] = {0.4, 0.5, 0.6};
    json["min_patches"] = 2;
    json["max_patches"] = 5;
  });
  const ModelFacts facts = read_checkpoint_config(copy.path()).facts;
  CHECK(facts.stop_ids == std::vector{5, 6});
  CHECK(facts.sampling.sample);
  CHECK(facts.sampling.temperature == 0.6f);
  CHECK(facts.sampling.top_k == 20);
  CHECK(facts.sampling.top_p == 0.95f);
  CHECK(facts.sampling.repetition_penalty == 1.1f);
  CHECK(facts.sampling.min_p == 0.05f);
  CHECK(facts.sampling.max_new_tokens == 70);
  CHECK(facts.sampling.max_length == 90);
  CHECK(facts.sampling.stop_strings == std::vector<std::string>{"END"});
  CHECK(facts.sampling.bad_words_ids == std::vector<std::vector<std::int32_t>>{{4}, {5, 6}});
  REQUIRE(facts.sampling.sequence_bias.size() == 2);
  CHECK(facts.sampling.sequence_bias[0].ids == std::vector<std::int32_t>{1, 2});
  CHECK(facts.sampling.sequence_bias[0].bias == -0.5f);
  CHECK(facts.sampling.sequence_bias[1].bias == 2);
  CHECK(facts.image.mean == std::array{0.1f, 0.2f, 0.3f});
  CHECK(facts.image.deviation == std::array{0.4f, 0.5f, 0.6f});
  CHECK(facts.image.min_tiles == 2);
  CHECK(facts.image.max_tiles == 5);

  const auto error_with = [](const char* file, const char* key, const Json& value) {
    const CheckpointCopy bad(tiny_folder("qwen3_tiny", "hf"));
    bad.edit_json(file, [&](Json& json) { json[key] = value; });
    return what_of<Error>([&] { read_checkpoint_config(bad.path()); });
  };
  CHECK(contains(error_with("preprocessor_config.json", "image_mean", {0.5, 0.5}),
                 "preprocessor_config.json: image_mean: expected three numbers, found 2"));
  CHECK(contains(error_with("preprocessor_config.json", "size", {{"height", 448}, {"width", 448}}),
                 "size: expected config.json's image_size 56, found 448 x 448"));
  CHECK(contains(error_with("generation_config.json", "top_k", "many"),
                 "generation_config.json: top_k: expected an integer"));
  CHECK(contains(error_with("generation_config.json", "eos_token_id", {"a"}), "generation_config.json: eos_token_id"));
  const auto error_of_generation = [&](const char* key, const Json& value) {
    const std::string error = error_with("generation_config.json", key, value);
    const std::string file = "generation_config.json: ";
    return error.substr(std::min(error.size(), error.find(file) + file.size()));
  };
  CHECK(error_of_generation("sequence_bias", Json::object()) == "");
  CHECK(error_of_generation("sequence_bias", {{{1, 2}, 0.5, 3}}) ==
        "sequence_bias: expected pairs of a list of ids and a number, found an array of 3");
  CHECK(error_of_generation("sequence_bias", Json::array({Json::array({Json::array(), 0.5})})) ==
        "sequence_bias: expected at least one id, found none");
  CHECK(error_of_generation("bad_words_ids", Json::array({Json::array()})) ==
        "bad_words_ids: expected at least one id, found none");
  CHECK(error_of_generation("no_repeat_ngram_size", -2) == "no_repeat_ngram_size: expected 0 or more, found -2");
  CHECK(error_of_generation("min_new_tokens", -1) == "min_new_tokens: expected 0 or more, found -1");
  CHECK(error_of_generation("stop_strings", {"a", "b"}) == "");
  CHECK(contains(error_of_generation("stop_strings", 5), "stop_strings: expected "));
  CHECK(error_of_generation("num_beams", 4) == "num_beams: expected 1, found 4");
  CHECK(error_of_generation("num_return_sequences", 4) ==
        "num_return_sequences: expected 1, found 4; Chat::ask_several gives several answers");

  std::filesystem::remove(copy / "generation_config.json");
  std::filesystem::remove(copy / "preprocessor_config.json");
  CHECK(read_checkpoint_config(copy.path()).facts.stop_ids == std::vector{282});
}

}  // namespace
