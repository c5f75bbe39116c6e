// The right files are those that the gguf package wrote of the same checkpoints (tests/golden/make_gguf_models.py).
#include "ivl/model/gguf_pair.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/files/gguf.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/formats/ggml.hpp"
#include "ivl/formats/quantise.hpp"
#include "ivl/model/checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

const std::filesystem::path golden_pairs = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/models";

/// The checkpoint of a folder in new files of one folder.
struct WrittenPair {
  test::TemporaryFolder folder;
  std::vector<std::string> notes;
  GgufFiles paths{folder / "out.gguf", folder / "mm.gguf"};

  WrittenPair(const std::filesystem::path& from, GgufMixture mixture) {
    write_gguf_pair(from, paths, mixture, {.note = [&](const std::string& note) { notes.push_back(note); }});
  }
  Gguf model() const { return Gguf(paths.model); }
  Gguf mmproj() const { return Gguf(paths.mmproj); }
};

void check_same_tensors(const Gguf& found, const Gguf& expected) {
  CHECK(found.size() == expected.size());
  for (const std::string_view name : expected.names()) {
    CAPTURE(std::string(name));
    const GgufTensor *a = found.find(name), *b = expected.find(name);
    REQUIRE(a != nullptr);
    CHECK(a->type == b->type);
    CHECK(a->shape == b->shape);
    CHECK(std::ranges::equal(a->bytes, b->bytes));
  }
}

void check_same_keys(const Gguf& found, const Gguf& expected) {
  const std::set<std::string_view> own = {"general.name", "tokenizer.ggml.padding_token_id",
                                          "qwen3moe.feed_forward_length"};
  for (const std::string_view key : expected.keys()) {
    if (own.contains(key)) continue;
    CAPTURE(std::string(key));
    REQUIRE(found.has(key));
    const GgufValue &a = found.value_of(key), &b = expected.value_of(key);
    CHECK(a.kind == b.kind);
    CHECK(a.is_array == b.is_array);
    CHECK(std::ranges::equal(a.bytes, b.bytes));
  }
}

std::vector<float> floats_in(const GgufTensor& tensor) {
  const std::int64_t in = tensor.shape[tensor.shape.rank() - 1], out = *elements_of(tensor.shape) / in;
  std::vector<float> floats(std::size_t(out * in));
  dequantise_rows(tensor.type, tensor.bytes, out, in, floats.data());
  return floats;
}

TEST_CASE("a folder's pair in bf16 has the keys and, to the bit, the tensors of the gguf package's pair") {
  for (const char* name :
       {"qwen2_dynamic", "qwen3_tiny", "qwen3_moe_tiny", "gpt_oss_tiny", "internlm3_tiny", "vit6b_qwen3"}) {
    for (const char* format : {"github", "hf"}) {
      CAPTURE(name);
      CAPTURE(format);
      const WrittenPair pair(golden_pairs / name / format, GgufMixture::bf16);
      CHECK(pair.notes.empty());
      check_same_tensors(pair.model(), Gguf(golden_pairs / name / "gguf/model.gguf"));
      check_same_tensors(pair.mmproj(), Gguf(golden_pairs / name / "gguf/mmproj.gguf"));
      check_same_keys(pair.model(), Gguf(golden_pairs / name / "gguf/model.gguf"));
      check_same_keys(pair.mmproj(), Gguf(golden_pairs / name / "gguf/mmproj.gguf"));
      CHECK(pair.model().get<int>("general.file_type") == 32);

      const CheckpointConfig was = read_checkpoint_config(golden_pairs / name / format),
                             is = read_checkpoint_config(pair.folder.path());
      CHECK(was.vlm == is.vlm);
      CHECK(was.facts.rope == is.facts.rope);
      CHECK(was.facts.context_length == is.facts.context_length);
      const Processor from = load_processor(golden_pairs / name / format), to = load_processor(pair.folder.path());
      CHECK(from.end_token() == to.end_token());
      CHECK(was.facts.format == is.facts.format);
      CHECK(was.facts.prompt_template == is.facts.prompt_template);
      CHECK(from.segments(std::nullopt, {}, "What is <image>this?", 1) ==
            to.segments(std::nullopt, {}, "What is <image>this?", 1));
      const std::string text = "Two  tests: <IMG_CONTEXT>été 123!<|im_end|>\n";
      CHECK(from.tokenizer().encode(text) == to.tokenizer().encode(text));
    }
  }
}

TEST_CASE("GPT-OSS's experts keep their codes in every mixture") {
  const WrittenPair pair(golden_pairs / "gpt_oss_tiny/mxfp4", GgufMixture::bf16);
  const Gguf model = pair.model(), scalars(golden_pairs / "gpt_oss_tiny/gguf/model.gguf");
  int experts = 0;
  for (const std::string_view name : model.names()) {
    const GgufTensor& tensor = *model.find(name);
    CAPTURE(std::string(name));
    CHECK(tensor.shape == scalars.find(name)->shape);
    if (tensor.shape.rank() != 3) continue;
    ++experts;
    CHECK(tensor.type == GgmlType::mxfp4);
    CHECK(floats_in(tensor) == floats_in(*scalars.find(name)));  // the folders hold the same numbers
  }
  CHECK(experts == 3 * model.get<int>("gpt-oss.block_count"));
}

TEST_CASE("a mixture's matrices are the quantised rows of the folder's, and a pair may be quantised like a folder") {
  const WrittenPair from_folder(golden_pairs / "qwen3_moe_tiny/github", GgufMixture::q8_0),
      from_pair(golden_pairs / "qwen3_moe_tiny/gguf", GgufMixture::q8_0);
  const Gguf scalars(golden_pairs / "qwen3_moe_tiny/gguf/model.gguf"), model = from_folder.model();
  int quantised = 0;
  for (const std::string_view name : scalars.names()) {
    CAPTURE(std::string(name));
    const GgufTensor &from = *scalars.find(name), &to = *model.find(name);
    CHECK(to.shape == from.shape);
    if (to.type == from.type) continue;
    CHECK(from.type == GgmlType::bf16);
    quantised += to.type == GgmlType::q8_0;
    const std::vector<std::byte> expected = quantise_rows(to.type, floats_in(from));
    CHECK(std::ranges::equal(to.bytes, expected));
  }
  CHECK(quantised > 10);
  check_same_tensors(from_pair.model(), model);
  check_same_tensors(from_pair.mmproj(), from_folder.mmproj());
  check_same_keys(from_pair.model(), scalars);
  CHECK(model.get<int>("general.file_type") == 7);
  CHECK(from_pair.notes.empty());

  const WrittenPair again(from_folder.folder.path(), GgufMixture::q4_0);
  REQUIRE(again.notes.size() == 1);  // the mmproj has eight bits in both
  CHECK(again.notes[0].ends_with("tensors were quantised before, and lose more by being quantised again"));
}

TEST_CASE("what cannot be written is refused, and nothing is written over") {
  const test::TemporaryFolder folder;
  const auto error = [&](const char* from, GgufFiles to, GgufMixture mixture) {
    return test::error_of<Error>([&] { write_gguf_pair(golden_pairs / from, to, mixture); });
  };
  const std::filesystem::path there = folder.write("there.gguf", "x");
  CHECK(error("qwen3_tiny/hf", {there, {}}, GgufMixture::bf16)
            .ends_with("there.gguf: expected a new file, found one that is there"));
  CHECK(error("qwen3_tiny/hf", {folder / "a.gguf", there}, GgufMixture::bf16).ends_with("found one that is there"));
  CHECK(error("qwen3_tiny/hf", {folder / "a.gguf", folder / "a.gguf"}, GgufMixture::bf16)
            .ends_with("found the same path for the model and the mmproj"));
  CHECK(error("qwen3_tiny/hf", {folder / "a.gguf", {}}, GgufMixture::mxfp4)
            .ends_with("mxfp4 is for experts, and this model has none: expected another type, such as q4_k_m"));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  write_gguf_pair(golden_pairs / "qwen3_tiny/hf", {folder / "a.gguf", {}}, GgufMixture::f16);
  CHECK(Gguf(folder / "a.gguf").find("v.class_embd") == nullptr);
}

}  // namespace
