// Converting between the two published layouts, against golden folders that hold one checkpoint in both.
#include "ivl/checkpoint/convert.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "../support/tiny_models.hpp"
#include "ivl/checkpoint/convert_config.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "tests/support/hex_sha256.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

const ConvertedTokens qwen3_tokens{.image = 308, .end = 282};

/// Name -> type, shape and bytes of every tensor of a folder, under published names.
std::map<std::string, std::string> contents(const fs::path& folder) {
  const Safetensors files(folder);
  std::map<std::string, std::string> result;
  for (const std::string& name : files.names()) {
    const TensorView& view = *files.find(name);
    result[published_name(name)] = std::string(name_of(view.dtype)) + shape_text(view.shape) +
                                   std::string(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
  }
  return result;
}

FolderFormat other(FolderFormat format) { return format == FolderFormat::hf ? FolderFormat::github : FolderFormat::hf; }
std::string folder_of(FolderFormat format) { return format == FolderFormat::hf ? "hf" : "github"; }

std::string refusal(const fs::path& from, const fs::path& to, FolderFormat target) {
  return test::error_of<Error>([&] { convert_folder(from, to, target, qwen3_tokens); });
}

}  // namespace

TEST_CASE("A converted folder has the tensors and says the structure of the same checkpoint in the other format") {
  for (const char* model :
       {"vit6b_qwen3", "qwen2_gqa7", "qwen3_small_stream"}) {  // the 6B kind of tower has q and k norms
    for (const FolderFormat target : {FolderFormat::hf, FolderFormat::github}) {
      CAPTURE(model);
      CAPTURE(folder_of(target));
      const test::TemporaryFolder work;
      convert_folder(tiny_folder(model, folder_of(other(target))), work.path() / "there", target, qwen3_tokens);
      const fs::path wanted = tiny_folder(model, folder_of(target));
      CHECK(contents(work.path() / "there") == contents(wanted));
      const CheckpointConfig found = read_checkpoint_config(work.path() / "there"),
                             want = read_checkpoint_config(wanted);
      CHECK(found.vlm == want.vlm);
      CHECK(found.facts.format == target);
      CHECK(found.facts.prompt_template == want.facts.prompt_template);
      CHECK(found.facts.vocab_rows == want.facts.vocab_rows);
      CHECK(found.facts.rope == want.facts.rope);
      CHECK(found.facts.tied_head == want.facts.tied_head);
      CHECK(found.facts.stop_ids == want.facts.stop_ids);
      CHECK(found.facts.image.max_tiles == want.facts.image.max_tiles);
      CHECK(found.facts.image.thumbnail == want.facts.image.thumbnail);
      CHECK(found.facts.image.mean == want.facts.image.mean);
      CHECK(fs::exists(work.path() / "there" / "tokenizer_config.json"));
    }
  }
}

TEST_CASE("Converting there and back gives the same weights and the same configs") {
  for (const FolderFormat source : {FolderFormat::hf, FolderFormat::github}) {
    CAPTURE(folder_of(source));
    const test::TemporaryFolder work;
    const fs::path original = tiny_folder("qwen3_tiny", folder_of(source));
    convert_folder(original, work.path() / "there", other(source), qwen3_tokens);
    convert_folder(work.path() / "there", work.path() / "back", source, qwen3_tokens);
    CHECK(contents(work.path() / "back") == contents(original));
    for (const char* file : {"config.json", "preprocessor_config.json", "generation_config.json"}) {
      CAPTURE(file);
      if (fs::exists(original / file)) CHECK(read_json(work.path() / "back" / file) == read_json(original / file));
    }
  }
}

TEST_CASE("A converted gpt-oss checkpoint says its own prompt template") {
  const test::TemporaryFolder work;
  convert_folder(tiny_folder("gpt_oss_tiny", "hf"), work.path() / "there", FolderFormat::github, qwen3_tokens);
  CHECK(read_json(work.path() / "there/config.json")["template"] == "internvl3_5_gpt_oss");
}

TEST_CASE("A GGUF pair that names a prompt template keeps it") {
  CheckpointConfig known = read_checkpoint_config(tiny_folder("gpt_oss_tiny", "gguf"));
  const auto written = [&] { return detail::config_of(known, qwen3_tokens, FolderFormat::github)["template"]; };
  CHECK(written() == "internvl3_5_gpt_oss");
  known.facts.prompt_template = "internvl2_5";
  CHECK(written() == "internvl2_5");
}

TEST_CASE("Pixel statistics that a folder leaves to the defaults are written as people write them") {
  const test::TemporaryFolder work;
  fs::copy(tiny_folder("qwen3_tiny", "hf"), work.path() / "hf", fs::copy_options::recursive);
  fs::remove(work.path() / "hf/preprocessor_config.json");
  convert_folder(work.path() / "hf", work.path() / "github", FolderFormat::github, qwen3_tokens);
  const Json written = read_json(work.path() / "github/preprocessor_config.json");
  CHECK(written["image_mean"] == Json{0.485, 0.456, 0.406});
  CHECK(written["image_std"] == Json{0.229, 0.224, 0.225});
}

TEST_CASE("The HF format learns where an answer ends, and forgets it on the way back") {
  const test::TemporaryFolder work;
  fs::copy(tiny_folder("qwen3_tiny", "github"), work.path() / "github", fs::copy_options::recursive);
  std::ofstream(work.path() / "github/generation_config.json") << R"({"eos_token_id": 280})";
  convert_folder(work.path() / "github", work.path() / "hf", FolderFormat::hf, qwen3_tokens);
  CHECK(read_checkpoint_config(work.path() / "hf").facts.stop_ids == std::vector{280, 282});
  convert_folder(work.path() / "hf", work.path() / "back", FolderFormat::github, qwen3_tokens);
  CHECK(read_json(work.path() / "back/generation_config.json") == Json{{"eos_token_id", 280}});
}

TEST_CASE("An adapter is merged on the way, in either format") {
  const fs::path adapters = fs::path(IVL_SOURCE_DIR) / "tests/golden/lora";
  for (const FolderFormat adapter : {FolderFormat::hf, FolderFormat::github}) {
    CAPTURE(folder_of(adapter));
    const test::TemporaryFolder work;
    const fs::path base = tiny_folder("qwen3_tiny", folder_of(adapter));
    const LoadOptions with_lora{.lora = adapters / folder_of(adapter)};
    convert_folder(base, work / "same", adapter, qwen3_tokens, with_lora);
    convert_folder(base, work / "there", other(adapter), qwen3_tokens, with_lora);
    convert_folder(work / "there", work / "back", adapter, qwen3_tokens);
    CHECK(contents(work / "same") == contents(work / "back"));
    CHECK(contents(work / "same") != contents(base));
    CHECK(read_json(work / "same/config.json") == read_json(base / "config.json"));

    const Json digests = read_json(adapters / folder_of(adapter) / "merged.json")["sha256"];
    const Safetensors merged(work / "same");
    CHECK(merged.size() == digests.size());
    for (const std::string& name : merged.names()) {
      CAPTURE(name);
      CHECK(test::hex_sha256(merged.find(name)->bytes) == digests[name].get<std::string>());
    }
  }
}

TEST_CASE("Harmless extra tensors are not converted, others only where they may be left out") {
  const test::TemporaryFolder work;
  fs::copy(tiny_folder("qwen3_tiny", "hf"), work / "from");
  const auto write_with = [&](const char* extra) {
    const Safetensors files(tiny_folder("qwen3_tiny", "hf"));
    std::vector<NamedTensor> tensors;
    for (const std::string& name : files.names()) tensors.push_back({name, *files.find(name)});
    tensors.push_back({extra, tensors[0].view});
    write_safetensors(work / "from/model.safetensors", tensors);
  };
  write_with("language_model.model.rotary_emb.inv_freq");
  convert_folder(work / "from", work / "there", FolderFormat::github, qwen3_tokens);
  CHECK(contents(work / "there").size() == contents(tiny_folder("qwen3_tiny", "github")).size());
  write_with("more.weight");
  CHECK(refusal(work / "from", work / "there2", FolderFormat::github).find("more.weight") != std::string::npos);
  std::string note;
  convert_folder(work / "from", work / "there2", FolderFormat::github, qwen3_tokens,
                 {.ignore_extra_tensors = true, .note = [&](const std::string& text) { note = text; }});
  CHECK(note.find("were left out: 1\n  more.weight") != std::string::npos);
  CHECK(Safetensors(work / "there2").find("more.weight") == nullptr);
}

TEST_CASE("What cannot be converted is refused by name, and nothing is left behind") {
  const test::TemporaryFolder work;
  const fs::path there = work.path() / "there";
  CHECK(refusal(tiny_folder("qwen3_tiny", "hf"), there, FolderFormat::hf).find("found the wanted one") !=
        std::string::npos);
  CHECK(refusal(tiny_folder("qwen3_tiny", "hf"), work.path(), FolderFormat::github) == "");  // an empty folder will do
  CHECK(refusal(tiny_folder("qwen3_tiny", "hf"), work.path(), FolderFormat::github).find("new or empty folder") !=
        std::string::npos);

  const test::TemporaryFolder copies;
  fs::copy(tiny_folder("qwen3_tiny", "github"), copies.path() / "v1", fs::copy_options::recursive);
  Json config = read_json(copies.path() / "v1/config.json");
  config["ps_version"] = "v1";
  std::ofstream(copies.path() / "v1/config.json") << config;
  CHECK(refusal(copies.path() / "v1", there, FolderFormat::hf).find("ps_version: expected v2") != std::string::npos);

  const auto with_tensors = [&](const char* folder, const std::vector<NamedTensor>& tensors) {
    fs::create_directory(copies.path() / folder);
    fs::copy(tiny_folder("qwen3_tiny", "hf") / "config.json", copies.path() / folder / "config.json");
    write_safetensors(copies.path() / folder / "model.safetensors", tensors);
    return refusal(copies.path() / folder, there, FolderFormat::github);
  };
  const std::vector<std::byte> bytes(64);
  const TensorView four{Dtype::f32, {4}, std::span(bytes).first(16)},
      eight{Dtype::f32, {8}, std::span(bytes).first(32)};
  const std::string q = "vision_tower.encoder.layer.0.attention.q_proj.bias",
                    k = "vision_tower.encoder.layer.0.attention.k_proj.bias",
                    v = "vision_tower.encoder.layer.0.attention.v_proj.bias";
  CHECK(with_tensors("unknown", {{"a.b", four}}).find("the tensor a.b: no weight") != std::string::npos);
  CHECK(with_tensors("placed", {{"a.b", four}}).starts_with((copies.path() / "placed").string() + ": "));
  CHECK(with_tensors("alone", {{q, four}, {v, four}}).find(k + ": expected beside " + q) != std::string::npos);
  CHECK(with_tensors("headless", {{k, four}, {v, four}}).find(q + ": expected beside") != std::string::npos);
  const std::string other_size = with_tensors("other_size", {{q, four}, {k, eight}, {v, four}});
  CHECK(other_size.starts_with((copies.path() / "other_size").string() + ": tensor " + k + ": expected F32 [4] like"));
  const TensorView half{Dtype::bf16, {4}, std::span(bytes).first(8)};
  CHECK(with_tensors("other_type", {{q, four}, {k, half}, {v, four}})
            .find("tensor " + k + ": expected F32 [4] like " + q + ", found BF16 [4]") != std::string::npos);
  const std::string down = "language_model.model.layers.0.mlp.down_proj";
  const TensorView codes{Dtype::f8_e4m3, {4, 16}, bytes}, scales{Dtype::f32, {2, 1}, std::span(bytes).first(8)};
  CHECK(with_tensors("quantised", {{down + ".weight", codes}, {down + ".weight_scale", scales}})
            .find("tensors cannot be converted:\n  " + down + ".weight_scale: expected [4, 1], found [2, 1]") !=
        std::string::npos);
  const std::string as_int8 = test::error_of<ConfigError>([&] {
    convert_folder(tiny_folder("qwen3_tiny", "hf"), there, FolderFormat::github, qwen3_tokens,
                   {.load_as = LoadAs::int8});
  });
  CHECK(as_int8 == "load_as: expected stored, since a folder of floats is written, found int8");
  CHECK(!fs::exists(there));
}
