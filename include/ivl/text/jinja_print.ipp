#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::detail::jinja {

IVL_INLINE std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, std::size_t(end - buffer));
  const std::size_t e = shortest.find('e');
  const int exponent = std::stoi(std::string(shortest.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(shortest);  // both write two digits at least
  const auto fixed_end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string fixed(buffer, fixed_end);
  return fixed.find('.') == fixed.npos ? fixed + ".0" : fixed;
}

inline void append_repr(Run& run, std::string& text, std::string_view value) {
  constexpr char digits[] = "0123456789abcdef";
  const char quote = value.find('\'') != value.npos && value.find('"') == value.npos ? '"' : '\'';
  std::string quoted(1, quote);
  while (!value.empty()) {
    const Utf8Step step = utf8_step(value);
    const char32_t c = step.code_point;
    const char short_name = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\0';
    if (c == char32_t(quote) || c == '\\') {
      (quoted += '\\') += char(c);
    } else if (short_name) {
      (quoted += '\\') += short_name;
    } else if (is_printable(c)) {
      quoted += value.substr(0, std::size_t(step.bytes));
    } else {
      const int width = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      (quoted += '\\') += width == 2 ? 'x' : width == 4 ? 'u' : 'U';
      for (int digit = width - 1; digit >= 0; --digit) quoted += digits[c >> 4 * digit & 15];
    }
    value.remove_prefix(std::size_t(step.bytes));
  }
  run.append(text, quoted += quote);
}

inline void append_repr(Run& run, std::string& text, const Value& value) {
  const auto row = [&](std::string_view open, const auto& items, std::string_view close, const auto& append) {
    run.append(text, open);
    bool first = true;
    for (const auto& item : items) {
      if (!std::exchange(first, false)) run.append(text, ", ");
      append(item);
    }
    run.append(text, close);
  };
  const auto plain = [&](const Value& item) { append_repr(run, text, item); };
  switch (value.kind()) {
    case Kind::undefined:
      return run.append(text, "Undefined");
    case Kind::none:
      return run.append(text, "None");
    case Kind::boolean:
      return run.append(text, value.integer() ? "True" : "False");
    case Kind::integer:
      return run.append(text, std::to_string(value.integer()));
    case Kind::real:
      return run.append(text, repr(value.real()));
    case Kind::string:
      if (value.as<String>().safe) run.fail("printing a text that is marked as safe inside of a list is not supported");
      return append_repr(run, text, value.bytes());
    case Kind::list:
      return row("[", value.as<Sequence>().items, "]", plain);
    case Kind::tuple:
      return row("(", value.as<Sequence>().items, value.as<Sequence>().items.size() == 1 ? ",)" : ")", plain);
    case Kind::keys:
      return row("dict_keys([", value.as<Sequence>().items, "])", plain);
    case Kind::values:
      return row("dict_values([", value.as<Sequence>().items, "])", plain);
    case Kind::items:
      return row("dict_items([", value.as<Sequence>().items, "])", plain);
    case Kind::dict:
      return row("{", value.as<Dict>().members, "}", [&](const auto& member) {
        append_repr(run, text, member.first);
        run.append(text, ": ");
        append_repr(run, text, member.second);
      });
    default:
      run.fail("printing ", type_name(value), " is not supported");
  }
}

IVL_INLINE std::string repr(Run& run, const Value& value) {
  std::string text;
  append_repr(run, text, value);
  return text;
}

IVL_INLINE std::string str(Run& run, const Value& value) {
  if (value.is(Kind::string)) {
    run.charge_text(value.bytes().size());
    return value.bytes();
  }
  return value.is(Kind::undefined) ? "" : repr(run, value);
}

// ---- JSON ------------------------------------------------------------------------------------------

inline void append_json(Run& run, std::string& text, std::string_view value, bool ascii) {
  constexpr char digits[] = "0123456789abcdef";
  std::string quoted = "\"";
  const auto escape = [&](char32_t unit) {
    quoted += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) quoted += digits[unit >> shift & 15];
  };
  while (!value.empty()) {
    const Utf8Step step = utf8_step(value);
    const char32_t c = step.code_point;
    const std::size_t named = c < 0x80 ? std::string_view("\"\\\n\r\t\f\b").find(char(c)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      (quoted += '\\') += "\"\\nrtfb"[named];
    } else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000)) {
      escape(c);
    } else if (ascii && c >= 0x10000) {
      escape(0xD800 + ((c - 0x10000) >> 10));
      escape(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      quoted += value.substr(0, std::size_t(step.bytes));
    }
    value.remove_prefix(std::size_t(step.bytes));
  }
  run.append(text, quoted += '"');
}

inline std::string json_number(double value) {
  return std::isnan(value) ? "NaN" : std::isinf(value) ? (value < 0 ? "-Infinity" : "Infinity") : repr(value);
}

inline void append_json(Run& run, std::string& text, const Value& value, const JsonFormat& format, int level) {
  const auto row = [&](char open, const auto& items, char close, const auto& append) {
    run.append(text, {&open, 1});
    bool first = true;
    const auto new_line = [&](int indents) {
      run.append(text, "\n");
      for (int i = 0; i < indents; ++i) run.append(text, format.indent);
    };
    for (const auto& item : items) {
      if (!std::exchange(first, false)) run.append(text, format.comma);
      if (format.lines) new_line(level + 1);
      append(item);
    }
    if (format.lines && !items.empty()) new_line(level);
    run.append(text, {&close, 1});
  };
  switch (value.kind()) {
    case Kind::none:
      return run.append(text, "null");
    case Kind::boolean:
      return run.append(text, value.integer() ? "true" : "false");
    case Kind::integer:
      return run.append(text, std::to_string(value.integer()));
    case Kind::real:
      return run.append(text, json_number(value.real()));
    case Kind::string:
      return append_json(run, text, value.bytes(), format.ascii);
    case Kind::list:
    case Kind::tuple:
      return row('[', value.as<Sequence>().items, ']',
                 [&](const Value& item) { append_json(run, text, item, format, level + 1); });
    case Kind::dict: {
      std::vector<const std::pair<Value, Value>*> members;
      for (const auto& member : value.as<Dict>().members) members.push_back(&member);
      if (format.sort_keys) {
        std::ranges::stable_sort(members, [&](const auto* a, const auto* b) { return less(run, a->first, b->first); });
      }
      return row('{', members, '}', [&](const auto* member) {
        const Value& key = member->first;
        if (key.is(Kind::string)) {
          append_json(run, text, key.bytes(), format.ascii);
        } else if (key.is(Kind::none) || key.is_number()) {
          run.append(text, "\"");
          append_json(run, text, key, format, level);
          run.append(text, "\"");
        } else {
          run.fail("tojson: expected a key that is a str, a number, a bool or None, found ", type_name(key));
        }
        run.append(text, format.colon);
        append_json(run, text, member->second, format, level + 1);
      });
    }
    default:
      run.fail("tojson: expected a value that JSON has, found ", type_name(value));
  }
}

IVL_INLINE std::string to_json(Run& run, const Value& value, const JsonFormat& format) {
  std::string text;
  append_json(run, text, value, format, 0);
  return text;
}

}  // namespace ivl::detail::jinja
