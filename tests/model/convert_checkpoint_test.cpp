// GGUF pairs as folders: the right folders are those that the pairs were made from (tests/golden/make_gguf_models.py).
#include "ivl/model/convert_checkpoint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/names.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/formats/ggml.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/gguf_pair.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Name -> shape and bytes of every tensor of a folder, under published names; of F32, whose numbers here are bf16's,
/// the bytes as bf16.
std::map<std::string, std::string> folder_tensors(const std::filesystem::path& folder) {
  const Safetensors files(folder);
  std::map<std::string, std::string> result;
  for (const std::string& name : files.names()) {
    const TensorView& view = *files.find(name);
    std::string bytes(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
    if (view.dtype == Dtype::f32) {
      std::string halves;
      for (std::size_t at = 0; at < bytes.size(); at += 4) {
        REQUIRE(bytes.substr(at, 2) == std::string(2, '\0'));
        halves += bytes.substr(at + 2, 2);
      }
      bytes = halves;
    }
    result[published_name(name)] = shape_text(view.shape) + bytes;
  }
  return result;
}

void check_same_checkpoint(const std::filesystem::path& found_at, const std::filesystem::path& wanted_at) {
  const CheckpointConfig found = read_checkpoint_config(found_at), wanted = read_checkpoint_config(wanted_at);
  CHECK(found.notes.empty());
  CHECK(found.vlm == wanted.vlm);
  CHECK(found.facts.format == wanted.facts.format);
  CHECK(found.facts.family == wanted.facts.family);
  CHECK(found.facts.prompt_template == wanted.facts.prompt_template);
  CHECK(found.facts.rope == wanted.facts.rope);
  CHECK(found.facts.context_length == wanted.facts.context_length);
  CHECK(found.facts.vocab_rows == wanted.facts.vocab_rows);
  CHECK(found.facts.tied_head == wanted.facts.tied_head);
  CHECK(found.facts.language_norm_eps == wanted.facts.language_norm_eps);
  CHECK(found.facts.vision_norm_eps == wanted.facts.vision_norm_eps);
  CHECK(found.facts.image.max_tiles == wanted.facts.image.max_tiles);
  CHECK(found.facts.image.thumbnail == wanted.facts.image.thumbnail);
  CHECK(found.facts.image.mean == wanted.facts.image.mean);
  CHECK(found.facts.image.deviation == wanted.facts.image.deviation);
  const Processor from = load_processor(wanted_at), to = load_processor(found_at);
  CHECK(from.end_token() == to.end_token());
  const std::string text = "Two  tests: <IMG_CONTEXT>été 123!<|im_end|>\n";
  CHECK(from.tokenizer().encode(text) == to.tokenizer().encode(text));
  CHECK(from.tokenizer().bos() == to.tokenizer().bos());
}

std::vector<float> rounded_floats(const GgufTensor& tensor) {
  const std::int64_t in = tensor.shape[tensor.shape.rank() - 1], out = *elements_of(tensor.shape) / in;
  std::vector<float> floats(std::size_t(out * in));
  dequantise_rows(tensor.type, tensor.bytes, out, in, floats.data());
  for (float& number : floats) number = to_float(round_to<bf16>(number));
  return floats;
}

TEST_CASE("A GGUF pair in bf16 becomes the folder that it was made from, in either format") {
  for (const std::string name :
       {"qwen2_dynamic", "qwen3_tiny", "qwen3_moe_tiny", "gpt_oss_tiny", "internlm3_tiny", "vit6b_qwen3"}) {
    for (const FolderFormat format : {FolderFormat::github, FolderFormat::hf}) {
      CAPTURE(name);
      const std::filesystem::path wanted = tiny_folder(name, format == FolderFormat::hf ? "hf" : "github");
      CAPTURE(wanted);
      const test::TemporaryFolder work;
      convert_checkpoint(tiny_folder(name, "gguf"), work / "folder", format);
      CHECK(folder_tensors(work / "folder") == folder_tensors(wanted));
      check_same_checkpoint(work / "folder", wanted);
    }
  }
}

TEST_CASE("A folder goes through a GGUF pair with its prompts") {
  for (const std::string name : {"qwen3_tiny", "gpt_oss_tiny", "internlm3_tiny"}) {
    for (const std::string format : {"github", "hf"}) {
      CAPTURE(name);
      CAPTURE(format);
      const test::TemporaryFolder work;
      const std::filesystem::path from = tiny_folder(name, format);
      write_gguf_pair(from, {work / "model.gguf", work / "mmproj.gguf"}, GgufMixture::bf16);
      convert_checkpoint(work / "model.gguf", work / "folder", {});
      CHECK(folder_tensors(work / "folder") == folder_tensors(from));
      check_same_checkpoint(work / "folder", from);
      const Processor was = load_processor(from), is = load_processor(work / "folder");
      CHECK(was.segments(std::nullopt, {}, "What is <image>this?", 1) ==
            is.segments(std::nullopt, {}, "What is <image>this?", 1));
    }
  }
}

TEST_CASE("A quantised GGUF pair becomes the bf16 nearest to what its blocks mean") {
  for (const std::string name : {"qwen3_tiny", "qwen3_moe_tiny", "gpt_oss_tiny", "internlm3_tiny"}) {
    CAPTURE(name);
    const test::TemporaryFolder work;
    write_gguf_pair(tiny_folder(name, "github"), {work / "model.gguf", work / "mmproj.gguf"}, GgufMixture::q8_0);
    convert_checkpoint(work.path(), work / "folder", {});
    write_gguf_pair(work / "folder", {work / "m.gguf", work / "mm.gguf"}, GgufMixture::bf16);
    int blocks = 0;
    for (const auto& [quantised, wide] : {std::pair{"model.gguf", "m.gguf"}, {"mmproj.gguf", "mm.gguf"}}) {
      const Gguf from(work / quantised), to(work / wide);
      for (const std::string_view tensor : from.names()) {
        CAPTURE(std::string(tensor));
        REQUIRE(to.find(tensor) != nullptr);
        CHECK(rounded_floats(*from.find(tensor)) == rounded_floats(*to.find(tensor)));
        blocks += block_elements(from.find(tensor)->type) > 1;
      }
    }
    CHECK(blocks >= 9);
  }
}

TEST_CASE("What cannot be made of a GGUF pair is refused, and no config.json is there") {
  const test::TemporaryFolder work;
  const std::filesystem::path pair = tiny_folder("qwen3_tiny", "gguf");
  CHECK(test::error_of<ConfigError>([&] {
          convert_checkpoint(pair, work / "there", {}, {.lora = "adapter"});
        }).ends_with("is GGUF: convert it first"));
  CHECK(!std::filesystem::exists(work / "there"));
  convert_checkpoint(pair, work / "there", {});
  CHECK(test::error_of<FileError>([&] {
          convert_checkpoint(pair, work / "there", {});
        }).ends_with("expected a new or empty folder, found files in it"));
}

}  // namespace
