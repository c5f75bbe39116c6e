#include "ivl/text/gguf_tokenizer_keys.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "golden_tokenizers.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

/// Ids below which every tokenizer here has all of its tokens.
constexpr int many_rows = 210'000;

/// What a file says of a tokenizer whose parts were written to it.
Tokenizer written_and_read(const TokenizerParts& parts, int rows = many_rows) {
  const test::TemporaryFolder folder;
  GgufMetadata metadata;
  add_tokenizer_keys(parts, rows, 0, metadata);
  write_gguf(folder / "t.gguf", metadata, {});
  return Tokenizer::from_gguf(Gguf(folder / "t.gguf"));
}

TEST_CASE("tokenizers written to GGUF give the ids and texts of the tokenizers library") {
  test::check_byte_level(written_and_read(tokenizer_parts(test::tokenizer_golden() / "own")), "own", {});
  test::check_sentence_piece(written_and_read(tokenizer_parts(test::tokenizer_golden() / "sentence_piece")),
                             "sentence_piece");
  for (const char* name : {"internvl3", "internvl3_5", "internvl3_5_gpt_oss"}) {
    CAPTURE(name);
    const auto real = test::real_tokenizer(name);
    if (!real.empty()) test::check_byte_level(written_and_read(tokenizer_parts(real)), name, {});
  }
}

TEST_CASE("what GGUF cannot say of a tokenizer is refused by name") {
  TokenizerParts parts;
  parts.where = "tokenizer.json";
  parts.vocabulary = {{"a", 0}, {"b", 7}};
  parts.split_pattern = "x+";
  const auto error = [&](int rows) {
    return test::error_of<ConfigError>([&] {
      GgufMetadata metadata;
      add_tokenizer_keys(parts, rows, 0, metadata);
    });
  };
  CHECK(error(7) == "tokenizer.json: token 'b': expected an id below 7, the rows of the embedding, found 7");
  CHECK(error(8) == "tokenizer.json: GGUF has no name for this way to split text: 'x+'");
}

}  // namespace
