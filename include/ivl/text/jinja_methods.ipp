#pragma once
#include <algorithm>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/strip.hpp"

namespace ivl::detail::jinja {

// ---- loops -----------------------------------------------------------------------------------------

IVL_INLINE bool Loop::take(Value& item) {
  if (ahead.empty()) return next_item(item);
  item = std::move(ahead.back());
  ahead.pop_back();
  return true;
}

IVL_INLINE bool Loop::advance(Value& item) {
  if (after.is(Kind::missing)) {
    if (!take(item)) return false;
  } else {
    item = std::exchange(after, Value());
  }
  ++index0;
  before = std::exchange(current, item);
  return true;
}

IVL_INLINE const Value& Loop::peek() {
  Value next;
  if (after.is(Kind::missing) && take(next)) after = std::move(next);
  return after;
}

IVL_INLINE std::int64_t Loop::count() {
  if (!length) {
    std::vector<Value> rest;
    for (Value item; take(item);) rest.push_back(std::move(item));
    length = std::int64_t(rest.size()) + index0 + 1 + !after.is(Kind::missing);
    ahead.assign(std::make_move_iterator(rest.rbegin()), std::make_move_iterator(rest.rend()));
  }
  return *length;
}

inline Value loop_attribute(Run& run, const Value& value, std::string_view name) {
  Loop& loop = value.as<Loop>();
  if (name == "index") return loop.index0 + 1;
  if (name == "index0") return loop.index0;
  if (name == "revindex") return loop.count() - loop.index0;
  if (name == "revindex0") return loop.count() - loop.index0 - 1;
  if (name == "first") return loop.index0 == 0;
  if (name == "last") return loop.peek().is(Kind::missing);
  if (name == "length") return loop.count();
  if (name == "depth") return 1;
  if (name == "depth0") return 0;
  if (name == "previtem") return loop.index0 == 0 ? undefined("there is no previous item") : loop.before;
  if (name == "nextitem") return loop.peek().is(Kind::missing) ? undefined("there is no next item") : loop.peek();
  if (name == "cycle" || name == "changed") return run.method(value, std::string(name));
  return undefined("'loop' has no attribute " + in_quotes(name));
}

// ---- members ---------------------------------------------------------------------------------------

IVL_INLINE std::vector<Value> bind_all(Run& run, std::string_view what, std::span<const std::string_view> names,
                                       std::size_t required, Args& args) {
  std::vector<Value> values = std::move(args.positional);
  if (values.size() > names.size()) {
    run.fail(what, ": expected at most ", names.size(), " arguments, found ", values.size());
  }
  values.resize(names.size());
  for (auto& [name, value] : args.named) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) run.fail(what, ": unexpected argument ", in_quotes(name));
    Value& place = values[std::size_t(found - names.begin())];
    if (!place.is(Kind::missing)) run.fail(what, ": the argument ", in_quotes(name), " is given twice");
    place = std::move(value);
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (values[i].is(Kind::missing)) run.fail(what, ": the argument '", names[i], "' is missing");
  }
  return values;
}

IVL_INLINE bool is_word(std::string_view words, std::string_view name) {
  if (name.find(' ') != name.npos) return false;
  for (std::size_t at = words.find(name); at != words.npos; at = words.find(name, at + 1)) {
    if (words[at - 1] == ' ' && words[at + name.size()] == ' ') return !name.empty();
  }
  return false;
}

IVL_INLINE bool is_method(std::string_view name) {
  return is_word(
      " capitalize changed count cycle endswith find get index items join keys lower lstrip removeprefix removesuffix "
      "replace rstrip split splitlines startswith strip title upper values ",
      name);
}

/// What Python's dir() has without underscores; `unsafe`: what changes a value, which the sandbox keeps templates from.
struct PythonMembers {
  std::string_view safe = " ", unsafe = " ";
};
inline PythonMembers python_members(Kind kind) {
  switch (kind) {
    case Kind::string:
      return {
          " capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha "
          "isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust "
          "lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit "
          "rstrip split splitlines startswith strip swapcase title translate upper zfill "};
    case Kind::list:
      return {" copy count index ", " append clear extend insert pop remove reverse sort "};
    case Kind::tuple:
      return {" count index "};
    case Kind::range:
      return {" count index start step stop "};
    case Kind::dict:
      return {" copy fromkeys get items keys values ", " clear pop popitem setdefault update "};
    case Kind::keys:
    case Kind::values:
    case Kind::items:
      return {" isdisjoint mapping "};
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return {
          " as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer "
          "numerator real to_bytes "};
    case Kind::generator:
      return {" close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw "};
    case Kind::macro:
      return {" arguments caller catch_kwargs catch_varargs explicit_caller name "};
    default:
      return {};
  }
}

/// What getattr finds, missing if nothing.
inline Value python_attribute(Run& run, const Value& value, std::string_view name) {
  need_defined(run, value);
  if (value.is(Kind::loop)) return loop_attribute(run, value, name);
  if (value.is(Kind::name_space)) {
    const Value* found = find(value.as<Namespace>(), name);
    return found ? *found : Value();
  }
  const PythonMembers members = python_members(value.kind());
  if (is_word(members.unsafe, name)) {
    std::string what = "the attribute " + in_quotes(name) + " of ";
    return undefined(what.append(type_name(value)) + " is not safe to use");
  }
  if (!is_word(members.safe, name)) return Value();
  if (!is_method(name)) run.fail("the attribute ", in_quotes(name), " of ", type_name(value), " is not supported");
  return run.method(value, std::string(name));
}

inline Value no_member(const Value& value, std::string_view name) {
  return undefined(std::string(type_name(value)) + " has no attribute " + in_quotes(name));
}

IVL_INLINE Value attribute(Run& run, const Value& value, std::string_view name) {
  Value found = python_attribute(run, value, name);
  if (!found.is(Kind::missing)) return found;
  const Value* member = value.is(Kind::dict) ? find(run, value.as<Dict>(), name) : nullptr;
  return member ? *member : no_member(value, name);
}

/// The index of the `length` items that Python means by `index`, nothing if it lies outside.
inline std::optional<std::size_t> place_of(std::int64_t index, std::int64_t length) {
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  return std::size_t(index);
}

IVL_INLINE Value item(Run& run, const Value& value, const Value& key) {
  need_defined(run, value);
  const bool has_places = value.is(Kind::list) || value.is(Kind::tuple) || value.is(Kind::range);
  if (has_places && key.is_whole()) {
    const auto& items = value.as<Sequence>().items;
    if (const auto at = place_of(key.integer(), std::int64_t(items.size()))) return items[*at];
  } else if (value.is(Kind::string) && key.is_whole()) {
    run.charge_text(value.bytes().size());
    const std::vector<std::string_view> all = characters(value.bytes());
    if (const auto at = place_of(key.integer(), std::int64_t(all.size()))) return run.text(std::string(all[*at]));
  } else if (value.is(Kind::dict)) {
    if (key.is(Kind::list) || key.is(Kind::dict)) return undefined("a dict has no such element");
    if (const Value* found = find(run, value.as<Dict>(), key)) return *found;
  }
  if (!key.is(Kind::string)) return undefined(std::string(type_name(value)) + " has no such element");
  Value found = python_attribute(run, value, key.bytes());
  return found.is(Kind::missing) ? no_member(value, key.bytes()) : found;
}

IVL_INLINE Value slice(Run& run, const Value& value, const Value& begin, const Value& end, const Value& step) {
  need_defined(run, value);
  const auto bound = [&](const Value& of, std::int64_t otherwise) {
    if (of.is(Kind::none) || of.is(Kind::missing)) return otherwise;
    return need_integer(run, of, "a slice");
  };
  const std::int64_t stride = bound(step, 1);
  if (stride == 0) run.fail("a slice: expected a step other than 0");
  const bool is_text = value.is(Kind::string);
  if (!is_text && !value.is(Kind::list) && !value.is(Kind::tuple) && !value.is(Kind::range)) {
    run.fail("a slice: expected a str or a list, found ", type_name(value));
  }
  std::vector<std::string_view> all;
  if (is_text) {
    run.charge_text(value.bytes().size());
    all = characters(need_text(run, value, "a slice"));
  }
  const auto size = std::int64_t(is_text ? all.size() : value.as<Sequence>().items.size());
  const auto clamp = [&](std::int64_t at) {  // as Python's slice.indices
    if (at < 0) at = at < -size ? -1 : at + size;
    return stride < 0 ? std::clamp<std::int64_t>(at, -1, size - 1) : std::clamp<std::int64_t>(at, 0, size);
  };
  const std::int64_t first =
      begin.is(Kind::missing) || begin.is(Kind::none) ? (stride < 0 ? size - 1 : 0) : clamp(bound(begin, 0));
  const std::int64_t last =
      end.is(Kind::missing) || end.is(Kind::none) ? (stride < 0 ? -1 : size) : clamp(bound(end, 0));
  std::vector<Value> items;
  std::string text;
  for (std::int64_t at = first; stride < 0 ? at > last : at < last;) {
    if (is_text) {
      text += all[std::size_t(at)];
    } else {
      items.push_back(value.as<Sequence>().items[std::size_t(at)]);
    }
    if (stride > size || stride < -size) break;
    at += stride;
  }
  return is_text ? run.text(std::move(text)) : run.sequence(value.kind(), std::move(items));
}

IVL_INLINE Value item_at(Run& run, Value value, const Value& path) {
  if (!path.is(Kind::string)) return path.is(Kind::none) ? value : item(run, value, path);
  for (const std::string_view part : split(path.bytes(), ".", -1)) {
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    bool too_large = false;
    const std::optional<std::int64_t> number = is_number ? to_integer(part, too_large) : std::nullopt;
    value = item(run, value, number ? Value(*number) : run.text(std::string(part)));
  }
  return value;
}

IVL_INLINE const std::string& need_text(Run& run, const Value& value, std::string_view what) {
  need_defined(run, value);
  if (!value.is(Kind::string)) run.fail(what, ": expected a str, found ", type_name(value));
  if (value.as<String>().safe) run.fail(what, " of a text that is marked as safe is not supported");
  run.charge_text(value.bytes().size());
  return value.bytes();
}

IVL_INLINE std::int64_t need_integer(Run& run, const Value& value, std::string_view what) {
  need_defined(run, value);
  if (!value.is_whole()) run.fail(what, ": expected an int, found ", type_name(value));
  return value.integer();
}

// ---- methods ---------------------------------------------------------------------------------------

IVL_INLINE Value texts(Run& run, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(run.text(std::string(part)));
  return run.list(std::move(items));
}

/// `text`, which is nothing where it depends on rules that are not written here.
inline Value in_other_case(Run& run, std::string_view what, std::optional<std::string> text) {
  if (!text)
    run.fail("'", what, "' of this text is not supported: it has a character whose other case is no character");
  return run.text(std::move(*text));
}

inline Value strip_method(Run& run, const std::string& name, const std::string& text, Args& args) {
  const std::vector<Value> given = bind(run, name, {"chars"}, 0, args);
  const bool left = name != "rstrip", right = name != "lstrip";
  if (given[0].is(Kind::missing) || given[0].is(Kind::none)) {
    return run.text(std::string(!left ? strip_right(text) : !right ? strip_left(text) : strip(text)));
  }
  const std::string& set = need_text(run, given[0], name);
  run.charge(text.size() / 64 * set.size() + 1);
  return run.text(std::string(strip_characters(text, set, left, right)));
}

inline Value split_method(Run& run, const std::string& text, Args& args) {
  const std::vector<Value> given = bind(run, "split", {"sep", "maxsplit"}, 0, args);
  const std::int64_t limit = given[1].is(Kind::missing) ? -1 : need_integer(run, given[1], "split");
  if (given[0].is(Kind::missing) || given[0].is(Kind::none)) return texts(run, split(text, limit));
  const std::string& separator = need_text(run, given[0], "split");
  if (separator.empty()) run.fail("split: expected a separator, found an empty text");
  return texts(run, split(text, separator, limit));
}

inline Value replace_method(Run& run, const std::string& text, const std::string& from, const std::string& to,
                            std::int64_t limit) {
  const std::size_t most = from.empty() ? text.size() + 1 : text.size() / from.size();
  const std::size_t bytes = std::min(most, limit < 0 ? most : std::size_t(limit)) * to.size();
  // Counted first only where the result might be too long.
  if (bytes > 1 << 20) {
    std::size_t found = from.empty() ? most : 0;
    if (!from.empty()) {
      for (std::size_t at = 0; (at = find_text(text, from, at)) != text.npos; at += from.size()) ++found;
    }
    run.check_text(std::min(found, limit < 0 ? found : std::size_t(limit)) * to.size());
  }
  return run.text(replace(text, from, to, limit));
}

/// startswith and endswith.
inline Value has_end(Run& run, const std::string& name, const std::string& text, Args& args) {
  const Value ends = bind(run, name, {"prefix"}, 1, args)[0];
  const auto has = [&](const Value& end) -> bool {
    const std::string& part = need_text(run, end, name);
    return name == "startswith" ? text.starts_with(part) : text.ends_with(part);
  };
  if (!ends.is(Kind::tuple)) return has(ends);
  return std::ranges::any_of(ends.as<Sequence>().items, has);
}

inline Value string_method(Run& run, const std::string& name, const Value& self, Args& args) {
  const std::string& text = need_text(run, self, name);
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_method(run, name, text, args);
  if (name == "split") return split_method(run, text, args);
  if (name == "startswith" || name == "endswith") return has_end(run, name, text, args);
  if (name == "replace") {
    const std::vector<Value> given = bind(run, name, {"old", "new", "count"}, 2, args);
    return replace_method(run, text, need_text(run, given[0], name), need_text(run, given[1], name),
                          given[2].is(Kind::missing) ? -1 : need_integer(run, given[2], name));
  }
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize") {
    bind(run, name, {}, 0, args);
    const auto change = name == "upper" ? upper : name == "lower" ? lower : name == "title" ? title : capitalize;
    return in_other_case(run, name, change(text));
  }
  if (name == "splitlines") {
    const Value keep = bind(run, name, {"keepends"}, 0, args)[0];
    return texts(run, split_lines(text, truth(keep)));
  }
  const std::vector<Value> given = bind(run, name, {"argument"}, 1, args);
  if (name == "join") {
    std::string joined;
    bool first = true;
    Iterator iterator(run, given[0]);
    for (Value part; iterator.next(run, part);) {
      if (!std::exchange(first, false)) run.append(joined, text);
      run.append(joined, need_text(run, part, name));
    }
    return run.text(std::move(joined));
  }
  const std::string& part = need_text(run, given[0], name);
  if (name == "removeprefix") return run.text(text.substr(text.starts_with(part) ? part.size() : 0));
  if (name == "removesuffix") return run.text(text.substr(0, text.size() - (text.ends_with(part) ? part.size() : 0)));
  const std::size_t found = find_text(text, part);
  if (name == "find" || name == "index") {
    if (found == text.npos && name == "index") run.fail("index: the text was not found");
    return found == text.npos ? std::int64_t(-1) : std::int64_t(character_count(text.substr(0, found)));
  }
  if (name != "count") run.fail("the method '", name, "' of a str is not supported");
  if (part.empty()) return std::int64_t(character_count(text) + 1);
  return std::int64_t(split(text, part, -1).size() - 1);
}

inline Value dict_method(Run& run, const std::string& name, const Value& self, Args& args) {
  const Dict& dict = self.as<Dict>();
  if (name == "get") {
    const std::vector<Value> given = bind(run, name, {"key", "default"}, 1, args);
    if (const Value* found = find(run, dict, given[0])) return *found;
    return given[1].is(Kind::missing) ? Value::none() : given[1];
  }
  bind(run, name, {}, 0, args);
  std::vector<Value> items;
  for (const auto& [key, value] : dict.members) {
    items.push_back(name == "keys" ? key : name == "values" ? value : run.pair(key, value));
  }
  return run.sequence(name == "keys" ? Kind::keys : name == "values" ? Kind::values : Kind::items, std::move(items));
}

inline Value loop_method(Run& run, const std::string& name, const Value& self, Args& args) {
  Loop& loop = self.as<Loop>();
  if (!args.named.empty()) run.fail(name, ": unexpected argument ", in_quotes(args.named[0].first));
  if (name == "cycle") {
    if (args.positional.empty()) run.fail("cycle: expected values, found none");
    return args.positional[std::size_t(loop.index0) % args.positional.size()];
  }
  Value now = run.sequence(Kind::tuple, std::move(args.positional));
  if (loop.changed.is(Kind::tuple) && equal(run, loop.changed, now)) return false;
  if (loop.changed.is(Kind::missing)) run.keep(self.object());  // which may now hold itself
  loop.changed = std::move(now);
  return true;
}

IVL_INLINE Value call_method(Run& run, const Callable& method, Args args) {
  const Value& self = method.self;
  const bool takes_names = is_word(" split splitlines cycle changed ", method.name);
  if (!args.named.empty() && !takes_names && (method.name != "replace" || args.named[0].first != "count")) {
    run.fail(method.name, ": unexpected argument ", in_quotes(args.named[0].first));
  }
  if (self.is(Kind::string)) return string_method(run, method.name, self, args);
  if (self.is(Kind::dict)) return dict_method(run, method.name, self, args);
  if (self.is(Kind::loop)) return loop_method(run, method.name, self, args);
  const Value wanted = bind(run, method.name, {"value"}, 1, args)[0];
  const auto& items = self.as<Sequence>().items;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!equal(run, items[i], wanted)) continue;
    if (method.name == "index") return std::int64_t(i);
    ++count;
  }
  if (method.name == "index") run.fail("index: the value was not found");
  return count;
}

}  // namespace ivl::detail::jinja
