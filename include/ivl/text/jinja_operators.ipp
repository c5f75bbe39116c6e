#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_operators.hpp"

namespace ivl::detail::jinja {

[[noreturn]] inline void fail_operands(Run& run, std::string_view op, const Value& a, const Value& b) {
  need_defined(run, a);
  need_defined(run, b);
  run.fail("'", op, "': unexpected operands, ", type_name(a), " and ", type_name(b));
}

/// Text of a Markup: a Markup as it is, a plain str escaped. No other kinds come here.
inline std::string escaped(Run& run, const Value& value) {
  if (value.as<String>().safe) return value.bytes();
  std::string text;
  for (const char c : value.bytes()) {
    const std::string_view name = c == '&'   ? "&amp;"
                                  : c == '<' ? "&lt;"
                                  : c == '>' ? "&gt;"
                                  : c == '"' ? "&#34;"
                                             : "&#39;";
    if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
      text += name;
    } else {
      text += c;
    }
  }
  run.charge_text(text.size());
  return text;
}

inline Value add(Run& run, const Value& a, const Value& b) {
  if (a.is_whole() && b.is_whole()) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a.integer(), b.integer(), &sum)) run.fail("integers beyond 64 bits are not supported");
    return sum;
  }
  if (a.is_number() && b.is_number()) return a.real() + b.real();
  if (a.is(Kind::string) && b.is(Kind::string)) {
    run.check_text(a.bytes().size() + b.bytes().size());
    const bool safe = a.as<String>().safe || b.as<String>().safe;
    return safe ? run.text(escaped(run, a) + escaped(run, b), true) : run.text(a.bytes() + b.bytes());
  }
  if (a.kind() != b.kind() || (!a.is(Kind::list) && !a.is(Kind::tuple))) fail_operands(run, "+", a, b);
  const auto &first = a.as<Sequence>().items, &second = b.as<Sequence>().items;
  run.charge(first.size() + second.size());
  std::vector<Value> items = first;
  items.insert(items.end(), second.begin(), second.end());
  return run.sequence(a.kind(), std::move(items));
}

inline Value repeat(Run& run, const Value& value, std::int64_t times) {
  const bool is_text = value.is(Kind::string);
  const std::size_t size = is_text ? need_text(run, value, "'*'").size() : value.as<Sequence>().items.size();
  const std::size_t count = times > 0 && size > 0 ? std::size_t(times) : 0;
  std::size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) total = SIZE_MAX;
  run.charge(is_text ? count / 8 : total);
  if (is_text) {
    run.check_text(total);
    std::string all;
    all.reserve(total);
    for (std::size_t i = 0; i < count; ++i) all += value.bytes();
    return run.text(std::move(all));
  }
  const auto& items = value.as<Sequence>().items;
  std::vector<Value> all;
  for (std::size_t i = 0; i < count; ++i) all.insert(all.end(), items.begin(), items.end());
  return run.sequence(value.kind(), std::move(all));
}

inline Value multiply(Run& run, const Value& a, const Value& b) {
  if (a.is_whole() && b.is_whole()) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(a.integer(), b.integer(), &product)) {
      run.fail("integers beyond 64 bits are not supported");
    }
    return product;
  }
  if (a.is_number() && b.is_number()) return a.real() * b.real();
  const auto repeats = [](const Value& value) {
    return value.is(Kind::string) || value.is(Kind::list) || value.is(Kind::tuple);
  };
  if (repeats(a) && b.is_whole()) return repeat(run, a, b.integer());
  if (repeats(b) && a.is_whole()) return repeat(run, b, a.integer());
  fail_operands(run, "*", a, b);
}

/// a // b and a % b: rounded down, the remainder with the sign of b.
inline Value divide_down(Run& run, Op op, const Value& a, const Value& b) {
  const bool modulo = op == Op::modulo;
  if (modulo && a.is(Kind::string)) run.fail("formatting with '%' is not supported");
  if (!a.is_number() || !b.is_number()) fail_operands(run, modulo ? "%" : "//", a, b);
  if (b.real() == 0) run.fail("division by zero");
  if (a.is_whole() && b.is_whole()) {
    const std::int64_t x = a.integer(), y = b.integer();
    if (y == -1) return modulo ? Value(0) : negate(run, a);
    const std::int64_t quotient = x / y, rest = x % y;
    const bool down = rest != 0 && (rest < 0) != (y < 0);
    return modulo ? Value(down ? rest + y : rest) : Value(down ? quotient - 1 : quotient);
  }
  const double x = a.real(), y = b.real();  // as float_divmod of CPython
  double rest = std::fmod(x, y);
  double quotient = (x - rest) / y;
  if (rest != 0) {
    if ((rest < 0) != (y < 0)) rest += y, quotient -= 1;
  } else {
    rest = std::copysign(0.0, y);
  }
  if (modulo) return rest;
  if (quotient == 0) return std::copysign(0.0, x / y);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

inline Value divide(Run& run, const Value& a, const Value& b) {
  if (!a.is_number() || !b.is_number()) fail_operands(run, "/", a, b);
  if (b.real() == 0) run.fail("division by zero");
  constexpr std::int64_t exact = std::int64_t(1) << 53;
  for (const Value* value : {&a, &b}) {
    if (value->is_whole() && (value->integer() > exact || value->integer() < -exact)) {
      run.fail("'/' of an int beyond 53 bits is not supported");
    }
  }
  return a.real() / b.real();
}

inline Value power(Run& run, const Value& a, const Value& b) {
  if (!a.is_number() || !b.is_number()) fail_operands(run, "**", a, b);
  if (a.is_whole() && b.is_whole() && b.integer() >= 0) {
    std::int64_t result = 1, base = a.integer();
    for (std::int64_t exponent = b.integer(); exponent > 0; exponent >>= 1) {
      bool over = (exponent & 1) && __builtin_mul_overflow(result, base, &result);
      over = (exponent > 1 && __builtin_mul_overflow(base, base, &base)) || over;
      if (over) run.fail("integers beyond 64 bits are not supported");
    }
    return result;
  }
  if (a.real() == 0 && b.real() < 0) run.fail("division by zero");
  const double result = std::pow(a.real(), b.real());
  const bool finite = std::isfinite(a.real()) && std::isfinite(b.real());
  if (finite && !std::isfinite(result)) run.fail("'**': the result is no float");  // complex, or too large
  return result;
}

IVL_INLINE Value arithmetic(Run& run, Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::add:
      return add(run, a, b);
    case Op::subtract: {
      if (!a.is_number() || !b.is_number()) fail_operands(run, "-", a, b);
      if (!a.is_whole() || !b.is_whole()) return a.real() - b.real();
      std::int64_t difference = 0;
      if (__builtin_sub_overflow(a.integer(), b.integer(), &difference)) {
        run.fail("integers beyond 64 bits are not supported");
      }
      return difference;
    }
    case Op::multiply:
      return multiply(run, a, b);
    case Op::divide:
      return divide(run, a, b);
    case Op::power:
      return power(run, a, b);
    default:
      return divide_down(run, op, a, b);
  }
}

IVL_INLINE Value negate(Run& run, const Value& value) {
  need_defined(run, value);
  if (!value.is_number()) run.fail("'-': expected a number, found ", type_name(value));
  if (!value.is_whole()) return -value.real();
  std::int64_t result = 0;
  if (__builtin_sub_overflow(std::int64_t(0), value.integer(), &result)) {
    run.fail("integers beyond 64 bits are not supported");
  }
  return result;
}

IVL_INLINE bool compares(Run& run, Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::equal:
      return equal(run, a, b);
    case Op::not_equal:
      return !equal(run, a, b);
    case Op::in:
      return contains(run, b, a);
    case Op::not_in:
      return !contains(run, b, a);
    case Op::less:
      return less(run, a, b);
    case Op::greater:
      return less(run, b, a);
    case Op::less_equal:
      return a.is_number() && b.is_number() ? less(run, a, b) || equal(run, a, b) : compare(run, a, b) <= 0;
    default:
      return a.is_number() && b.is_number() ? less(run, b, a) || equal(run, a, b) : compare(run, a, b) >= 0;
  }
}

}  // namespace ivl::detail::jinja
