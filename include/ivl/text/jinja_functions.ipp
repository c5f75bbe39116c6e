#pragma once
#include <locale.h>
#include <time.h>

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_functions.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_print.hpp"

namespace ivl::detail::jinja {

IVL_INLINE Value global(std::string_view name) {
  if (!is_word(" range dict namespace raise_exception strftime_now lipsum cycler joiner ", name)) return {};
  auto function = std::make_shared<Callable>();
  function->name = name;
  return Value(Kind::function, std::move(function));
}

inline Value range(Run& run, Args& args) {
  if (!args.named.empty() || args.positional.empty() || args.positional.size() > 3) {
    run.fail("range: expected one to three arguments without names");
  }
  std::int64_t bounds[3] = {0, 0, 1};
  const std::size_t first = args.positional.size() == 1 ? 1 : 0;
  for (std::size_t i = 0; i < args.positional.size(); ++i) {
    bounds[first + i] = need_integer(run, args.positional[i], "range");
  }
  const auto [begin, end, step] = bounds;
  if (step == 0) run.fail("range: expected a step other than 0");
  constexpr std::size_t most = 100'000;  // jinja2.sandbox.MAX_RANGE
  std::vector<Value> items;
  for (std::int64_t at = begin; step < 0 ? at > end : at < end;) {
    if (items.size() == most) run.fail("range: expected at most ", most, " numbers, found more");
    items.push_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return run.sequence(Kind::range, std::move(items));
}

/// What dict(...) makes of its arguments.
inline std::vector<std::pair<Value, Value>> members_of(Run& run, std::string_view what, Args& args) {
  if (args.positional.size() > 1) run.fail(what, ": expected at most one argument without a name");
  std::vector<std::pair<Value, Value>> members;
  if (!args.positional.empty() && args.positional[0].is(Kind::dict)) {
    members = args.positional[0].as<Dict>().members;
    run.charge(members.size());
  } else if (!args.positional.empty()) {
    need_defined(run, args.positional[0]);
    Iterator pairs(run, args.positional[0]);
    for (Value pair; pairs.next(run, pair);) {
      std::vector<Value> two = Iterator(run, pair).rest(run);
      if (two.size() != 2) run.fail(what, ": expected pairs, found ", two.size(), " values");
      set(run, members, std::move(two[0]), std::move(two[1]));
    }
  }
  for (auto& [name, value] : args.named) set(run, members, run.text(name), std::move(value));
  return members;
}

inline Value name_space(Run& run, Args& args) {
  auto names = std::make_shared<Namespace>();
  for (auto& [key, value] : members_of(run, "namespace", args)) {
    if (!key.is(Kind::string)) run.fail("namespace: expected names that are str, found ", type_name(key));
    if (key.bytes().starts_with('_')) {
      run.fail("namespace: names must not begin with '_', found ", in_quotes(key.bytes()));
    }
    names->members.emplace_back(key.bytes(), std::move(value));
  }
  run.keep(names);
  return run.object(Kind::name_space, std::move(names), 0);
}

/// datetime.now().strftime(format), in English.
inline Value strftime_now(Run& run, Args& args) {
  const std::string& given = need_text(run, bind(run, "strftime_now", {"format"}, 1, args)[0], "strftime_now");
  ::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm local{};
  ::localtime_r(&now.tv_sec, &local);
  std::string format;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char next = given[i] == '%' && i + 1 < given.size() ? given[i + 1] : '\0';
    if (next == 'f') {
      const std::string digits = std::to_string(1'000'000 + now.tv_nsec / 1000);
      format += digits.substr(1);
    } else if (next != 'z' && next != 'Z') {  // a time without a zone prints none
      format += given[i];
      if (next) format += next;
    }
    if (next) ++i;
  }
  if (format.find('\0') != format.npos) run.fail("strftime_now: a NUL character is not supported");
  if (format.size() > 1000) run.fail("strftime_now: expected a format of at most 1000 bytes, found ", format.size());
  std::string buffer(64 * 1024, '\0');
  const ::locale_t english = ::newlocale(LC_ALL_MASK, "C", ::locale_t{});
  const std::size_t size = ::strftime_l(buffer.data(), buffer.size(), format.c_str(), &local, english);
  ::freelocale(english);
  return run.text(buffer.substr(0, size));
}

IVL_INLINE Value call_function(Run& run, std::string_view name, Args args) {
  if (name == "range") return range(run, args);
  if (name == "dict") return run.dict(members_of(run, name, args));
  if (name == "namespace") return name_space(run, args);
  if (name == "strftime_now") return strftime_now(run, args);
  if (name == "raise_exception") {
    const Value message = bind(run, name, {"message"}, 1, args)[0];
    throw RequestError(str(run, message));
  }
  run.fail("the function '", name, "' is not supported");
}

}  // namespace ivl::detail::jinja
