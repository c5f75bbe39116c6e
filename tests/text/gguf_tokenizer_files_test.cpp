#include "ivl/text/gguf_tokenizer_files.hpp"

#include <doctest/doctest.h>

#include <string>

#include "golden_tokenizers.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/text/gguf_tokenizer_keys.hpp"
#include "ivl/text/tokenizer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

/// The tokenizer of a folder with the files of a GGUF file.
Tokenizer through_files(const Gguf& file) {
  const test::TemporaryFolder folder;
  for (const auto& [name, text] : tokenizer_files(file)) folder.write(name, text);
  return Tokenizer::from_folder(folder.path());
}

/// The same of a folder that was written as GGUF first.
Tokenizer there_and_back(const std::filesystem::path& from, std::optional<int> bos = {}) {
  const test::TemporaryFolder folder;
  TokenizerParts parts = tokenizer_parts(from);
  if (bos) parts.bos = bos;
  GgufMetadata metadata;
  add_tokenizer_keys(parts, 210'000, 0, metadata);
  write_gguf(folder / "t.gguf", metadata, {});
  return through_files(Gguf(folder / "t.gguf"));
}

TEST_CASE("the files of a GGUF file's tokenizer give the ids and texts of the tokenizers library") {
  const std::filesystem::path golden = test::tokenizer_golden();
  test::check_byte_level(there_and_back(golden / "own"), "own");
  test::check_sentence_piece(through_files(Gguf(golden / "sentence_piece.gguf")), "sentence_piece");
  test::check_sentence_piece(there_and_back(golden / "sentence_piece"), "sentence_piece");
  for (const char* name : {"internvl3", "internvl3_5", "internvl3_5_gpt_oss"}) {
    const auto real = test::real_tokenizer(name);
    if (!real.empty()) test::check_byte_level(there_and_back(real), name);
  }
}

TEST_CASE("a token before the prompt goes into the files, and what no file can say is refused") {
  const std::filesystem::path own = test::tokenizer_golden() / "own";
  const int end = *Tokenizer::from_folder(own).id_of("<|endoftext|>");
  CHECK(there_and_back(own).bos() == std::nullopt);
  CHECK(there_and_back(own, end).bos() == end);
  CHECK(test::error_of<FileError>([&] {
          there_and_back(own, 3);
        }).ends_with("expected a special token before the prompt, found the id 3"));

  TokenizerParts parts = tokenizer_parts(own);
  GgufMetadata metadata;
  add_tokenizer_keys(parts, 210'000, 0, metadata);
  const test::TemporaryFolder folder;
  write_gguf(folder / "t.gguf", metadata, {});
  std::string bytes = detail::read_text(folder / "t.gguf");
  const std::string_view name = "tokenizer.ggml.pre";
  const std::size_t at = bytes.find(name) + name.size() + 4;
  REQUIRE(bytes.substr(at + 8, 5) == "qwen2");
  bytes.replace(at, 13, std::string("\6\0\0\0\0\0\0\0", 8) + "smollm");
  const Gguf file(folder.write("smollm.gguf", bytes));
  CHECK(test::error_of<FileError>([&] {
          tokenizer_files(file);
        }).ends_with("tokenizer.json cannot say that bytes without a token are left out"));
}

}  // namespace
