// What release this is. CMake's project version is read from here.
#pragma once
#include <string_view>

namespace ivl {

inline constexpr std::string_view version = "0.1.0";

}  // namespace ivl
