// Small questions about texts.
#pragma once
#include <string_view>

namespace ivl_test {

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace ivl_test
