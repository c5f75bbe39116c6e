// Unicode normalisation form C, for the tokenizers whose normalizer is "NFC".
#pragma once
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Whether `text` (well-formed UTF-8) is in NFC for certain: a quick look at ranges where every character is a starter
/// that neither decomposes nor composes with what stands before it. False means "normalise and see".
bool surely_nfc(std::string_view text);

/// `text` (well-formed UTF-8) in NFC. The `tokenizers` library (0.23) normalises by the tables of an older Unicode, so
/// 98 rare combining marks that came after Unicode 9 are put in order here and not there.
std::string to_nfc(std::string_view text);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/nfc.ipp"
#endif
