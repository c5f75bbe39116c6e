// What a checkpoint that is converted takes from its tokenizer, which `checkpoint` does not read.
#pragma once
#include <map>
#include <string>

namespace ivl {

/// What the tokenizer of a checkpoint says, which configs of the HF format repeat.
struct ConvertedTokens {
  int image = 0;  ///< id of <IMG_CONTEXT>
  int end = 0;    ///< id of the token that ends an answer
  /// Of a GGUF pair: the text of each file of the tokenizer, by its name (`tokenizer_files`). Of a folder none: its own
  /// are copied.
  std::map<std::string, std::string> files = {};
};

}  // namespace ivl
