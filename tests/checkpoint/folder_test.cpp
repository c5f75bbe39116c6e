// Paths that are no checkpoint folders: each error says what it is and what to do.
#include "ivl/checkpoint/folder.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/error.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/text.hpp"

namespace fs = std::filesystem;
using namespace ivl;
using ivl_test::contains;

namespace {

std::string said_of(const fs::path& folder) {
  return test::error_of<FileError>([&] { check_folder(folder); });
}
std::string said_of_weights(const fs::path& folder) {
  return test::error_of<FileError>([&] { check_weight_files(folder); });
}

}  // namespace

TEST_CASE("paths that lead nowhere") {
  const test::TemporaryFolder work;
  setenv("HF_HUB_CACHE", (work / "hub").c_str(), 1);
  CHECK(contains(said_of(work / "nothing"), "nothing: no such folder"));
  CHECK(contains(said_of("~/models"), "only a shell"));
  CHECK(contains(said_of("OpenGVLab/InternVL3_5-1B"), "hf download OpenGVLab/InternVL3_5-1B"));
  const fs::path snapshot = work / "hub" / "models--OpenGVLab--InternVL3_5-1B" / "snapshots" / "abc";
  fs::create_directories(snapshot);
  CHECK(contains(said_of("OpenGVLab/InternVL3_5-1B"), "is here: " + snapshot.string()));
  unsetenv("HF_HUB_CACHE");
}

TEST_CASE("the hub's cache: the folder inside is named") {
  const test::TemporaryFolder work;
  const fs::path repository = work / "models--a--b";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots" / "111");
  fs::create_directories(repository / "snapshots" / "222");
  CHECK(contains(said_of(repository), (repository / "snapshots" / "222").string()));
  work.write("models--a--b/refs/main", "111");
  CHECK(contains(said_of(repository), "the checkpoint in it is " + (repository / "snapshots" / "111").string()));
  CHECK(contains(said_of(work.path()), (repository / "snapshots" / "111").string()));
}

TEST_CASE("files and folders of another kind") {
  const test::TemporaryFolder work;
  CHECK(contains(said_of(work.path()), "is empty"));
  work.write("model.safetensors", "x");
  CHECK(contains(said_of(work / "model.safetensors"), "its folder is " + work.path().string()));
  CHECK(contains(said_of(work.path()), "found no config.json"));
  work.write("some.gguf", "GGUF");
  CHECK(contains(said_of(work / "some.gguf"), "found a file; its folder is " + work.path().string()));
  work.write("adapter_config.json", "{}");
  CHECK(contains(said_of(work.path()),
                 "a LoRA adapter alone: give the folder of its base model, and this one with --lora"));
  fs::create_directory(work / "inner");
  work.write("inner/config.json", "{}");
  CHECK(contains(said_of(work.path()), "but in these folders:\n  " + (work / "inner").string()));
  work.write("config.json", "{}");
  CHECK(said_of(work.path()).empty());
  work.write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 11\n");
  CHECK(contains(said_of(work.path()), (work / "tokenizer.json").string() + ": this is a git-lfs pointer"));
}

TEST_CASE("an adapter beside a config is no checkpoint, and a folder without one no adapter") {
  const test::TemporaryFolder work;
  const auto said_of_adapter = [&] { return test::error_of<FileError>([&] { check_adapter_folder(work.path()); }); };
  work.write("config.json", "{}");
  CHECK(contains(said_of_adapter(), "expected the folder of a LoRA adapter, with adapter_config.json"));
  work.write("adapter_config.json", "{}");
  work.write("adapter_model.bin", "x");
  CHECK(contains(said_of_adapter(), "found adapter_model.bin: save it again"));
  work.write("adapter_model.safetensors", "x");
  CHECK(said_of_adapter().empty());
  CHECK(contains(said_of_weights(work.path()), "a LoRA adapter alone"));
  work.write("model.safetensors", "x");
  CHECK(said_of_weights(work.path()).empty());
}

TEST_CASE("weights in other files than safetensors") {
  const test::TemporaryFolder work;
  CHECK(contains(said_of_weights(work.path()), "no weights at all"));
  work.write("pytorch_model.bin", "x");
  CHECK(contains(said_of_weights(work.path()), "found pytorch_model.bin"));
  work.write("model.safetensors.index.json", "{}");
  CHECK(said_of_weights(work.path()).empty());
}

TEST_CASE("whoever reads a folder says so") {
  const test::TemporaryFolder work;
  CHECK(contains(test::error_of<FileError>([&] { read_checkpoint_config(work / "nothing"); }), "no such folder"));
  work.write("pytorch_model.bin", "x");
  CHECK(contains(test::error_of<FileError>([&] { FolderWeights{work.path()}; }), "found pytorch_model.bin"));
}
