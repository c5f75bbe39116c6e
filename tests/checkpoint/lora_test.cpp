// LoRA adapters merged into a folder's weights, against what PEFT merges (tests/golden/make_lora.py).
#include "ivl/checkpoint/lora.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/checkpoint_copy.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "tests/support/hex_sha256.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

const fs::path adapters = fs::path(IVL_SOURCE_DIR) / "tests/golden/lora";

/// The tensors of a folder with an adapter, each of them merged and let go again.
std::map<std::string, OwnedTensor> merged_tensors(const fs::path& folder, const fs::path& adapter) {
  const FolderWeights base(folder);
  const MergedWeights merged(base, adapter, read_checkpoint_config(folder).facts);
  std::map<std::string, OwnedTensor> tensors;
  for (const std::string& name : merged.names()) {
    const TensorView* view = merged.find(name);
    REQUIRE(view != nullptr);
    const auto bytes = view->bytes.size();
    merged.prepare(*view);
    tensors[name] = {view->dtype, view->shape, {view->bytes.begin(), view->bytes.end()}};
    merged.release(*view);
    CHECK(view->bytes.size() == bytes);
  }
  return tensors;
}

void check_digests(const std::map<std::string, OwnedTensor>& tensors, const char* golden) {
  const Json digests = read_json(adapters / golden / "merged.json")["sha256"];
  CHECK(tensors.size() == digests.size());
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    REQUIRE(digests.contains(name));
    CHECK(test::hex_sha256(tensor.bytes) == digests[name].get<std::string>());
  }
}

/// A copy of a golden adapter that a test may change.
struct AdapterCopy {
  explicit AdapterCopy(const char* golden) {
    fs::copy(adapters / golden, folder.path());
    const Safetensors file(adapters / golden / "adapter_model.safetensors");
    for (const std::string& name : file.names()) {
      const TensorView& view = *file.find(name);
      tensors[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    }
  }
  const fs::path& path() const { return folder.path(); }
  void write() const {
    std::vector<NamedTensor> named;
    for (const auto& [name, tensor] : tensors) named.push_back({name, {tensor.dtype, tensor.shape, tensor.bytes}});
    write_safetensors(path() / "adapter_model.safetensors", named);
  }
  void set(const char* key, const Json& value) const {
    Json config = read_json(path() / "adapter_config.json");
    config[key] = value;
    std::ofstream(path() / "adapter_config.json") << config.dump(1);
  }

  std::map<std::string, OwnedTensor> tensors;
  test::TemporaryFolder folder;
};

std::string lora_refusal(const char* format, const fs::path& adapter) {
  return what_of<Error>([&] { merged_tensors(tiny_folder("qwen3_tiny", format), adapter); });
}

/// F32 or BF16 values rounded to BF16.
std::vector<std::byte> in_bf16(const OwnedTensor& tensor) {
  if (tensor.dtype == Dtype::bf16) return tensor.bytes;
  std::vector<std::byte> rounded(tensor.bytes.size() / 2);
  for (std::size_t i = 0; i < rounded.size() / 2; ++i) {
    float x;
    std::memcpy(&x, tensor.bytes.data() + 4 * i, sizeof x);
    const bf16 y = round_to<bf16>(x);
    std::memcpy(rounded.data() + 2 * i, &y, sizeof y);
  }
  return rounded;
}

}  // namespace

TEST_CASE("merged weights are those of PEFT's merge_and_unload, bit for bit") {
  for (const char* format : {"hf", "github"}) {
    CAPTURE(format);
    check_digests(merged_tensors(tiny_folder("qwen3_tiny", format), adapters / format), format);
  }
}

TEST_CASE("a merged tensor has bytes only from prepare to release") {
  const fs::path folder = tiny_folder("qwen3_tiny", "hf");
  const FolderWeights base(folder);
  const MergedWeights merged(base, adapters / "hf", read_checkpoint_config(folder).facts);
  const TensorView* view = merged.find("language_model.model.layers.1.self_attn.q_proj.weight");
  REQUIRE(view != nullptr);
  CHECK((view->bytes.data() == nullptr && view->bytes.size() == 160 * 48 * 4));
  merged.prepare(*view);
  CHECK(view->bytes.data() != nullptr);
  merged.release(*view);
  CHECK((view->bytes.data() == nullptr && view->bytes.size() == 160 * 48 * 4));
  CHECK(merged.find("language_model.model.norm.weight") == base.find("language_model.model.norm.weight"));
}

TEST_CASE("an adapter may have the published HF names, and the adapter's name in its tensors' names") {
  AdapterCopy copy("hf");
  std::map<std::string, OwnedTensor> renamed;
  for (const auto& [name, tensor] : copy.tensors) {
    std::string other = name;
    const auto replace = [&](std::string_view from, std::string_view to) {
      if (const std::size_t at = other.find(from); at != other.npos) other.replace(at, from.size(), to);
    };
    replace("model.model.language_model.", "model.language_model.model.");
    replace("model.model.vision_tower.", "model.vision_tower.");
    replace("model.model.multi_modal", "model.multi_modal");
    replace("base_model.model.lm_head", "base_model.model.language_model.lm_head");
    replace(".lora_A.", ".lora_A.default.");
    replace(".lora_B.", ".lora_B.default.");
    renamed[other] = tensor;
  }
  REQUIRE(renamed.contains("base_model.model.language_model.model.layers.2.mlp.down_proj.lora_A.default.weight"));
  REQUIRE(renamed.contains("base_model.model.vision_tower.encoder.layer.0.attention.v_proj.lora_B.default.weight"));
  copy.tensors = std::move(renamed);
  copy.write();
  copy.set("rank_pattern", {{"down_proj", 3}, {"language_model\\.model\\.layers\\.[12]\\.self_attn\\.q_proj", 4}});
  check_digests(merged_tensors(tiny_folder("qwen3_tiny", "hf"), copy.path()), "hf");
}

TEST_CASE("an adapter of one format merges into a base of the other: q, k and v of the tower are parts of qkv") {
  const std::string layer = "vision_model.encoder.layers.0.attn.", hf_layer = "vision_tower.encoder.layer.0.attention.";
  for (const char* adapter : {"hf", "github"}) {
    CAPTURE(adapter);
    const auto hf = merged_tensors(tiny_folder("qwen3_tiny", "hf"), adapters / adapter);
    const auto github = merged_tensors(tiny_folder("qwen3_tiny", "github"), adapters / adapter);
    std::vector<std::byte> qkv;
    for (const char* part : {"q", "k", "v"}) {
      const auto rows = in_bf16(hf.at(hf_layer + part + "_proj.weight"));
      qkv.insert(qkv.end(), rows.begin(), rows.end());
    }
    CHECK(github.at(layer + "qkv.weight").bytes == qkv);
    for (const auto& [github_name, hf_name] :
         std::map<std::string, std::string>{{layer + "proj.weight", hf_layer + "projection_layer.weight"},
                                            {"mlp1.1.weight", "multi_modal_projector.linear_1.weight"},
                                            {"mlp1.3.weight", "multi_modal_projector.linear_2.weight"},
                                            {"mlp1.3.bias", "multi_modal_projector.linear_2.bias"},
                                            {"language_model.lm_head.weight", "language_model.lm_head.weight"},
                                            {"language_model.model.layers.1.self_attn.q_proj.weight",
                                             "language_model.model.layers.1.self_attn.q_proj.weight"}}) {
      CAPTURE(github_name);
      CHECK(in_bf16(github.at(github_name)) == in_bf16(hf.at(hf_name)));
    }
  }
}

TEST_CASE("the head of a tied base is merged where the adapter brings it along") {
  CheckpointCopy base(tiny_folder("qwen3_tiny", "hf"));
  base.edit_json("config.json", [](Json& config) { config["tie_word_embeddings"] = true; });
  base.tensors.erase("language_model.lm_head.weight");
  base.write_tensors();
  check_digests(merged_tensors(base.path(), adapters / "hf"), "hf");

  AdapterCopy copy("hf");
  copy.tensors.erase("base_model.model.lm_head.base_layer.weight");
  copy.write();
  CHECK(contains(what_of<FileError>([&] { merged_tensors(base.path(), copy.path()); }),
                 ": these are in the adapter and not in the model:\n  language_model.lm_head"));
  std::erase_if(copy.tensors, [](const auto& tensor) { return contains(tensor.first, "lm_head"); });
  copy.tensors["base_model.model.model.language_model.embed_tokens.weight"] =
      base.tensors.at("language_model.model.embed_tokens.weight");
  copy.write();
  CHECK(contains(what_of<ConfigError>([&] { merged_tensors(base.path(), copy.path()); }),
                 "replaces the embedding, to which the head of the base is tied"));
}

TEST_CASE("what is no plain LoRA is refused by its key") {
  const std::vector<std::pair<const char*, Json>> refused = {
      {"peft_type", "LOHA"},
      {"peft_type", "IA3"},
      {"peft_type", "PROMPT_TUNING"},
      {"bias", "lora_only"},
      {"use_dora", true},
      {"lora_bias", true},
      {"target_parameters", {"mlp.experts.gate_up_proj"}},
      {"trainable_token_indices", {1, 2}},
      {"layer_replication", Json::array({Json::array({0, 2})})},
      {"alora_invocation_tokens", {1}},
      {"init_lora_weights", "pissa"},
      {"some_new_key", 7},
  };
  for (const auto& [key, value] : refused) {
    CAPTURE(key);
    const AdapterCopy copy("github");
    copy.set(key, value);
    CHECK(contains(lora_refusal("github", copy.path()), "adapter_config.json: " + std::string(key) + ": expected "));
    CHECK(contains(lora_refusal("github", copy.path()), "merge_and_unload()"));
  }
  const AdapterCopy copy("github");
  copy.set("init_lora_weights", "gaussian");
  copy.set("fan_in_fan_out", true);  // PEFT takes it back for nn.Linear
  copy.set("lora_dropout", 0.1);
  check_digests(merged_tensors(tiny_folder("qwen3_tiny", "github"), copy.path()), "github");
  copy.set("alpha_pattern", {{"(?P<name>q)", 1}});
  CHECK(contains(lora_refusal("github", copy.path()), "alpha_pattern: '(?P<name>q)': expected a regular expression"));
}

TEST_CASE("an adapter is not merged into quantised weights") {
  const std::string q = "language_model.model.layers.1.self_attn.q_proj";
  for (const char* suffix : {".qweight", ".weight_scale_inv", ".weight_packed", ".SCB"}) {
    CheckpointCopy base(tiny_folder("qwen3_tiny", "github"));
    base.tensors[q + suffix] = {Dtype::f32, {1}, std::vector<std::byte>(4)};
    base.write_tensors();
    const FolderWeights weights(base.path());
    const AdapterCopy adapter("github");
    adapter.write();
    const std::string text = what_of<FileError>(
        [&] { const MergedWeights merged(weights, adapter.path(), read_checkpoint_config(base.path()).facts); });
    CHECK(contains(text, q + ": this weight of the base is quantised: merge the adapter into"));
  }
}

TEST_CASE("tensors of an adapter that fit nothing are listed, ten of them") {
  const std::string attention = "base_model.model.language_model.model.layers.1.self_attn.";
  AdapterCopy copy("github");
  const OwnedTensor a = copy.tensors.at(attention + "q_proj.lora_A.weight");
  const OwnedTensor b = copy.tensors.at(attention + "q_proj.lora_B.weight");
  const auto refusal_with = [&](const std::string& name, const OwnedTensor& tensor) {
    AdapterCopy changed("github");
    changed.tensors[name] = tensor;
    changed.write();
    return lora_refusal("github", changed.path());
  };
  CHECK(contains(refusal_with("model.layers.0.q.lora_A.weight", a),
                 "expected a name that begins with base_model.model."));
  CHECK(contains(refusal_with("base_model.model.model.embed_tokens.lora_embedding_A", a), "adapter of the embedding"));
  CHECK(contains(refusal_with(attention + "q_proj.lora_magnitude_vector", a),
                 "not in the model:\n  language_model.model.layers.1.self_attn.q_proj.lora_magnitude_vector"));
  CHECK(contains(refusal_with(attention + "k_proj.lora_A.weight", a), "expected lora_A and lora_B, found no lora_B"));
  OwnedTensor cut = b;
  cut.shape = {40, 12};
  CHECK(contains(refusal_with(attention + "q_proj.lora_B.weight", cut),
                 "lora_A [3, 48] and lora_B [40, 12] do not fit language_model.model.layers.1.self_attn.q_proj.weight, "
                 "BF16 [160, 48]"));
  copy.set("r", 4);
  CHECK(contains(lora_refusal("github", copy.path()), "expected the rank 4, found 3 rows of lora_A"));
  copy.set("r", 3);
  for (int layer = 3; layer < 15; ++layer) {
    const std::string module = "base_model.model.language_model.model.layers." + std::to_string(layer) + ".mlp.up_proj";
    copy.tensors[module + ".lora_A.weight"] = a;
    copy.tensors[module + ".lora_B.weight"] = b;
  }
  copy.write();
  const std::string many = lora_refusal("github", copy.path());
  CHECK(contains(many, "not in the model:\n  language_model.model.layers.10.mlp.up_proj\n"));
  CHECK(many.ends_with("\n  and 2 more"));
}

TEST_CASE("experts that are modules of their own take adapters, fused ones do not") {
  // Rank 1 with alpha 3: W + 3 b a, in float.
  const auto adapter_of = [](const test::TemporaryFolder& folder, const std::string& module, std::int64_t out,
                             std::int64_t in) {
    std::vector<float> a(static_cast<std::size_t>(in), 0.375f), b(static_cast<std::size_t>(out));
    for (std::size_t row = 0; row < b.size(); ++row) b[row] = 0.1f * float(row);
    const std::string name = "base_model.model." + module;
    const std::vector<NamedTensor> tensors = {
        {name + ".lora_A.weight", {Dtype::f32, {1, in}, std::as_bytes(std::span(a))}},
        {name + ".lora_B.weight", {Dtype::f32, {out, 1}, std::as_bytes(std::span(b))}}};
    write_safetensors(folder / "adapter_model.safetensors", tensors);
    folder.write("adapter_config.json", R"({"peft_type": "LORA", "r": 1, "lora_alpha": 3})");
  };
  const std::string module = "language_model.model.layers.1.mlp.experts.5.up_proj";
  const test::TemporaryFolder expert, fused;
  adapter_of(expert, module, 32, 64);
  const fs::path mixture = tiny_folder("qwen3_moe_tiny", "hf");
  const auto merged = merged_tensors(mixture, expert.path());
  const FolderWeights base(mixture);
  for (const auto& [name, tensor] : merged) {
    CAPTURE(name);
    const TensorView& before = *base.find(name);
    std::vector<float> wanted(before.bytes.size() / 4);
    std::memcpy(wanted.data(), before.bytes.data(), before.bytes.size());
    if (name == module + ".weight") {
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const volatile float product = 0.1f * float(i / 64) * 0.375f, delta = 3 * product;
        wanted[i] += delta;
      }
    }
    CHECK(std::memcmp(wanted.data(), tensor.bytes.data(), before.bytes.size()) == 0);
  }

  adapter_of(fused, "language_model.model.layers.1.mlp.experts.gate_up_proj", 64, 64);
  CHECK(contains(what_of<FileError>([&] { merged_tensors(tiny_folder("gpt_oss_tiny", "hf"), fused.path()); }),
                 "not in the model:\n  language_model.model.layers.1.mlp.experts.gate_up_proj"));
}
