// GGUF pairs as checkpoints: what golden_test does not ask about them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "../support/golden.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/files/gguf_writer.hpp"
#include "tests/support/gguf_floats.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

fs::path gguf_of(const char* name, const char* file) { return tiny_folder(name, "gguf") / file; }

/// A GGUF file with other texts in it, each as long as the one that it replaces.
void edit_gguf(const fs::path& from, const fs::path& to,
               const std::vector<std::pair<std::string, std::string>>& edits) {
  std::ifstream file(from, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  for (const auto& [text, other] : edits) {
    REQUIRE(text.size() == other.size());
    REQUIRE(bytes.find(text) != bytes.npos);
    for (std::size_t at; (at = bytes.find(text)) != bytes.npos;) bytes.replace(at, text.size(), other);
  }
  std::ofstream(to, std::ios::binary) << bytes;
}

TEST_CASE("A file that mixes types computes with the floats that its blocks mean") {
  const GgufFiles files{tiny_folder("qwen3_moe_tiny", "mixed") / "model.gguf",
                        gguf_of("qwen3_moe_tiny", "mmproj.gguf")};
  cpu::Context ctx(1);
  const auto mixed = load<qwen3_moe_tiny>(ctx, files.model, {.mmproj = files.mmproj});

  const GgufFloats floats(files);
  CHECK(floats.types.size() >= 8);
  Vlm<qwen3_moe_tiny> meant;
  meant.facts = mixed.vlm.facts;
  place_weights(ctx, bind_weights(weight_slots(meant), meant.facts, floats, {.dialects = {Dialect::gguf}}), "floats");

  const Golden golden(fs::path(IVL_SOURCE_DIR) / "tests/golden/models/qwen3_moe_tiny/golden.safetensors");
  const std::vector<std::int32_t> ids{5, 60, 7, 120, 9, 200, 11, 4, 250, 31};
  const auto of_mixed = logits<float>(ctx, mixed.vlm, ids).values, of_floats = logits<float>(ctx, meant, ids).values;
  CHECK(largest_difference(of_mixed, of_floats) <= 4 * golden.number("float32_to_float64_max"));
}

TEST_CASE("Of GGUF files in a folder the pair is found by what they say, not by their names") {
  const test::TemporaryFolder folder;
  const auto found = [&](const fs::path& path, const fs::path& mmproj = {}) { return find_gguf(path, mmproj); };
  const auto why = [&](const fs::path& path, const fs::path& mmproj = {}) {
    return what_of<FileError>([&] { found(path, mmproj); });
  };
  CHECK_FALSE(found(folder.path()));
  CHECK_FALSE(found(folder / "none.gguf"));
  const fs::path model = folder / "b.gguf", mmproj = folder / "a.gguf";
  fs::copy(gguf_of("qwen3_tiny", "model.gguf"), model);
  CHECK(
      contains(why(folder.path()), "b.gguf: expected one mmproj (the tower and the projector) in its folder, found 0"));
  CHECK(found(model, gguf_of("qwen3_tiny", "mmproj.gguf"))->mmproj == gguf_of("qwen3_tiny", "mmproj.gguf"));
  fs::copy(gguf_of("qwen3_tiny", "mmproj.gguf"), mmproj);
  for (const fs::path& path : {folder.path(), model}) {
    const auto pair = found(path);
    REQUIRE(pair);
    CHECK(pair->model == model);
    CHECK(pair->mmproj == mmproj);
  }
  CHECK(contains(why(mmproj), "a.gguf: this is the mmproj"));
  fs::copy(model, folder / "c.gguf");
  CHECK(contains(why(folder.path()),
                 "expected one GGUF file of a language model, found 2: give the path of one of these"));
  CHECK(found(model)->mmproj == mmproj);
  CHECK(contains(why(tiny_folder("qwen3_tiny", "hf"), mmproj), "expected a GGUF file beside the mmproj"));
}

TEST_CASE("A pair whose files do not go together, or say what is not known, is refused by name") {
  const test::TemporaryFolder folder;
  const fs::path model = folder / "model.gguf", mmproj = gguf_of("qwen3_tiny", "mmproj.gguf");
  cpu::Context ctx(1);
  const auto why = [&](const std::vector<std::pair<std::string, std::string>>& edits) {
    edit_gguf(gguf_of("qwen3_tiny", "model.gguf"), model, edits);
    return what_of<Error>([&] { load<qwen3_tiny>(ctx, model, {.mmproj = mmproj}); });
  };
  CHECK(why({}).empty());
  CHECK(contains(why({{"qwen3", "qwen9"}}), "general.architecture: expected qwen2, qwen3, qwen3moe, gpt-oss or llama"));
  CHECK(contains(why({{"block_count", "block_xount"}}), "qwen3.block_count"));
  CHECK(contains(why({{"blk.1.attn_q.weight", "blk.1.attn_x.weight"}}),
                 "tensors differ from the type:\n  blk.1.attn_q.weight: expected [160, 48], found none\n  "
                 "blk.1.attn_x.weight: expected none, found [160, 48]"));
  CHECK(contains(what_of<ConfigError>(
                     [&] { load<qwen2_dynamic>(ctx, gguf_of("qwen2_dynamic", "model.gguf"), {.mmproj = mmproj}); }),
                 "clip.vision.projection_dim: expected the language model's width, 64, found 48: the mmproj is another "
                 "model's"));
  CHECK(contains(
      what_of<ConfigError>([&] { load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "gguf"), {.lora = folder.path()}); }),
      "is GGUF: give the folder that the file was made from"));
  CHECK(contains(what_of<ConfigError>(
                     [&] { load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "gguf"), {.load_as = LoadAs::int8}); }),
                 "expected a folder in F32, BF16 or F16 to load as int8, found GGUF"));
  CHECK(contains(what_of<ConfigError>([&] { load<qwen2_gqa7>(ctx, tiny_folder("qwen3_tiny", "gguf")); }),
                 "model.gguf: another structure than the type"));
}

/// A model's file with another architecture, or with one tensor in another type: its blocks all of `byte`.
void rewrite_gguf(const fs::path& from, const fs::path& to, std::string_view architecture, std::string_view changed,
                  GgmlType type, std::byte byte) {
  const Gguf file(from);
  GgufMetadata metadata;
  for (const std::string_view key : file.keys()) {
    if (key == "general.architecture")
      metadata.add(key, architecture);
    else
      metadata.add(key, file.value_of(key));
  }
  std::vector<GgufTensorToWrite> tensors;
  for (const std::string_view name : file.names()) {
    const GgufTensor& tensor = *file.find(name);
    const GgmlType its = name == changed ? type : tensor.type;
    tensors.push_back({std::string(name), its, tensor.shape, [&, name, its](const ByteSink& write) {
                         if (name != changed) return write(tensor.bytes);
                         write(std::vector<std::byte>(std::size_t(*bytes_of(its, *elements_of(tensor.shape))), byte));
                       }});
  }
  write_gguf(to, metadata, tensors);
}

TEST_CASE("Scales of blocks that are no numbers, types that no matrix has and InternLM2 are refused by name") {
  const test::TemporaryFolder folder;
  cpu::Context ctx(1);
  const auto why = [&](std::string_view architecture, GgmlType type, std::byte byte) {
    fs::remove(folder / "model.gguf");
    rewrite_gguf(gguf_of("qwen3_moe_tiny", "model.gguf"), folder / "model.gguf", architecture, "blk.1.attn_q.weight",
                 type, byte);
    const std::string text = what_of<Error>([&] {
      load<qwen3_moe_tiny>(ctx, folder / "model.gguf", {.mmproj = gguf_of("qwen3_moe_tiny", "mmproj.gguf")});
    });
    CHECK((text.empty() || text.starts_with((folder / "model.gguf").string() + ": ")));
    return text.empty() ? text : text.substr((folder / "model.gguf").string().size() + 2);
  };
  CHECK(why("qwen3moe", GgmlType::q8_0, std::byte{1}).empty());
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q5_1, GgmlType::q8_0, GgmlType::iq4_nl}) {
    CAPTURE(std::string(name_of(type)));
    CHECK(why("qwen3moe", type, std::byte{0xff}) == "blk.1.attn_q.weight: a scale is not a finite number");  // d is NaN
  }
  CHECK(
      why("qwen3moe", GgmlType::q8_1, std::byte{1}) ==
      "blk.1.attn_q.weight: the tensor type q8_1 is not supported: expected a scalar, Q*_0, Q*_1, Q*_K, IQ* or MXFP4");
  CHECK(contains(why("internlm2", GgmlType::q8_0, std::byte{1}),
                 "found 'internlm2', which no InternVL3 or InternVL3.5 has"));
}

TEST_CASE("What a GGUF file does not say is that of the published checkpoints, with a note") {
  const CheckpointConfig qwen2 = read_checkpoint_config(tiny_folder("qwen2_dynamic", "gguf"));
  CHECK(qwen2.facts.rope.kind == RopeKind::dynamic_ntk);
  CHECK(qwen2.facts.rope.factor == 2);
  CHECK(qwen2.facts.context_length == 128);
  REQUIRE(qwen2.notes.size() == 1);
  CHECK(contains(qwen2.notes[0], "positions beyond 64"));

  const test::TemporaryFolder folder;
  edit_gguf(gguf_of("qwen3_tiny", "mmproj.gguf"), folder / "mmproj.gguf", {{"preproc_max_tiles", "preproc_xxx_tiles"}});
  fs::copy(gguf_of("qwen3_tiny", "model.gguf"), folder / "model.gguf");
  const CheckpointConfig qwen3 = read_checkpoint_config(folder.path());
  CHECK(qwen3.facts.rope.kind == RopeKind::plain);
  CHECK(qwen3.facts.image.max_tiles == 12);
  REQUIRE(qwen3.notes.size() == 1);
  CHECK(contains(qwen3.notes[0], "12, as in the published checkpoints"));
}

}  // namespace
