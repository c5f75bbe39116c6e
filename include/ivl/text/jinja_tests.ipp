#pragma once
#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_operators.hpp"
#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_tests.hpp"

namespace ivl::detail::jinja {

/// Tests with an argument that are operators.
inline std::optional<Op> operator_test(std::string_view name) {
  if (name == "eq" || name == "equalto" || name == "==") return Op::equal;
  if (name == "ne" || name == "!=") return Op::not_equal;
  if (name == "lt" || name == "lessthan" || name == "<") return Op::less;
  if (name == "le" || name == "<=") return Op::less_equal;
  if (name == "gt" || name == "greaterthan" || name == ">") return Op::greater;
  if (name == "ge" || name == ">=") return Op::greater_equal;
  if (name == "in") return Op::in;
  return std::nullopt;
}

IVL_INLINE bool is_test(std::string_view name) {
  constexpr std::string_view plain[] = {
      "defined", "undefined", "none", "boolean", "false",    "true",     "integer", "float",       "string", "mapping",
      "number",  "sequence",  "odd",  "even",    "iterable", "callable", "sameas",  "divisibleby", "lower",  "upper"};
  return operator_test(name) || std::ranges::find(plain, name) != std::end(plain);
}

/// Tests without an argument; nothing if `name` is not one of them.
inline std::optional<bool> kind_test(std::string_view name, const Value& value) {
  const Kind kind = value.kind();
  const bool is_undefined = kind == Kind::undefined, is_text = kind == Kind::string, is_dict = kind == Kind::dict;
  if (name == "defined") return !is_undefined;
  if (name == "undefined") return is_undefined;
  if (name == "none") return kind == Kind::none;
  if (name == "boolean") return kind == Kind::boolean;
  if (name == "false") return kind == Kind::boolean && !value.integer();
  if (name == "true") return kind == Kind::boolean && value.integer();
  if (name == "integer") return kind == Kind::integer;
  if (name == "float") return kind == Kind::real;
  if (name == "string") return is_text;
  if (name == "mapping") return is_dict;
  if (name == "number") return value.is_number();
  if (name == "sequence") {
    return is_text || is_dict || is_undefined || kind == Kind::list || kind == Kind::tuple || kind == Kind::range;
  }
  if (name == "iterable") {
    return is_text || is_dict || is_undefined || value.is_sequence() || kind == Kind::generator || kind == Kind::loop;
  }
  if (name == "callable") return is_undefined || kind >= Kind::loop;
  return std::nullopt;
}

inline bool same(Run& run, const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is(Kind::none)) return true;
  if (a.is(Kind::boolean)) return a.integer() == b.integer();
  if (a.is_number() || a.is(Kind::string)) run.fail("'sameas' of ", type_name(a), " is not supported");
  return a.object() == b.object();
}

/// str(value).islower() and its like: has letters, and all are of this case.
inline bool all_in_case(Run& run, const Value& value, bool small) {
  const std::string text = str(run, value);
  bool has_letters = false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) run.fail("'lower' and 'upper' of text beyond ASCII are not supported");
    const bool is_small = c >= 'a' && c <= 'z', is_capital = c >= 'A' && c <= 'Z';
    if (small ? is_capital : is_small) return false;
    has_letters = has_letters || is_small || is_capital;
  }
  return has_letters;
}

IVL_INLINE bool apply_test(Run& run, std::string_view name, const Value& value, Args args) {
  if (const std::optional<bool> result = kind_test(name, value)) {
    bind(run, name, {}, 0, args);
    return *result;
  }
  if (name == "odd" || name == "even") {
    bind(run, name, {}, 0, args);
    const Value rest = arithmetic(run, Op::modulo, value, 2);
    return equal(run, rest, name == "odd");
  }
  if (name == "lower" || name == "upper") {
    bind(run, name, {}, 0, args);
    return all_in_case(run, value, name == "lower");
  }
  const Value other = bind(run, name, {"other"}, 1, args)[0];
  if (name == "sameas") return same(run, value, other);
  if (name == "divisibleby") return equal(run, arithmetic(run, Op::modulo, value, other), 0);
  const std::optional<Op> op = operator_test(name);
  if (!op) run.fail("the test ", in_quotes(name), " is not supported");
  return compares(run, *op, value, other);
}

}  // namespace ivl::detail::jinja
