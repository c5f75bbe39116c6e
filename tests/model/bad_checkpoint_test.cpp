// Checkpoint folders that are not what their type says: one error names everything that is wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/checkpoint_copy.hpp"
#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/chat.hpp"

// What with_checkpoint prints of an unknown structure, as a user would paste it.
#include "pasted_checkpoint.inc"
namespace pasted_mixture {
#include "pasted_mixture.inc"
}

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

template <VlmConfig C = qwen3_tiny>
std::string load_error(const fs::path& folder, const LoadOptions& options = {}) {
  cpu::Context ctx(1);
  return what_of<Error>([&] { load<C>(ctx, folder, options); });
}

/// The list of an error, one line a tensor, sorted.
std::multiset<std::string> differences_in(const std::string& error) {
  std::multiset<std::string> lines;
  for (std::size_t at = error.find("\n  "); at != error.npos;) {
    const std::size_t end = error.find("\n  ", at + 1);
    lines.insert(error.substr(at + 3, end == error.npos ? end : end - at - 3));
    at = end;
  }
  return lines;
}

Vlm<qwen3_tiny> load_tiny(const fs::path& folder) {
  cpu::Context ctx(1);
  return load<qwen3_tiny>(ctx, folder).vlm;
}

bool same_bytes(const Memory& a, const Memory& b) {
  return a.bytes == b.bytes && std::memcmp(a.data, b.data, a.bytes) == 0;
}

/// Canonical names of weights whose placed bytes differ.
std::vector<std::string> different_weights(Vlm<qwen3_tiny> a, Vlm<qwen3_tiny> b) {
  const auto memory = [](const WeightSlot& slot) -> const Memory& {
    return slot.matrix ? slot.matrix->memory() : slot.vector ? slot.vector->memory : slot.table->memory;
  };
  const auto slots = weight_slots(a), other = weight_slots(b);
  REQUIRE(slots.size() == other.size());
  std::vector<std::string> different;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    REQUIRE(memory(slots[i]).bytes > 0);
    if (!same_bytes(memory(slots[i]), memory(other[i]))) different.push_back(slots[i].canonical);
  }
  return different;
}

TEST_CASE("Everything that is wrong with the tensors of a folder stands in one error, and nothing was placed") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  auto& tensors = copy.tensors;
  tensors.erase("language_model.model.layers.1.self_attn.k_norm.weight");
  tensors.erase("multi_modal_projector.linear_2.bias");
  tensors["language_model.model.layers.3.mlp.up_proj.weight"] =
      tensors.at("language_model.model.layers.2.mlp.up_proj.weight");
  tensors["vision_tower.encoder.layer.0.attention.q_norm.weight"] = {Dtype::bf16, {64}, std::vector<std::byte>(128)};
  tensors["vision_tower.embeddings.cls_token"].shape = {1, 64};
  tensors["language_model.lm_head.weight"] = {Dtype::bf16, {319, 48}, std::vector<std::byte>(319 * 48 * 2)};
  tensors["language_model.model.layers.0.mlp.gate_proj.weight"].dtype = Dtype::i8;
  tensors["language_model.model.layers.0.mlp.gate_proj.weight"].bytes.resize(48 * 48);
  tensors["vision_tower.encoder.layer.0.lambda_1"] = {Dtype::f64, {64}, std::vector<std::byte>(64 * 8)};
  copy.write_tensors();
  int placed = 0;
  const std::string text = load_error(copy.path(), {.progress = [&](const LoadProgress&) { ++placed; }});
  CHECK(placed == 0);
  CHECK(text.starts_with(copy.path().string() + ": tensors differ from the type:\n"));
  for (const char* line : {
           "vision_tower.embeddings.cls_token: expected [1, 1, 64], found [1, 64]",
           "vision_tower.encoder.layer.0.lambda_1: expected F32, BF16 or F16, found F64",
           "vision_tower.encoder.layer.0.attention.q_norm.weight: expected none, found [64]",
           "multi_modal_projector.linear_2.bias: expected [48], found none",
           "language_model.model.layers.1.self_attn.k_norm.weight: expected [32], found none",
           "language_model.model.layers.0.mlp.gate_proj.weight: expected F32, BF16 or F16, found I8",
           "language_model.model.layers.3.mlp.up_proj.weight: expected none, found [48, 48]",
           "language_model.lm_head.weight: expected [320, 48], found [319, 48]",
       }) {
    CAPTURE(line);
    CAPTURE(text);
    CHECK(contains(text, std::string("\n  ") + line));
  }
  CHECK(std::count(text.begin(), text.end(), '\n') == 8);
  cpu::Context ctx(1);
  CHECK(what_of<ConfigError>([&] { load<qwen3_tiny>(ctx, copy.path()); }) == text);
}

TEST_CASE("Of many tensors that are wrong ten are listed, and the rest is counted") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  std::erase_if(copy.tensors,
                [](const auto& tensor) { return tensor.first.find("model.layers.") != std::string::npos; });
  copy.write_tensors();
  const std::string text = load_error(copy.path());
  CHECK(std::count(text.begin(), text.end(), '\n') == 11);
  CHECK(text.ends_with("\n  and 23 more"));  // 3 layers of 11
}

TEST_CASE("Experts that are missing, too many, or of another type than their fellows are listed one by one") {
  CheckpointCopy copy(tiny_folder("qwen3_moe_tiny", "github"));
  const std::string first = "language_model.model.layers.0.mlp.", second = "language_model.model.layers.1.mlp.";
  copy.tensors.erase(first + "experts.7.down_proj.weight");
  copy.tensors[first + "experts.8.up_proj.weight"] = copy.tensors.at(first + "experts.2.up_proj.weight");
  copy.tensors[second + "gate.weight"] = {Dtype::bf16, {7, 64}, std::vector<std::byte>(7 * 64 * 2)};
  copy.tensors.at(second + "experts.3.gate_proj.weight").shape = {64, 32};
  copy.widen(second + "experts.5.down_proj.weight");
  copy.write_tensors();
  CHECK(
      differences_in(load_error<qwen3_moe_tiny>(copy.path())) ==
      std::multiset<std::string>{
          first + "experts.7.down_proj.weight: expected [64, 32], found none",
          first + "experts.8.up_proj.weight: expected none, found [32, 64]",
          second + "gate.weight: expected [8, 64], found [7, 64]",
          second + "experts.3.gate_proj.weight: expected [32, 64], found [64, 32]",
          second + "experts.5.down_proj.weight: expected BF16 like " + second + "experts.0.down_proj.weight, found F32",
      });
}

TEST_CASE("Fused experts of wrong shapes are listed, and so are MXFP4 blocks and scales") {
  const std::string mlp = "language_model.model.layers.2.mlp.";
  CheckpointCopy fused(tiny_folder("gpt_oss_tiny", "hf"));
  fused.tensors[mlp + "experts.gate_up_proj"] = {Dtype::bf16, {5, 64, 64}, std::vector<std::byte>(5 * 64 * 64 * 2)};
  fused.tensors.at(mlp + "experts.down_proj").shape = {6, 64, 32};
  fused.tensors.at(mlp + "experts.gate_up_proj_bias").shape = {64, 6};
  fused.tensors.erase(mlp + "router.weight");
  fused.tensors.erase("language_model.model.layers.0.self_attn.sinks");
  fused.write_tensors();
  CHECK(differences_in(load_error<gpt_oss_tiny>(fused.path())) ==
        std::multiset<std::string>{
            "language_model.model.layers.0.self_attn.sinks: expected [4], found none",
            mlp + "router.weight: expected [6, 64], found none",
            mlp + "experts.gate_up_proj: expected [6, 64, 64], found [5, 64, 64]",
            mlp + "experts.gate_up_proj_bias: expected [6, 64], found [64, 6]",
            mlp + "experts.down_proj: expected [6, 32, 64], found [6, 64, 32]",
        });

  CheckpointCopy packed(tiny_folder("gpt_oss_tiny", "mxfp4"));
  auto& tensors = packed.tensors;
  tensors.at(mlp + "experts.gate_up_proj_blocks").shape = {6, 64, 32};
  tensors[mlp + "experts.gate_up_proj_scales"] = {Dtype::u8, {6, 64, 1}, std::vector<std::byte>(6 * 64)};
  tensors.at(mlp + "experts.down_proj_blocks").dtype = Dtype::i8;
  tensors.erase(mlp + "experts.down_proj_scales");
  const std::string other = "language_model.model.layers.1.mlp.experts.down_proj";
  tensors[other] = {Dtype::bf16, {6, 32, 64}, std::vector<std::byte>(6 * 32 * 64 * 2)};
  packed.write_tensors();
  CHECK(differences_in(load_error<gpt_oss_tiny>(packed.path())) ==
        std::multiset<std::string>{
            mlp + "experts.gate_up_proj_blocks: expected [6, 64, 2, 16], found [6, 64, 32]",
            mlp + "experts.gate_up_proj_scales: expected [6, 64, 2], found [6, 64, 1]",
            mlp + "experts.down_proj_blocks: expected U8, found I8",
            mlp + "experts.down_proj_scales: expected [6, 64, 1], found none",
            other + ": expected none, found [6, 32, 64]",  // MXFP4 is there as well
        });

  CheckpointCopy scales(tiny_folder("gpt_oss_tiny", "mxfp4"));
  scales.tensors.erase(mlp + "experts.down_proj_blocks");
  scales.write_tensors();
  CHECK(differences_in(load_error<gpt_oss_tiny>(scales.path())) ==
        std::multiset<std::string>{mlp + "experts.down_proj_blocks: expected [6, 64, 1, 16], found none"});
}

TEST_CASE("Each matrix of the experts may be bf16 or MXFP4, whatever the others are") {
  CheckpointCopy copy(tiny_folder("gpt_oss_tiny", "hf"));
  const CheckpointCopy packed(tiny_folder("gpt_oss_tiny", "mxfp4"));
  const std::string down = "language_model.model.layers.1.mlp.experts.down_proj";
  copy.tensors.erase(down);
  for (const char* part : {"_blocks", "_scales"}) copy.tensors[down + part] = packed.tensors.at(down + part);
  copy.write_tensors();
  cpu::Context ctx(1);
  const auto loaded = load<gpt_oss_tiny>(ctx, copy.path()).vlm;
  for (int layer = 0; layer < 3; ++layer) {
    const auto& mlp = loaded.language.blocks[std::size_t(layer)].mlp;
    CHECK(mlp.gate_up.placed.all.format() == Format::bf16);
    CHECK(mlp.down.placed.all.format() == (layer == 1 ? Format::mxfp4 : Format::bf16));
  }
}

TEST_CASE("Pieces of one matrix must have one type; vectors and whole matrices may have their own") {
  const fs::path original = tiny_folder("qwen3_tiny", "github");
  CheckpointCopy copy(original);
  for (const char* name :
       {"language_model.model.layers.0.input_layernorm.weight", "vision_model.encoder.layers.0.attn.qkv.bias",
        "vision_model.embeddings.position_embedding", "mlp1.1.bias"}) {
    copy.widen(name);
  }
  copy.write_tensors();
  CHECK(different_weights(load_tiny(copy.path()), load_tiny(original)).empty());
  copy.widen("language_model.model.layers.2.mlp.down_proj.weight");
  copy.write_tensors();
  CHECK(different_weights(load_tiny(copy.path()), load_tiny(original)) ==
        std::vector<std::string>{"language.blocks.#.down.weight"});

  copy.widen("language_model.model.layers.1.self_attn.v_proj.weight");
  copy.widen("language_model.model.layers.0.mlp.gate_proj.weight");
  copy.write_tensors();
  CHECK(load_error(copy.path()) == copy.path().string() +
                                       ": tensors differ from the type:"
                                       "\n  language_model.model.layers.0.mlp.up_proj.weight: expected F32 like "
                                       "language_model.model.layers.0.mlp.gate_proj.weight, found BF16"
                                       "\n  language_model.model.layers.1.self_attn.v_proj.weight: expected BF16 like "
                                       "language_model.model.layers.1.self_attn.q_proj.weight, found F32");
}

TEST_CASE("The prefixes that some saves of transformers keep are read as the published names") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  std::map<std::string, OwnedTensor> renamed;
  for (const auto& [name, tensor] : copy.tensors) {
    std::string in_memory = "model." + name;
    if (name.starts_with("language_model.model.")) in_memory = "model.language_model." + name.substr(21);
    if (name == "language_model.lm_head.weight") in_memory = "lm_head.weight";
    renamed[in_memory] = tensor;
  }
  REQUIRE(renamed.contains("model.vision_tower.embeddings.cls_token"));
  REQUIRE(renamed.contains("model.language_model.embed_tokens.weight"));
  const auto published = std::exchange(copy.tensors, renamed);
  copy.write_tensors();
  CHECK(different_weights(load_tiny(copy.path()), load_tiny(tiny_folder("qwen3_tiny", "hf"))).empty());

  for (const char* name :
       {"language_model.model.norm.weight", "language_model.lm_head.weight", "multi_modal_projector.linear_1.bias"}) {
    copy.tensors = renamed;
    copy.tensors[name] = published.at(name);
    copy.write_tensors();
    CHECK(contains(load_error(copy.path()), std::string("the tensor ") + name + " is stored twice, as "));
  }
}

TEST_CASE("What training programs put in front of all names is left out") {
  for (const char* format : {"hf", "github"}) {
    CheckpointCopy copy(tiny_folder("qwen3_tiny", format));
    const auto published = copy.tensors;
    for (const std::string wrapper : {"module.", "_orig_mod.", "base_model.model.", "model.", "module._orig_mod."}) {
      CAPTURE(wrapper);
      copy.tensors.clear();
      for (const auto& [name, tensor] : published) copy.tensors[wrapper + name] = tensor;
      copy.write_tensors();
      CHECK(different_weights(load_tiny(copy.path()), load_tiny(tiny_folder("qwen3_tiny", format))).empty());
    }
    // Not in front of all: no wrapper.
    copy.tensors["more"] = published.begin()->second;
    copy.write_tensors();
    CHECK(contains(load_error(copy.path()), "found none\n"));
    copy.tensors = published;
    copy.tensors["lm_head.weight"] = published.at("language_model.lm_head.weight");
    copy.write_tensors();
    CHECK(contains(load_error(copy.path()), "is stored twice, as language_model.lm_head.weight and as lm_head.weight"));
    copy.tensors = published;
    copy.tensors["language_model.model.layers.0.self_attn.q_proj.lora_A.default.weight"] = published.begin()->second;
    copy.write_tensors();
    CHECK(contains(load_error(copy.path()),
                   "whose LoRA was not merged (language_model.model.layers.0.self_attn.q_proj.lora_A"));
  }
}

TEST_CASE("Harmless extra tensors are left out, others only where it is asked for, and then counted") {
  for (const char* format : {"hf", "github"}) {
    CheckpointCopy copy(tiny_folder("qwen3_tiny", format));
    const OwnedTensor some{Dtype::f32, {16}, std::vector<std::byte>(64)};
    for (const char* name :
         {"language_model.model.layers.2.self_attn.rotary_emb.inv_freq", "language_model.model.rotary_emb.inv_freq",
          "vision_model.embeddings.position_ids", "vision_tower.embeddings.mask_token", "score.weight",
          "language_model.score.weight", "language_model.model.layers.0.self_attn.masked_bias"})
      copy.tensors[name] = some;
    copy.write_tensors();
    CHECK(load_error(copy.path()) == "");
    CHECK(different_weights(load_tiny(copy.path()), load_tiny(tiny_folder("qwen3_tiny", format))).empty());

    copy.tensors["language_model.underscore.weight"] = some;  // a name that only ends like a harmless one
    copy.tensors["unmask_token"] = some;
    copy.write_tensors();
    CHECK(contains(load_error(copy.path()),
                   "type:\n  language_model.underscore.weight: expected none, found [16]"
                   "\n  unmask_token: expected none, found [16]"));
    std::string note;
    CHECK(load_error(copy.path(),
                     {.ignore_extra_tensors = true, .note = [&](const std::string& text) { note = text; }}) == "");
    CHECK(note.starts_with("tensors that are not the model's were left out: 2\n  language_model.underscore.weight"));
    copy.tensors.erase("language_model.lm_head.weight");  // what is missing is an error all the same
    copy.write_tensors();
    CHECK(contains(load_error(copy.path(), {.ignore_extra_tensors = true}), "lm_head.weight: expected [320, 48]"));
  }
}

TEST_CASE("A tied head that is not stored is the embedding; a stored one counts, tied or not") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
  const auto tie = [&](bool tied) {
    copy.edit_json("config.json", [&](Json& config) { config["tie_word_embeddings"] = tied; });
  };
  const auto& embedding = copy.tensors.at("language_model.model.embed_tokens.weight");
  auto& head = copy.tensors.at("language_model.lm_head.weight");
  REQUIRE(head.bytes != embedding.bytes);
  copy.write_tensors();
  const Vlm<qwen3_tiny> untied = load_tiny(copy.path());
  tie(true);
  CHECK(different_weights(load_tiny(copy.path()), untied).empty());

  head = embedding;
  copy.write_tensors();
  const Vlm<qwen3_tiny> copied = load_tiny(copy.path());
  CHECK(different_weights(copied, untied) == std::vector<std::string>{"language.head.weight"});
  copy.tensors.erase("language_model.lm_head.weight");
  copy.write_tensors();
  CHECK(different_weights(load_tiny(copy.path()), copied).empty());

  tie(false);
  CHECK(contains(load_error(copy.path()), "\n  language_model.lm_head.weight: expected [320, 48], found none"));
  // The embedding cannot be tied to anything.
  tie(true);
  copy.tensors.erase("language_model.model.embed_tokens.weight");
  copy.write_tensors();
  CHECK(contains(load_error(copy.path()),
                 "\n  language_model.model.embed_tokens.weight: expected [320, 48], found none"));
}

TEST_CASE("Progress names every tensor once, never exceeds the total and ends with it") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  SUBCASE("with a head") {}
  SUBCASE("tied") {
    copy.edit_json("config.json", [&](Json& config) { config["tie_word_embeddings"] = true; });
    copy.tensors.erase("language_model.lm_head.weight");
    copy.write_tensors();
  }
  std::int64_t total = 0;
  std::set<std::string> names;
  for (const auto& [name, tensor] : copy.tensors) {
    total += std::int64_t(tensor.bytes.size());
    names.insert(name);
  }
  std::int64_t done = 0;
  bool ended = false;
  CHECK(load_error(copy.path(), {.progress = [&](const LoadProgress& progress) {
                     CHECK(progress.bytes_total == total);
                     CHECK(progress.bytes_done >= done);
                     CHECK(progress.bytes_done <= total);
                     CHECK(!ended);
                     done = progress.bytes_done;
                     ended = progress.tensor.empty();
                     names.erase(std::string(progress.tensor));
                   }}) == "");
  CHECK(ended);
  CHECK(done == total);
  CHECK(names.empty());
  // What the callback throws ends the load.
  CHECK(contains(load_error(copy.path(), {.progress = [](const LoadProgress&) { throw Error("the user has left"); }}),
                 "the user has left"));
}

TEST_CASE("A structure that no type has is printed as text, which compiles to that structure") {
  std::ifstream file(fs::path(IVL_SOURCE_DIR) / "tests/model/pasted_checkpoint.inc");
  const std::string pasted{std::istreambuf_iterator<char>(file), {}};
  cpu::Context ctx(1);
  const auto never = [](const auto&) { return 0; };
  const fs::path folder = tiny_folder("qwen3_tiny", "github");
  const std::string text =
      what_of<ConfigError>([&] { with_checkpoint<CheckpointList<qwen2_dynamic, drawn_scenes>>(ctx, folder, never); });
  CHECK(text.starts_with((folder / "config.json").string() + ": none of the compiled checkpoints has this structure"));
  CHECK(text.ends_with("\n\n" + pasted));

  static_assert(my_checkpoint == qwen3_tiny);
  CHECK(with_checkpoint<CheckpointList<qwen2_dynamic, my_checkpoint>>(ctx, folder, [](const auto& checkpoint) {
          return checkpoint.vlm.config == qwen3_tiny ? checkpoint.vlm.facts.vocab_rows : -1;
        }) == 320);
}

TEST_CASE("A mixture that no type has is printed as text, too") {
  std::ifstream file(fs::path(IVL_SOURCE_DIR) / "tests/model/pasted_mixture.inc");
  const std::string pasted{std::istreambuf_iterator<char>(file), {}};
  cpu::Context ctx(1);
  const auto never = [](const auto&) { return 0; };
  const std::string text = what_of<ConfigError>(
      [&] { with_checkpoint<CheckpointList<qwen3_tiny>>(ctx, tiny_folder("gpt_oss_tiny", "mxfp4"), never); });
  CHECK(text.ends_with("\n\n" + pasted));
  static_assert(pasted_mixture::my_checkpoint == gpt_oss_tiny);
}

TEST_CASE("A structure that no type can have is refused with the rule that it breaks") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
  copy.edit_json("config.json", [](Json& config) { config["llm_config"]["head_dim"] = 24; });
  cpu::Context ctx(1);
  const auto never = [](const auto&) { return 0; };
  const std::string text =
      what_of<ConfigError>([&] { with_checkpoint<CheckpointList<qwen3_tiny>>(ctx, copy.path(), never); });
  CHECK(contains(text, "none can have it. AttentionConfig: head_dim must be a multiple of 16, one tensor-core tile. "));
  CHECK(contains(text, ".head_dim = 24"));
  CHECK(!contains(text, "put this into your source"));
}

TEST_CASE("Another structure than the type's is listed field by field") {
  CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
  copy.edit_json("config.json", [](Json& config) {
    config["vision_config"]["num_attention_heads"] = 4;
    config["vision_config"]["norm_type"] = "rms_norm";
    config["llm_config"]["num_key_value_heads"] = 5;
    config["ps_version"] = "v1";
  });
  const std::string text = load_error(copy.path());
  CHECK(
      text ==
      (copy / "config.json").string() +
          ": another structure than the type:\n  vit.heads: the file says 4, the type 2"
          "\n  vit.norm: the file says rms_norm, the type layer_norm\n  projector.order: the file says v1, the type v2"
          "\n  decoder.attention.kv_heads: the file says 5, the type 1");

  CheckpointCopy mixture(tiny_folder("gpt_oss_tiny", "github"));
  mixture.edit_json("config.json", [](Json& config) {
    config["llm_config"]["num_local_experts"] = 32;
    config["llm_config"]["num_experts_per_tok"] = 4;
    config["llm_config"]["sliding_window"] = 128;
  });
  CHECK(differences_in(load_error<gpt_oss_tiny>(mixture.path())) ==
        std::multiset<std::string>{"decoder.attention.window: the file says 128, the type 16",
                                   "decoder.moe.experts: the file says 32, the type 6",
                                   "decoder.moe.active: the file says 4, the type 2"});
}

TEST_CASE("Every file that is missing or broken is named") {
  CHECK(contains(load_error("/no/such/folder"), "/no/such/folder"));
  const auto error_without = [](const char* name) {
    CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
    REQUIRE(fs::remove(copy / name));
    return load_error(copy.path());
  };
  CHECK(contains(error_without("config.json"), "config.json"));
  CHECK(contains(error_without("model.safetensors"), "expected model.safetensors or model.safetensors.index.json"));

  const CheckpointCopy shards(tiny_folder("qwen3_small_stream", "github"));
  fs::resize_file(shards / "model-00002-of-00003.safetensors", 1000);
  cpu::Context ctx(1);
  const auto nothing = [](const auto&) { return 0; };
  using List = CheckpointList<qwen3_small_stream>;
  CHECK(contains(what_of<FileError>([&] { with_checkpoint<List>(ctx, shards.path(), nothing); }),
                 "model-00002-of-00003.safetensors"));
  REQUIRE(fs::remove(shards / "model-00003-of-00003.safetensors"));
  fs::copy_file(tiny_folder("qwen3_small_stream", "github") / "model-00002-of-00003.safetensors",
                shards / "model-00002-of-00003.safetensors", fs::copy_options::overwrite_existing);
  CHECK(contains(what_of<FileError>([&] { with_checkpoint<List>(ctx, shards.path(), nothing); }),
                 "model-00003-of-00003.safetensors"));

  const CheckpointCopy cut(tiny_folder("qwen3_tiny", "hf"));
  fs::resize_file(cut / "model.safetensors", fs::file_size(cut / "model.safetensors") - 1);
  CHECK(contains(load_error(cut.path()), "model.safetensors"));
  fs::resize_file(cut / "config.json", 100);
  CHECK(contains(load_error(cut.path()), "config.json: not valid JSON"));
}

TEST_CASE("A tokenizer without the tokens that a prompt needs is refused") {
  const auto error_without = [](std::string_view token) {
    const CheckpointCopy copy(tiny_folder("qwen3_tiny", "github"));
    const auto rename = [&](Json& added) {
      for (Json& entry : added) {
        if (entry["content"] == token) entry["content"] = "<OTHER>";
      }
    };
    copy.edit_json("tokenizer.json", [&](Json& tokenizer) { rename(tokenizer["added_tokens"]); });
    copy.edit_json("tokenizer_config.json", [&](Json& config) {
      rename(config["added_tokens_decoder"]);
      for (const char* key : {"additional_special_tokens", "eos_token"}) config.erase(key);  // they give it an id
    });
    return load_error(copy.path());
  };
  CHECK(contains(error_without("<img>"), "expected a tokenizer with the token <img>, found none"));
  CHECK(contains(error_without("</img>"), "expected a tokenizer with the token </img>, found none"));
  CHECK(contains(error_without("<|im_end|>"), "expected a tokenizer with the token <|im_end|>, found none"));
  CHECK(error_without("<box>") == "");
}

TEST_CASE("A folder without a tokenizer loads, takes and gives ids, and says what it cannot do") {
  const CheckpointCopy copy(tiny_folder("qwen3_tiny", "hf"));
  for (const auto& entry : fs::directory_iterator(copy.path())) {
    if (entry.path().filename().string().starts_with("tokenizer")) fs::remove(entry.path());
  }
  cpu::Context ctx(1);
  const auto with = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf")),
             without = load<qwen3_tiny>(ctx, copy.path());
  CHECK(!without.processor.has_tokenizer());
  const auto ids = [&](const Checkpoint<qwen3_tiny>& checkpoint) {
    RunnerAndEngine<qwen3_tiny, cpu::Context, float> on(ctx, checkpoint.vlm, {.kv_tokens = 64});
    return ids_of(*run(on.engine, {.prompt = {{1, 2, 3}}, .generation = {.max_new_tokens = 5}}));
  };
  CHECK(ids(with) == ids(without));
  Runner<qwen3_tiny, cpu::Context> runner(ctx, without.vlm);
  Chat chat(runner, without.processor, {.kv_tokens = 64});
  CHECK(what_of<RequestError>([&] { chat.ask("Hi"); }) ==
        copy.path().string() +
            ": expected tokenizer.json or tokenizer.model beside the weights, found neither: such a "
            "model takes and gives token ids alone");
}

TEST_CASE("A folder whose tokenizer is gpt-oss's is prompted and stopped in its way, in both formats") {
  for (const char* format : {"hf", "github", "mxfp4"}) {
    CAPTURE(format);
    const Processor processor = load_processor(tiny_folder("gpt_oss_tiny", format));
    CHECK(processor.style() == PromptStyle::internvl3_5_gpt_oss);
    CHECK(processor.stop_ids() == std::vector{*processor.tokenizer().id_of("<|return|>")});
  }
  CHECK(load_processor(tiny_folder("qwen3_moe_tiny", "hf")).style() == PromptStyle::hf);
}

}  // namespace
