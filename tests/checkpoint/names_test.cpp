// The names of every tensor of published checkpoints, written out as they stand in the published indices.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/config/checkpoints.hpp"
#include "ivl/config/published.hpp"
#include "ivl/model/load.hpp"

namespace {

using namespace ivl;

struct Published {
  std::string canonical, name;
  Shape shape;
  bool operator==(const Published&) const = default;
};

template <VlmConfig C>
Binding wanted_weights(FolderFormat format, int vocab_rows, bool mxfp4 = false) {
  static Vlm<C> vlm;
  ModelFacts facts;
  facts.format = format;
  facts.vocab_rows = vocab_rows;
  for (const PublishedCheckpoint& published : published_checkpoints) {
    if (published.config == C) facts.family = published.family;
  }
  const StoredAs expected = mxfp4 ? StoredAs::mxfp4 : StoredAs::scalars;
  return bind_weights(weight_slots(vlm), facts, NoTensors{}, {.dialects = {}, .expected = expected});
}

/// What a type wants of a folder, in the order in which it is loaded. `mxfp4`: where it may be, it is.
template <VlmConfig C>
std::vector<Published> wanted(FolderFormat format, int vocab_rows, bool mxfp4 = false) {
  std::vector<Published> list;
  for (const BoundWeight& weight : wanted_weights<C>(format, vocab_rows, mxfp4).weights) {
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& tensor : piece.planes) list.push_back({weight.slot.canonical, tensor.name, tensor.shape});
    }
  }
  return list;
}

/// Of a list, what belongs to one block, or to none (-1).
std::vector<Published> part(const std::vector<Published>& all, std::string_view prefix) {
  std::vector<Published> some;
  for (const Published& one : all) {
    if (std::string_view(one.name).starts_with(prefix)) some.push_back(one);
  }
  return some;
}

void check_list(const std::vector<Published>& found, const std::vector<Published>& expected) {
  CHECK(found.size() == expected.size());
  for (const Published& one : expected) {
    CAPTURE(one.name);
    const auto at =
        std::find_if(found.begin(), found.end(), [&](const Published& other) { return other.name == one.name; });
    REQUIRE(at != found.end());
    CHECK(at->canonical == one.canonical);
    CHECK(shape_text(at->shape) == shape_text(one.shape));
  }
}

const std::vector<Published> qwen3_8b_layer{
    {"language.blocks.#.norm1.weight", "language_model.model.layers.35.input_layernorm.weight", {4096}},
    {"language.blocks.#.qkv.weight", "language_model.model.layers.35.self_attn.q_proj.weight", {4096, 4096}},
    {"language.blocks.#.qkv.weight", "language_model.model.layers.35.self_attn.k_proj.weight", {1024, 4096}},
    {"language.blocks.#.qkv.weight", "language_model.model.layers.35.self_attn.v_proj.weight", {1024, 4096}},
    {"language.blocks.#.q_norm.weight", "language_model.model.layers.35.self_attn.q_norm.weight", {128}},
    {"language.blocks.#.k_norm.weight", "language_model.model.layers.35.self_attn.k_norm.weight", {128}},
    {"language.blocks.#.out.weight", "language_model.model.layers.35.self_attn.o_proj.weight", {4096, 4096}},
    {"language.blocks.#.norm2.weight", "language_model.model.layers.35.post_attention_layernorm.weight", {4096}},
    {"language.blocks.#.gate_up.weight", "language_model.model.layers.35.mlp.gate_proj.weight", {12288, 4096}},
    {"language.blocks.#.gate_up.weight", "language_model.model.layers.35.mlp.up_proj.weight", {12288, 4096}},
    {"language.blocks.#.down.weight", "language_model.model.layers.35.mlp.down_proj.weight", {4096, 12288}},
};

TEST_CASE("InternVL3.5-8B in the GitHub format has the tensors of its published index") {
  const auto all = wanted<internvl3_5_8b>(FolderFormat::github, 151936);
  std::int64_t bytes = 0;
  for (const Published& one : all) bytes += 2 * *elements_of(one.shape);
  CHECK(bytes == 17'056'636'928);
  check_list(part(all, "language_model.model.layers.35."), qwen3_8b_layer);
  check_list(part(all, "vision_model.encoder.layers.23."),
             {
                 {"vision.blocks.#.norm1.weight", "vision_model.encoder.layers.23.norm1.weight", {1024}},
                 {"vision.blocks.#.norm1.bias", "vision_model.encoder.layers.23.norm1.bias", {1024}},
                 {"vision.blocks.#.qkv.weight", "vision_model.encoder.layers.23.attn.qkv.weight", {3072, 1024}},
                 {"vision.blocks.#.qkv.bias", "vision_model.encoder.layers.23.attn.qkv.bias", {3072}},
                 {"vision.blocks.#.proj.weight", "vision_model.encoder.layers.23.attn.proj.weight", {1024, 1024}},
                 {"vision.blocks.#.proj.bias", "vision_model.encoder.layers.23.attn.proj.bias", {1024}},
                 {"vision.blocks.#.layer_scale1", "vision_model.encoder.layers.23.ls1", {1024}},
                 {"vision.blocks.#.norm2.weight", "vision_model.encoder.layers.23.norm2.weight", {1024}},
                 {"vision.blocks.#.norm2.bias", "vision_model.encoder.layers.23.norm2.bias", {1024}},
                 {"vision.blocks.#.fc1.weight", "vision_model.encoder.layers.23.mlp.fc1.weight", {4096, 1024}},
                 {"vision.blocks.#.fc1.bias", "vision_model.encoder.layers.23.mlp.fc1.bias", {4096}},
                 {"vision.blocks.#.fc2.weight", "vision_model.encoder.layers.23.mlp.fc2.weight", {1024, 4096}},
                 {"vision.blocks.#.fc2.bias", "vision_model.encoder.layers.23.mlp.fc2.bias", {1024}},
                 {"vision.blocks.#.layer_scale2", "vision_model.encoder.layers.23.ls2", {1024}},
             });
  check_list(part(all, "vision_model.embeddings."),
             {
                 {"vision.patch_embedding.weight", "vision_model.embeddings.patch_embedding.weight", {1024, 3, 14, 14}},
                 {"vision.patch_embedding.bias", "vision_model.embeddings.patch_embedding.bias", {1024}},
                 {"vision.class_token", "vision_model.embeddings.class_embedding", {1, 1, 1024}},
                 {"vision.positions", "vision_model.embeddings.position_embedding", {1, 1025, 1024}},
             });
  check_list(part(all, "mlp1."), {
                                     {"projector.norm.weight", "mlp1.0.weight", {4096}},
                                     {"projector.norm.bias", "mlp1.0.bias", {4096}},
                                     {"projector.fc1.weight", "mlp1.1.weight", {4096, 4096}},
                                     {"projector.fc1.bias", "mlp1.1.bias", {4096}},
                                     {"projector.fc2.weight", "mlp1.3.weight", {4096, 4096}},
                                     {"projector.fc2.bias", "mlp1.3.bias", {4096}},
                                 });
  const Published embedding{"language.embedding.weight", "language_model.model.embed_tokens.weight", {151936, 4096}};
  check_list(part(all, "language_model.model.embed"), {embedding});
  check_list(part(all, "language_model.model.norm"),
             {{"language.norm.weight", "language_model.model.norm.weight", {4096}}});
  check_list(part(all, "language_model.lm_head"),
             {{"language.head.weight", "language_model.lm_head.weight", {151936, 4096}}});
  CHECK(all.size() == 4 + 24 * 14 + 6 + 36 * 11 + 3);
}

TEST_CASE("InternVL3.5-8B in the HF format has the names that transformers publishes") {
  const auto all = wanted<internvl3_5_8b>(FolderFormat::hf, 151936);
  check_list(part(all, "language_model.model.layers.35."), qwen3_8b_layer);
  check_list(part(all, "vision_tower.encoder.layer.23."),
             {
                 {"vision.blocks.#.norm1.weight", "vision_tower.encoder.layer.23.layernorm_before.weight", {1024}},
                 {"vision.blocks.#.norm1.bias", "vision_tower.encoder.layer.23.layernorm_before.bias", {1024}},
                 {"vision.blocks.#.qkv.weight", "vision_tower.encoder.layer.23.attention.q_proj.weight", {1024, 1024}},
                 {"vision.blocks.#.qkv.weight", "vision_tower.encoder.layer.23.attention.k_proj.weight", {1024, 1024}},
                 {"vision.blocks.#.qkv.weight", "vision_tower.encoder.layer.23.attention.v_proj.weight", {1024, 1024}},
                 {"vision.blocks.#.qkv.bias", "vision_tower.encoder.layer.23.attention.q_proj.bias", {1024}},
                 {"vision.blocks.#.qkv.bias", "vision_tower.encoder.layer.23.attention.k_proj.bias", {1024}},
                 {"vision.blocks.#.qkv.bias", "vision_tower.encoder.layer.23.attention.v_proj.bias", {1024}},
                 {"vision.blocks.#.proj.weight",
                  "vision_tower.encoder.layer.23.attention.projection_layer.weight",
                  {1024, 1024}},
                 {"vision.blocks.#.proj.bias", "vision_tower.encoder.layer.23.attention.projection_layer.bias", {1024}},
                 {"vision.blocks.#.layer_scale1", "vision_tower.encoder.layer.23.lambda_1", {1024}},
                 {"vision.blocks.#.norm2.weight", "vision_tower.encoder.layer.23.layernorm_after.weight", {1024}},
                 {"vision.blocks.#.norm2.bias", "vision_tower.encoder.layer.23.layernorm_after.bias", {1024}},
                 {"vision.blocks.#.fc1.weight", "vision_tower.encoder.layer.23.mlp.fc1.weight", {4096, 1024}},
                 {"vision.blocks.#.fc1.bias", "vision_tower.encoder.layer.23.mlp.fc1.bias", {4096}},
                 {"vision.blocks.#.fc2.weight", "vision_tower.encoder.layer.23.mlp.fc2.weight", {1024, 4096}},
                 {"vision.blocks.#.fc2.bias", "vision_tower.encoder.layer.23.mlp.fc2.bias", {1024}},
                 {"vision.blocks.#.layer_scale2", "vision_tower.encoder.layer.23.lambda_2", {1024}},
             });
  check_list(part(all, "vision_tower.embeddings."),
             {
                 {"vision.patch_embedding.weight",
                  "vision_tower.embeddings.patch_embeddings.projection.weight",
                  {1024, 3, 14, 14}},
                 {"vision.patch_embedding.bias", "vision_tower.embeddings.patch_embeddings.projection.bias", {1024}},
                 {"vision.class_token", "vision_tower.embeddings.cls_token", {1, 1, 1024}},
                 {"vision.positions", "vision_tower.embeddings.position_embeddings", {1, 1025, 1024}},
             });
  check_list(part(all, "multi_modal_projector."),
             {
                 {"projector.norm.weight", "multi_modal_projector.layer_norm.weight", {4096}},
                 {"projector.norm.bias", "multi_modal_projector.layer_norm.bias", {4096}},
                 {"projector.fc1.weight", "multi_modal_projector.linear_1.weight", {4096, 4096}},
                 {"projector.fc1.bias", "multi_modal_projector.linear_1.bias", {4096}},
                 {"projector.fc2.weight", "multi_modal_projector.linear_2.weight", {4096, 4096}},
                 {"projector.fc2.bias", "multi_modal_projector.linear_2.bias", {4096}},
             });
  const Published embedding{"language.embedding.weight", "language_model.model.embed_tokens.weight", {151936, 4096}};
  check_list(part(all, "language_model.model.embed"), {embedding});
  check_list(part(all, "language_model.model.norm"),
             {{"language.norm.weight", "language_model.model.norm.weight", {4096}}});
  check_list(part(all, "language_model.lm_head"),
             {{"language.head.weight", "language_model.lm_head.weight", {151936, 4096}}});
  CHECK(all.size() == 4 + 24 * 18 + 6 + 36 * 11 + 3);
}

TEST_CASE("The 6B tower has norms of q and of k and no qkv bias; Qwen2.5 has the bias and no norms") {
  for (const FolderFormat format : {FolderFormat::github, FolderFormat::hf}) {
    const bool hf = format == FolderFormat::hf;
    const auto all = wanted<internvl3_38b>(format, 151674);
    const std::string block = hf ? "vision_tower.encoder.layer.44." : "vision_model.encoder.layers.44.";
    const std::string attention = block + (hf ? "attention." : "attn.");
    check_list(part(all, attention + "q_norm"),
               {{"vision.blocks.#.q_norm.weight", attention + "q_norm.weight", {3200}}});
    check_list(part(all, attention + "k_norm"),
               {{"vision.blocks.#.k_norm.weight", attention + "k_norm.weight", {3200}}});
    for (const char* absent : {"q_proj.bias", "qkv.bias"}) CHECK(part(all, attention + absent).empty());
    for (const char* absent : {"norm1.bias", "norm2.bias", "layernorm_before.bias", "layernorm_after.bias"})
      CHECK(part(all, block + absent).empty());
    check_list(
        part(all, "language_model.model.layers.63.self_attn."),
        {
            {"language.blocks.#.qkv.weight", "language_model.model.layers.63.self_attn.q_proj.weight", {5120, 5120}},
            {"language.blocks.#.qkv.weight", "language_model.model.layers.63.self_attn.k_proj.weight", {1024, 5120}},
            {"language.blocks.#.qkv.weight", "language_model.model.layers.63.self_attn.v_proj.weight", {1024, 5120}},
            {"language.blocks.#.qkv.bias", "language_model.model.layers.63.self_attn.q_proj.bias", {5120}},
            {"language.blocks.#.qkv.bias", "language_model.model.layers.63.self_attn.k_proj.bias", {1024}},
            {"language.blocks.#.qkv.bias", "language_model.model.layers.63.self_attn.v_proj.bias", {1024}},
            {"language.blocks.#.out.weight", "language_model.model.layers.63.self_attn.o_proj.weight", {5120, 5120}},
        });
  }
}

std::int64_t elements(const std::vector<Published>& all) {
  std::int64_t sum = 0;
  for (const Published& one : all) sum += *elements_of(one.shape);
  return sum;
}

TEST_CASE("The mixtures on Qwen3-MoE have a router and three matrices for each of 128 experts in every layer") {
  for (const FolderFormat format : {FolderFormat::github, FolderFormat::hf}) {
    const auto all = wanted<internvl3_5_30b_a3b>(format, 151936);
    CHECK(elements(all) == parameters(internvl3_5_30b_a3b, 151936));
    const std::string mlp = "language_model.model.layers.47.mlp.";
    CHECK(part(all, mlp).size() == 1 + 3 * 128);
    check_list(part(all, mlp + "gate."), {{"language.blocks.#.router.weight", mlp + "gate.weight", {128, 2048}}});
    check_list(part(all, mlp + "experts.127."),
               {
                   {"language.blocks.#.experts.gate_up.weight", mlp + "experts.127.gate_proj.weight", {768, 2048}},
                   {"language.blocks.#.experts.gate_up.weight", mlp + "experts.127.up_proj.weight", {768, 2048}},
                   {"language.blocks.#.experts.down.weight", mlp + "experts.127.down_proj.weight", {2048, 768}},
               });
    CHECK(part(all, "language_model.model.layers.47.self_attn.").size() == 6);
  }
}

TEST_CASE("The checkpoint on GPT-OSS has fused experts, in bf16 or as MXFP4, sinks, and biases everywhere") {
  for (const FolderFormat format : {FolderFormat::github, FolderFormat::hf}) {
    const auto all = wanted<internvl3_5_gpt_oss_20b_a4b>(format, 201088);
    CHECK(elements(all) == parameters(internvl3_5_gpt_oss_20b_a4b, 201088));
    const std::string layer = "language_model.model.layers.23.", experts = layer + "mlp.experts.";
    check_list(part(all, layer + "self_attn."),
               {
                   {"language.blocks.#.qkv.weight", layer + "self_attn.q_proj.weight", {4096, 2880}},
                   {"language.blocks.#.qkv.weight", layer + "self_attn.k_proj.weight", {512, 2880}},
                   {"language.blocks.#.qkv.weight", layer + "self_attn.v_proj.weight", {512, 2880}},
                   {"language.blocks.#.qkv.bias", layer + "self_attn.q_proj.bias", {4096}},
                   {"language.blocks.#.qkv.bias", layer + "self_attn.k_proj.bias", {512}},
                   {"language.blocks.#.qkv.bias", layer + "self_attn.v_proj.bias", {512}},
                   {"language.blocks.#.sinks", layer + "self_attn.sinks", {64}},
                   {"language.blocks.#.out.weight", layer + "self_attn.o_proj.weight", {2880, 4096}},
                   {"language.blocks.#.out.bias", layer + "self_attn.o_proj.bias", {2880}},
               });
    check_list(part(all, layer + "mlp."),
               {
                   {"language.blocks.#.router.weight", layer + "mlp.router.weight", {32, 2880}},
                   {"language.blocks.#.router.bias", layer + "mlp.router.bias", {32}},
                   {"language.blocks.#.experts.gate_up.weight", experts + "gate_up_proj", {32, 2880, 5760}},
                   {"language.blocks.#.experts.gate_up.bias", experts + "gate_up_proj_bias", {32, 5760}},
                   {"language.blocks.#.experts.down.weight", experts + "down_proj", {32, 2880, 2880}},
                   {"language.blocks.#.experts.down.bias", experts + "down_proj_bias", {32, 2880}},
               });
    check_list(part(wanted<internvl3_5_gpt_oss_20b_a4b>(format, 201088, true), experts),
               {
                   {"language.blocks.#.experts.gate_up.weight", experts + "gate_up_proj_blocks", {32, 5760, 90, 16}},
                   {"language.blocks.#.experts.gate_up.weight", experts + "gate_up_proj_scales", {32, 5760, 90}},
                   {"language.blocks.#.experts.gate_up.bias", experts + "gate_up_proj_bias", {32, 5760}},
                   {"language.blocks.#.experts.down.weight", experts + "down_proj_blocks", {32, 2880, 90, 16}},
                   {"language.blocks.#.experts.down.weight", experts + "down_proj_scales", {32, 2880, 90}},
                   {"language.blocks.#.experts.down.bias", experts + "down_proj_bias", {32, 2880}},
               });
  }
}

TEST_CASE("The pieces of a matrix come in the order q, k, v and gate, up") {
  for (const FolderFormat format : {FolderFormat::github, FolderFormat::hf}) {
    std::map<std::string, std::vector<std::string>> pieces;
    for (const Published& one : wanted<internvl3_1b>(format, 151674)) {
      if (one.name.find(".0.") != one.name.npos)
        pieces[one.canonical].push_back(one.name.substr(one.name.find(".0.") + 3));
    }
    using Names = std::vector<std::string>;
    CHECK(pieces.at("language.blocks.#.qkv.weight") ==
          Names{"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"});
    CHECK(pieces.at("language.blocks.#.qkv.bias") ==
          Names{"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"});
    CHECK(pieces.at("language.blocks.#.gate_up.weight") == Names{"mlp.gate_proj.weight", "mlp.up_proj.weight"});
    if (format == FolderFormat::hf)
      CHECK(pieces.at("vision.blocks.#.qkv.weight") ==
            Names{"attention.q_proj.weight", "attention.k_proj.weight", "attention.v_proj.weight"});
  }
}

TEST_CASE("A weight goes where its name says") {
  static Vlm<internvl3_38b> tower_6b;  // q and k norms of equal size
  static Vlm<internvl3_5_8b> tower_300m;
  std::map<std::string, const void*> first;
  const auto collect = [&](auto& vlm) {
    first.clear();
    for (const WeightSlot& slot : weight_slots(vlm)) {
      const void* to = slot.matrix   ? static_cast<const void*>(slot.matrix)
                       : slot.vector ? static_cast<const void*>(slot.vector)
                       : slot.table  ? static_cast<const void*>(slot.table)
                                     : slot.mixture;
      first.emplace(slot.canonical, to);
    }
  };
  collect(tower_6b);
  const auto& block = tower_6b.vision.blocks[0];
  CHECK(first.at("vision.blocks.#.q_norm.weight") == &block.query_gain.placed);
  CHECK(first.at("vision.blocks.#.k_norm.weight") == &block.key_gain.placed);
  CHECK(first.at("vision.blocks.#.norm1.weight") == &block.norm1_gain.placed);
  CHECK(first.at("vision.blocks.#.norm2.weight") == &block.norm2_gain.placed);
  CHECK(first.at("vision.blocks.#.layer_scale1") == &block.layer_scale1.placed);
  CHECK(first.at("vision.blocks.#.layer_scale2") == &block.layer_scale2.placed);
  CHECK(first.at("vision.blocks.#.proj.bias") == &block.proj_bias.placed);
  CHECK(first.at("vision.blocks.#.fc2.bias") == &block.fc2_bias.placed);
  CHECK(first.at("language.blocks.#.qkv.bias") == &tower_6b.language.blocks[0].qkv_bias.placed);
  collect(tower_300m);
  const auto& layer = tower_300m.language.blocks[0];
  CHECK(first.at("vision.blocks.#.norm1.bias") == &tower_300m.vision.blocks[0].norm1_bias.placed);
  CHECK(first.at("vision.blocks.#.norm2.bias") == &tower_300m.vision.blocks[0].norm2_bias.placed);
  CHECK(first.at("vision.class_token") == &tower_300m.vision.class_token.placed);
  CHECK(first.at("vision.patch_embedding.bias") == &tower_300m.vision.patch_bias.placed);
  CHECK(first.at("language.blocks.#.q_norm.weight") == &layer.query_gain.placed);
  CHECK(first.at("language.blocks.#.k_norm.weight") == &layer.key_gain.placed);
  CHECK(first.at("language.blocks.#.norm1.weight") == &layer.norm1_gain.placed);
  CHECK(first.at("language.blocks.#.norm2.weight") == &layer.norm2_gain.placed);
  CHECK(first.at("language.norm.weight") == &tower_300m.language.norm_gain.placed);
  CHECK(first.at("language.embedding.weight") == &tower_300m.language.embedding.placed);
  CHECK(first.at("language.head.weight") == &tower_300m.language.head.placed);
  CHECK(first.at("projector.norm.bias") == &tower_300m.projector.norm_bias.placed);
  CHECK(first.at("projector.fc1.bias") == &tower_300m.projector.fc1_bias.placed);

  static Vlm<internvl3_5_gpt_oss_20b_a4b> gpt_oss;  // out and down, and their biases, are of one size
  collect(gpt_oss);
  const auto& its = gpt_oss.language.blocks[0];
  CHECK(first.at("language.blocks.#.sinks") == &its.sinks.placed);
  CHECK(first.at("language.blocks.#.out.bias") == &its.out_bias.placed);
  CHECK(first.at("language.blocks.#.router.weight") == &its.mlp.router.placed);
  CHECK(first.at("language.blocks.#.router.bias") == &its.mlp.router_bias.placed);
  CHECK(first.at("language.blocks.#.experts.gate_up.weight") == &its.mlp.gate_up.placed);
  CHECK(first.at("language.blocks.#.experts.gate_up.bias") == &its.mlp.gate_up_bias.placed);
  CHECK(first.at("language.blocks.#.experts.down.weight") == &its.mlp.down.placed);
  CHECK(first.at("language.blocks.#.experts.down.bias") == &its.mlp.down_bias.placed);
}

TEST_CASE("No two rows of the table share a name in one family, and every row is used") {
  for (const Family family : {Family::qwen2, Family::qwen3, Family::qwen3_moe, Family::gpt_oss, Family::internlm3}) {
    for (const Dialect dialect : {Dialect::canonical, Dialect::github, Dialect::hf, Dialect::gguf}) {
      std::set<std::string> canonical, in_files;
      for (const PartName& row : names::table) {
        // Of several rows of one part the first counts.
        if (!row.is_for(family, dialect) || !canonical.insert(canonical_name({&row, false})).second) continue;
        if (dialect != Dialect::canonical && !row.files.in(dialect).empty())
          CHECK(in_files.insert(name_pattern(row, dialect)).second);
      }
    }
  }
  std::set<const PartName*> unused;
  for (const PartName& row : names::table) unused.insert(&row);
  const auto use = [&](const Binding& binding) {
    for (const BoundWeight& weight : binding.weights) {
      unused.erase(weight.name.part);
      for (const BoundPiece& piece : weight.pieces) unused.erase(piece.row);
    }
  };
  use(wanted_weights<internvl3_38b>(FolderFormat::hf, 10));
  use(wanted_weights<internvl3_5_8b>(FolderFormat::hf, 10));
  use(wanted_weights<internvl3_5_30b_a3b>(FolderFormat::hf, 10));
  use(wanted_weights<internvl3_5_gpt_oss_20b_a4b>(FolderFormat::hf, 10));
  Vlm<internvl3_5_gpt_oss_20b_a4b> gpt_oss;
  gpt_oss.facts.family = Family::gpt_oss;
  use(bind_weights(weight_slots(gpt_oss), gpt_oss.facts, NoTensors{}, {.dialects = {Dialect::gguf}}));
  for (const PartName* row : unused) FAIL_CHECK(canonical_name({row, false}) << " is not used");
}

constexpr WeightName weight_of_qwen2(std::string_view canonical) {
  return find_weight(canonical, Family::qwen2, Dialect::hf);
}
static_assert(find_weight("language.blocks.#.norm2.weight", Family::gpt_oss, Dialect::gguf).part->files.gguf ==
              "post_attention_norm");
static_assert(find_weight("language.blocks.#.norm2.weight", Family::qwen3, Dialect::gguf).part->files.gguf ==
              "ffn_norm");
static_assert(weight_of_qwen2("language.blocks.#.none").part == nullptr);
static_assert(weight_of_qwen2("language.blocks.#.qkv.weight").part->part == "qkv");
static_assert(weight_of_qwen2("language.blocks.#.q_norm.weight").part->part == "q_norm");
static_assert(weight_of_qwen2("language.blocks.#.qkv.bias").bias && !weight_of_qwen2("language.norm.weight").bias);
static_assert(weight_of_qwen2("vision.positions.weight").part == nullptr);  // a parameter alone
static_assert(weight_of_qwen2("language.blocks.#.experts.down.weight").part == nullptr);
static_assert(find_weight("language.blocks.#.router.weight", Family::gpt_oss, Dialect::hf).part->files.hf ==
              "mlp.router");
static_assert(find_weight("language.blocks.#.router.weight", Family::qwen3_moe, Dialect::hf).part->files.hf ==
              "mlp.gate");

// No static_assert: under the sanitizers g++ 12 takes an element's address for no constant.
TEST_CASE("A fused weight's parts are shared by ranks as the whole is") {
  for (const PartName& row : names::table) {
    for (int part = 0; part < number_of_parts(row); ++part) {
      CAPTURE(row.part);
      CAPTURE(part);
      const PartName* found =
          find_part(row, std::size_t(part), row.family.value_or(Family::qwen2), row.dialect.value_or(Dialect::hf));
      REQUIRE(found != nullptr);
      CHECK(found->shard == row.shard);
    }
  }
}

TEST_CASE("The tensors of a quantised weight are its name, suffixes and shapes of the format") {
  struct OneWeight {
    std::set<std::string> there;
    TensorView view{Dtype::i32, {1}, {}};
    const TensorView* find(const std::string& name) const { return there.contains(name) ? &view : nullptr; }
  };
  const std::string down = "language_model.model.layers.7.mlp.down_proj";
  const WeightSlot slot{
      .canonical = "language.blocks.#.down.weight", .layer = 7, .heights = {4096}, .in = 12288, .shape = {}};
  ModelFacts facts;
  const OneWeight source{.there = {down + ".scales"}};
  const Binding awq = bind_weights({slot}, facts, source);
  const auto& planes = awq.weights.at(0).pieces.at(0).planes;
  REQUIRE(planes.size() == 3);
  CHECK((planes[0].name == down + ".qweight" && planes[0].shape == Shape{12288, 512}));
  CHECK((planes[1].name == down + ".scales" && planes[1].shape == Shape{96, 4096}));
  CHECK((planes[2].name == down + ".qzeros" && planes[2].shape == Shape{96, 512}));
  CHECK(planes[0].found == nullptr);
  CHECK(planes[1].found != nullptr);
  const std::string differences = binding_differences(awq);
  CHECK(differences.find(down + ".qweight: expected [12288, 512], found none") != differences.npos);
}

TEST_CASE("In-memory spellings become the published ones, and nothing else changes") {
  CHECK(published_name("model.vision_tower.encoder.layer.3.lambda_1") == "vision_tower.encoder.layer.3.lambda_1");
  CHECK(published_name("model.multi_modal_projector.linear_1.bias") == "multi_modal_projector.linear_1.bias");
  CHECK(published_name("model.language_model.layers.0.mlp.up_proj.weight") ==
        "language_model.model.layers.0.mlp.up_proj.weight");
  CHECK(published_name("lm_head.weight") == "language_model.lm_head.weight");
  CHECK(published_name("lm_head.weight_scale") == "language_model.lm_head.weight_scale");
  for (const char* name : {"language_model.model.norm.weight", "vision_model.encoder.layers.0.ls1", "model.norm.weight",
                           "mlp1.0.weight", "language_model.lm_head.weight"}) {
    CHECK(published_name(name) == name);
  }
}

TEST_CASE("A wrapper stands in front of all names, and names as transformers has them in memory have none") {
  CHECK(wrapper_of({"language_model.model.norm.weight", "mlp1.0.weight"}).empty());
  CHECK(wrapper_of({"model.language_model.norm.weight", "model.vision_tower.embeddings.cls_token"}).empty());  // tied
  CHECK(wrapper_of({"module.model.language_model.norm.weight", "module.lm_head.weight"}) == "module.");
  CHECK(wrapper_of({"model.language_model.model.norm.weight", "model.mlp1.0.weight"}) == "model.");
  CHECK(wrapper_of({"model.model.language_model.norm.weight", "model.lm_head.weight"}) == "model.");
  CHECK(wrapper_of({"base_model.model._orig_mod.vision_model.x"}) == "base_model.model._orig_mod.");
  CHECK(wrapper_of({"module.mlp1.0.weight", "mlp1.0.bias"}).empty());
  CHECK(wrapper_of({}).empty());
}

}  // namespace
