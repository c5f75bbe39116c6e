// Jinja's filters of text and of numbers (jinja_filters.hpp).
#pragma once
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_operators.hpp"
#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

inline Value argument(const std::vector<Value>& given, std::size_t at, Value otherwise = Value::none()) {
  return given[at].is(Kind::missing) ? std::move(otherwise) : given[at];
}

/// soft_str: a str as it is, marks included, any other value as text.
inline Value soft_text(Run& run, const Value& value) {
  return value.is(Kind::string) ? value : run.text(str(run, value));
}

// ---- text ------------------------------------------------------------------------------------------

inline Value filter_trim(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  const Value text = soft_text(run, value);
  const bool safe = text.as<String>().safe;
  Args chars{{argument(given, 0)}, {}};
  if (!safe) return call_method(run, run.method(text, "strip").as<Callable>(), std::move(chars));
  if (!chars.positional[0].is(Kind::none)) need_text(run, text, name);
  return run.text(std::string(strip_left(strip_right(text.bytes()))), true);
}

inline Value filter_case(Run& run, std::string_view name, const Value& value, const std::vector<Value>&) {
  const Value text = soft_text(run, value);
  const std::string& bytes = need_text(run, text, name);
  const auto change = name == "upper" ? upper : name == "lower" ? lower : name == "title" ? title_filter : capitalize;
  std::optional<std::string> changed = change(bytes);
  if (!changed) run.fail("'", name, "' of this text is not supported: a character's other case is no character");
  return run.text(std::move(*changed));
}

inline Value filter_string(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  return soft_text(run, value);
}

inline Value filter_safe(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  return run.text(str(run, value), true);
}

inline Value filter_replace(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  if (given[0].is(Kind::missing) || given[1].is(Kind::missing)) run.fail(name, ": expected the texts old and new");
  Args args{{run.text(str(run, given[0])), run.text(str(run, given[1]))}, {}};
  if (const Value count = argument(given, 2); !count.is(Kind::none)) args.positional.push_back(count);
  return call_method(run, run.method(run.text(str(run, value)), "replace").as<Callable>(), std::move(args));
}

inline Value filter_join(Run& run, std::string_view, const Value& value, const std::vector<Value>& given) {
  const std::string between = given[0].is(Kind::missing) ? "" : str(run, given[0]);
  const Value path = argument(given, 1);
  std::string text;
  bool first = true;
  Iterator iterator(run, value);
  for (Value part; iterator.next(run, part);) {
    if (!std::exchange(first, false)) run.append(text, between);
    run.append(text, str(run, item_at(run, part, path)));
  }
  return run.text(std::move(text));
}

inline Value filter_indent(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  std::string text = need_text(run, value, name) + "\n";
  const Value width = argument(given, 0, 4);
  std::string spaces;
  if (width.is(Kind::string)) {
    spaces = need_text(run, width, name);
  } else {
    const std::int64_t count = std::max<std::int64_t>(need_integer(run, width, name), 0);
    run.check_text(std::size_t(count));
    spaces.assign(std::size_t(count), ' ');
  }
  const bool first = truth(argument(given, 1)), blank = truth(argument(given, 2));
  std::string result;
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!is_first) run.append(result, "\n");
    if (is_first ? first : blank || !line.empty()) run.append(result, spaces);
    run.append(result, line);
    is_first = false;
  }
  return run.text(std::move(result));
}

inline Value filter_tojson(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  JsonFormat format;
  format.ascii = truth(argument(given, 0));
  format.sort_keys = truth(argument(given, 3));
  const Value indent = argument(given, 1), separators = argument(given, 2);
  if (!indent.is(Kind::none)) {
    format.lines = true;
    format.comma = ",";
    if (indent.is(Kind::string)) {
      format.indent = need_text(run, indent, name);
    } else {
      const std::int64_t count = std::max<std::int64_t>(need_integer(run, indent, name), 0);
      run.check_text(std::size_t(count));
      format.indent.assign(std::size_t(count), ' ');
    }
  }
  if (!separators.is(Kind::none)) {
    const std::vector<Value> two = Iterator(run, separators).rest(run);
    if (two.size() != 2) run.fail(name, ": expected two separators, found ", two.size());
    format.comma = need_text(run, two[0], name);
    format.colon = need_text(run, two[1], name);
  }
  return run.text(to_json(run, value, format));
}

// ---- numbers ---------------------------------------------------------------------------------------

inline Value filter_abs(Run& run, std::string_view name, const Value& value, const std::vector<Value>&) {
  need_defined(run, value);
  if (!value.is_number()) run.fail(name, ": expected a number, found ", type_name(value));
  if (!value.is_whole()) return std::abs(value.real());
  return value.integer() < 0 ? negate(run, value) : Value(value.integer());
}

/// int(x) of a float, nothing where Python raises ValueError or OverflowError.
inline std::optional<std::int64_t> whole(Run& run, double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (std::abs(value) >= 9e18) run.fail("integers beyond 64 bits are not supported");
  return std::int64_t(value);
}

/// The text of a number.
inline const std::string& need_digits(Run& run, const Value& value, std::string_view name) {
  const std::string& text = need_text(run, value, name);
  if (has_other_digits(text)) run.fail(name, ": digits beyond ASCII are not supported");
  return text;
}

inline Value filter_int(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  need_defined(run, value);
  const Value base = argument(given, 1, 10);
  if (!base.is_whole() || base.integer() != 10) run.fail("int: a base other than 10 is not supported");
  if (value.is_whole()) return value.integer();
  if (value.is(Kind::real)) {
    if (std::isinf(value.real())) run.fail("int: expected a finite number");
    const auto number = whole(run, value.real());
    return number ? Value(*number) : argument(given, 0, 0);
  }
  if (!value.is(Kind::string)) return argument(given, 0, 0);
  bool too_large = false;
  const std::string& text = need_digits(run, value, name);
  if (const auto number = to_integer(text, too_large)) {
    if (too_large) run.fail("integers beyond 64 bits are not supported");
    return *number;
  }
  const std::optional<double> real = to_real(text);
  const auto number = real ? whole(run, *real) : std::nullopt;
  return number ? Value(*number) : argument(given, 0, 0);
}

inline Value filter_float(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  need_defined(run, value);
  if (value.is_number()) return value.real();
  if (value.is(Kind::string)) {
    if (const std::optional<double> number = to_real(need_digits(run, value, name))) return *number;
  }
  return argument(given, 0, 0.0);
}

}  // namespace ivl::detail::jinja
