// The tokenizer in the keys of a GGUF file as the files of a published folder.
#pragma once
#include <map>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

/// The text of each file by its name: tokenizer.json for byte-level BPE, tokenizer.model for SentencePiece's, and
/// tokenizer_config.json. A folder with them gives the ids and texts that the GGUF file gives. Throws FileError, also
/// for a way to split text that no such file can say.
std::map<std::string, std::string> tokenizer_files(const Gguf& file);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/gguf_tokenizer_files.ipp"
#endif
