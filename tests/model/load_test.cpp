// Weights from memory: under canonical and published names, and what is said of those that are not there.
#include "ivl/model/load.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../support/own_tensors.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cpu/cpu.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// The placed bytes of all weights.
template <VlmConfig C>
std::vector<std::string> contents_of(Vlm<C>& vlm) {
  std::vector<std::string> all;
  for (const WeightSlot& slot : weight_slots(vlm)) {
    const Memory& memory = slot.matrix    ? slot.matrix->memory()
                           : slot.vector  ? slot.vector->memory
                           : slot.mixture ? slot.mixture->all.memory()
                                          : slot.table->memory;
    REQUIRE(memory.bytes > 0);
    // Behind the last expert lies padding.
    const std::size_t bytes =
        slot.mixture ? std::size_t(slot.mixture->experts * slot.mixture->all.strips[0].bytes) : memory.bytes;
    all.emplace_back(reinterpret_cast<const char*>(memory.data), bytes);
  }
  return all;
}

template <VlmConfig C>
void check_from_memory(const std::string& model) {
  CAPTURE(model);
  cpu::Context ctx(1);
  for (const char* format : {"github", "hf"}) {
    const auto folder = tiny_folder(model, format);
    const CheckpointConfig config = read_checkpoint_config(folder);
    Vlm<C> from_folder = load_weights<C>(ctx, folder, config);
    for (const bool whole : {false, true}) {
      Vlm<C> canonical = load<C>(ctx, config.facts, canonical_tensors<C>(folder, config.facts, whole));
      CHECK((contents_of(canonical) == contents_of(from_folder)));
    }
    // Whatever format the facts speak of.
    ModelFacts facts = config.facts;
    facts.format = FolderFormat::github;
    Vlm<C> published = load<C>(ctx, facts, FolderWeights(folder));
    CHECK((contents_of(published) == contents_of(from_folder)));
  }
}

/// The bytes of a folder with an adapter, and of a folder whose weights were merged before.
void check_with_adapter(const char* format) {
  CAPTURE(format);
  CheckpointCopy copy(tiny_folder("qwen3_tiny", format));
  const CheckpointConfig config = read_checkpoint_config(copy.path());
  const LoadOptions with_lora{.lora = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/lora" / format};
  cpu::Context ctx(1);
  Vlm<qwen3_tiny> base = load_weights<qwen3_tiny>(ctx, copy.path(), config),
                  adapted = load_weights<qwen3_tiny>(ctx, copy.path(), config, with_lora);
  {
    const FolderWeights files(copy.path());
    const MergedWeights merged(files, with_lora.lora, config.facts);
    for (const std::string& name : merged.names()) {
      const TensorView& view = *merged.find(name);
      merged.prepare(view);
      copy.tensors[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    }
  }
  copy.write_tensors();
  Vlm<qwen3_tiny> wanted = load_weights<qwen3_tiny>(ctx, copy.path(), config);
  CHECK((contents_of(adapted) == contents_of(wanted)));
  CHECK((contents_of(adapted) != contents_of(base)));
}

struct TinyInMemory {
  cpu::Context ctx{1};
  ModelFacts facts = read_checkpoint_config(tiny_folder("qwen3_tiny", "github")).facts;
  OwnTensors tensors = canonical_tensors<qwen3_tiny>(tiny_folder("qwen3_tiny", "github"), facts, false);

  std::string error() {
    return what_of<Error>([&] { load<qwen3_tiny>(ctx, facts, tensors); });
  }
};

}  // namespace

TEST_CASE("A folder loads with an adapter as its merged weights would") {
  check_with_adapter("hf");
  check_with_adapter("github");
}

TEST_CASE("Weights from memory, under canonical or published names, are those of the folder") {
  check_from_memory<qwen3_tiny>("qwen3_tiny");
  check_from_memory<qwen2_gqa7>("qwen2_gqa7");
  check_from_memory<qwen3_moe_tiny>("qwen3_moe_tiny");
  check_from_memory<gpt_oss_tiny>("gpt_oss_tiny");
}

TEST_CASE("Everything that is missing or misshapen in memory stands in one error") {
  TinyInMemory tiny;
  CHECK(tiny.error() == "");
  auto& tensors = tiny.tensors.tensors;
  CHECK(tensors.erase("language.blocks.1.down.weight") == 1);
  CHECK(tensors.erase("language.blocks.0.v.weight") == 1);
  tensors.at("vision.class_token").shape = {64};
  tensors.at("language.blocks.2.up.weight").dtype = Dtype::i16;
  tiny.tensors.refresh();
  CHECK(tiny.error() ==
        "weights from memory: tensors differ from the type:"
        "\n  vision.class_token: expected [1, 1, 64], found [64]"
        "\n  language.blocks.0.v.weight: expected [32, 48], found none"
        "\n  language.blocks.1.down.weight: expected [48, 48], found none"
        "\n  language.blocks.2.up.weight: expected F32, BF16 or F16, found I16");
}

TEST_CASE("Only a tied head may be missing, and it is the embedding") {
  TinyInMemory tiny;
  CHECK(tiny.tensors.tensors.erase("language.head.weight") == 1);
  tiny.tensors.refresh();
  CHECK(tiny.error().ends_with(":\n  language.head.weight: expected [320, 48], found none"));
  tiny.facts.tied_head = true;
  Vlm<qwen3_tiny> tied = load<qwen3_tiny>(tiny.ctx, tiny.facts, tiny.tensors);
  tiny.tensors.add("language.head.weight", *tiny.tensors.find("language.embedding.weight"));
  Vlm<qwen3_tiny> stored = load<qwen3_tiny>(tiny.ctx, tiny.facts, tiny.tensors);
  CHECK((contents_of(tied) == contents_of(stored)));
}

TEST_CASE("A binding with something missing is not placed") {
  TinyInMemory tiny;
  CHECK(tiny.tensors.tensors.erase("language.norm.weight") == 1);
  tiny.tensors.refresh();
  Vlm<qwen3_tiny> vlm;
  const Binding binding = bind_weights(weight_slots(vlm), tiny.facts, tiny.tensors, {.dialects = {Dialect::canonical}});
  const std::string error = what_of<ConfigError>([&] { place_weights(tiny.ctx, binding, "here"); });
  CHECK(error == "here: tensors differ from the type:\n  language.norm.weight: expected [48], found none");
  CHECK(vlm.language.norm_gain.data() == nullptr);
  CHECK(vlm.vision.patch_bias.data() == nullptr);
}

TEST_CASE("Experts in a family that has none are refused by name") {
  cpu::Context ctx(1);
  ModelFacts facts;
  facts.vocab_rows = 320;
  CHECK(what_of<ConfigError>([&] { load<qwen3_moe_tiny>(ctx, facts, NoTensors{}); }) ==
        "files of the family qwen3 (ModelFacts::family) have no language.blocks.#.router.weight");
}

TEST_CASE("A number that cannot be placed is refused with folder and tensor") {
  CheckpointCopy copy(tiny_folder("gpt_oss_tiny", "mxfp4"));
  const std::string experts = "language_model.model.layers.1.mlp.experts.down_proj";
  copy.tensors.at(experts + "_scales").bytes[3] = std::byte{255};
  copy.write_tensors();
  cpu::Context ctx(1);
  const std::string error =
      what_of<FileError>([&] { load_weights<gpt_oss_tiny>(ctx, copy.path(), read_checkpoint_config(copy.path())); });
  CHECK(error.starts_with(copy.path().string() + ": " + experts + "_scales: "));
  CHECK(contains(error, "255"));
}
