// The regular expression of a tokenizer's "Split" pre-tokenizer: cuts text into the words that BPE works on.
#pragma once
#include <memory>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

struct pcre2_real_code_8;  // what pcre2.h calls pcre2_code

namespace ivl {

/// Const after construction; threads may share it. Patterns mean what Oniguruma, the reference's engine, makes of them,
/// with general categories of Unicode 16 whatever older tables PCRE2 has. Properties other than those (scripts) are
/// PCRE2's.
class SplitRegex {
 public:
  /// Throws FileError where the pattern does not compile, or uses an escape on which the two engines may disagree.
  explicit SplitRegex(std::string_view pattern);

  /// Calls word(std::string_view) for each match and for each gap between matches, in order.
  /// `text` must be well-formed UTF-8. Throws RequestError where the text makes the expression backtrack without end.
  template <class Word>
  void split(std::string_view text, const Word& word) const {
    split(text, &word, [](const void* to, std::string_view one) { (*static_cast<const Word*>(to))(one); });
  }

 private:
  void split(std::string_view text, const void* to, void (*word)(const void* to, std::string_view)) const;

  std::shared_ptr<pcre2_real_code_8> code_, newer_code_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/split_regex.ipp"
#endif
