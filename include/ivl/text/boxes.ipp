// The bodies of boxes.hpp.
#pragma once
#include <charconv>
#include <cstddef>
#include <optional>
#include <system_error>

#include "ivl/text/boxes.hpp"

namespace ivl {

namespace detail {

/// Reads the parts of a box off the front of a text.
class BoxReader {
 public:
  explicit BoxReader(std::string_view text) : rest_(text) {}
  std::string_view rest() const { return rest_; }
  /// Takes `word`, and the spaces before it, if it comes next.
  bool take(std::string_view word) {
    const std::size_t at = rest_.find_first_not_of(" \t\r\n");
    if (at == rest_.npos || !rest_.substr(at).starts_with(word)) return false;
    rest_.remove_prefix(at + word.size());
    return true;
  }
  bool take(double& number) {
    (void)take(std::string_view());  // spaces
    const auto [end, error] =
        std::from_chars(rest_.data(), rest_.data() + rest_.size(), number, std::chars_format::fixed);
    if (error != std::errc()) return false;
    rest_.remove_prefix(std::size_t(end - rest_.data()));
    return true;
  }
  /// [left, top, right, bottom]
  bool take(std::array<double, 4>& edges) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (!take(i == 0 ? "[" : ",") || !take(edges[i]) || !(edges[i] >= 0 && edges[i] <= 1000)) return false;
    }
    return take("]") && edges[0] <= edges[2] && edges[1] <= edges[3];
  }

 private:
  std::string_view rest_;
};

/// The edges in <box>...</box> at the start of `text`, which is moved behind it; nothing where it is malformed.
inline std::vector<std::array<double, 4>> take_boxes(std::string_view& text) {
  BoxReader in(text);
  std::vector<std::array<double, 4>> boxes;
  if (!in.take("<box>")) return {};
  BoxReader list = in;
  const bool nested = list.take("[") && list.take("[");
  if (nested) in.take("[");
  do {
    if (!in.take(boxes.emplace_back())) return {};
  } while (nested && in.take(","));
  if ((nested && !in.take("]")) || !in.take("</box>")) return {};
  text = in.rest();
  return boxes;
}

/// What `text` says after <ref>, up to </ref>; `text` is moved behind it. Nothing where the tag is not ended, or others
/// begin in it.
inline std::optional<std::string> take_reference(std::string_view& text) {
  constexpr std::string_view begin = "<ref>", end = "</ref>";
  if (!text.starts_with(begin)) return {};
  const std::size_t length = text.find(end);
  if (length == text.npos) return {};
  const std::string_view name = text.substr(begin.size(), length - begin.size());
  if (name.find(begin) != name.npos || name.find("<box>") != name.npos) return {};
  text.remove_prefix(length + end.size());
  return std::string(name);
}

/// The number in "Image-3" at the start of `text`; 0 where there is none.
inline int number_of_picture(std::string_view text) {
  constexpr std::string_view words = "Image-";
  int number = 0;
  if (text.starts_with(words)) std::from_chars(text.data() + words.size(), text.data() + text.size(), number);
  return number;
}

}  // namespace detail

IVL_INLINE GroundedAnswer boxes_of_answer(std::string_view answer) {
  GroundedAnswer found;
  int picture = 0;
  while (!answer.empty()) {
    std::string_view rest = answer;
    const std::optional<std::string> name = detail::take_reference(rest);
    bool any = false;
    for (auto boxes = detail::take_boxes(rest); !boxes.empty(); boxes = detail::take_boxes(rest)) {
      for (const auto& edges : boxes) found.boxes.push_back({name.value_or(""), picture, edges});
      any = true;
    }
    if (any) {
      found.text += name.value_or("");
      answer = rest;
      continue;
    }
    if (const int number = detail::number_of_picture(answer); number > 0) picture = number;
    found.text += answer.front();
    answer.remove_prefix(1);
  }
  return found;
}

}  // namespace ivl
