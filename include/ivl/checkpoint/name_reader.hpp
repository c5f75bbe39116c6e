// The table of names the other way round: what a name of a file says. Bodies alone include this (convert_tensors.hpp,
// lora.ipp), so its own stay here.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/names.hpp"
#include "ivl/facts/family.hpp"

namespace ivl::detail {

/// What `#` and `*` of a pattern stand for in a name; nothing where it is another name. -1: the pattern has none.
struct NameNumbers {
  int layer = -1, expert = -1;
};
inline std::optional<NameNumbers> match_name(std::string_view pattern, std::string_view name) {
  NameNumbers numbers;
  while (!pattern.empty() && !name.empty()) {
    if (pattern[0] != '#' && pattern[0] != '*') {
      if (pattern[0] != name[0]) return std::nullopt;
      pattern.remove_prefix(1), name.remove_prefix(1);
      continue;
    }
    int& number = pattern[0] == '#' ? numbers.layer : numbers.expert;
    std::size_t digits = 0;
    for (number = 0; digits < name.size() && digits < 6 && name[digits] >= '0' && name[digits] <= '9'; ++digits)
      number = 10 * number + (name[digits] - '0');
    if (digits == 0) return std::nullopt;
    pattern.remove_prefix(1), name.remove_prefix(digits);
  }
  return pattern.empty() && name.empty() ? std::optional(numbers) : std::nullopt;
}

/// What one name of a file says: a plane of a part, of a layer and perhaps of an expert.
struct FileName {
  const PartName* row = nullptr;
  bool bias = false;
  NameNumbers numbers;
};

/// Reads names of one dialect and family, the table the other way round.
class NameReader {
 public:
  NameReader(Dialect dialect, Family family) {
    for (const PartName& row : names::table) {
      if (row.family.value_or(family) != family || row.files.in(dialect).empty()) continue;
      const auto add = [&](const StoredForm& form, bool bias) {
        for (int plane = 0; plane < form.planes; ++plane)
          patterns_.push_back(
              {name_pattern(row, dialect) + std::string(form.suffixes[std::size_t(plane)]), {&row, bias, {}}});
      };
      for (const StoredForm& form : stored_forms) {
        if (form.naming == row.naming) add(form, false);
      }
      if (row.naming != Naming::bare) add(form_of_bias(row.naming), true);
    }
  }
  std::optional<FileName> read(std::string_view name) const {
    for (const auto& [pattern, meaning] : patterns_) {
      if (const auto numbers = match_name(pattern, name)) return FileName{meaning.row, meaning.bias, *numbers};
    }
    return std::nullopt;
  }

 private:
  std::vector<std::pair<std::string, FileName>> patterns_;
};

}  // namespace ivl::detail
