#pragma once
#include <algorithm>
#include <limits>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/jinja_value.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::detail::jinja {

IVL_INLINE Value Run::text(std::string bytes, bool safe) {
  check_text(bytes.size());
  charge_text(bytes.size());
  auto string = std::make_shared<String>();
  string->bytes = std::move(bytes);
  string->safe = safe;
  return Value(Kind::string, std::move(string));
}

IVL_INLINE Value Run::sequence(Kind kind, std::vector<Value> items) {
  charge(items.size());
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  auto sequence = std::make_shared<Sequence>();
  sequence->items = std::move(items);
  return object(kind, std::move(sequence), deepest + 1);
}

IVL_INLINE Value Run::pair(Value first, Value second) {
  std::vector<Value> items;
  items.push_back(std::move(first));
  items.push_back(std::move(second));
  return sequence(Kind::tuple, std::move(items));
}

IVL_INLINE Value Run::dict(std::vector<std::pair<Value, Value>> members) {
  charge(members.size());
  int deepest = 0;
  for (const auto& [key, value] : members) deepest = std::max({deepest, key.depth(), value.depth()});
  auto dict = std::make_shared<Dict>();
  dict->members = std::move(members);
  return object(Kind::dict, std::move(dict), deepest + 1);
}

IVL_INLINE Value Run::generator(int depth, std::function<bool(Value&)> next) {
  auto generator = std::make_shared<Generator>();
  generator->next = std::move(next);
  return object(Kind::generator, std::move(generator), depth + 1);
}

IVL_INLINE Value Run::method(const Value& self, std::string name) {
  auto method = std::make_shared<Callable>();
  method->name = std::move(name);
  method->self = self;
  return object(Kind::method, std::move(method), self.depth() + 1);
}

IVL_INLINE std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
      return "an undefined value";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "a bool";
    case Kind::integer:
      return "an int";
    case Kind::real:
      return "a float";
    case Kind::string:
      return "a str";
    case Kind::list:
      return "a list";
    case Kind::tuple:
      return "a tuple";
    case Kind::range:
      return "a range";
    case Kind::keys:
    case Kind::values:
    case Kind::items:
      return "a view of a dict";
    case Kind::dict:
      return "a dict";
    case Kind::generator:
      return "a generator";
    case Kind::name_space:
      return "a namespace";
    case Kind::loop:
      return "a loop";
    case Kind::macro:
    case Kind::method:
    case Kind::function:
      break;
  }
  return "a function";
}

IVL_INLINE Value undefined(std::string what) {
  auto value = std::make_shared<Undefined>();
  value->what = std::move(what);
  return Value(Kind::undefined, std::move(value));
}

IVL_INLINE void need_defined(const Run& run, const Value& value) {
  if (value.is(Kind::undefined)) run.fail(value.as<Undefined>().what);
}

IVL_INLINE bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::real:
      return value.real() != 0;
    case Kind::string:
      return !value.bytes().empty();
    case Kind::dict:
      return !value.as<Dict>().members.empty();
    default:
      return !value.is_sequence() || !value.as<Sequence>().items.empty();
  }
}

/// Both as numbers that hold every int64 and every double.
inline long double number(const Value& value) {
  return value.is_whole() ? static_cast<long double>(value.integer()) : static_cast<long double>(value.real());
}

IVL_INLINE bool equal(Run& run, const Value& a, const Value& b) {
  run.charge(1);
  if (a.is_number() && b.is_number()) return number(a) == number(b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      run.charge_text(std::min(a.bytes().size(), b.bytes().size()));
      return a.bytes() == b.bytes();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
      return std::ranges::equal(a.as<Sequence>().items, b.as<Sequence>().items,
                                [&](const Value& x, const Value& y) { return equal(run, x, y); });
    case Kind::dict: {
      const Dict& other = b.as<Dict>();
      return a.as<Dict>().members.size() == other.members.size() &&
             std::ranges::all_of(a.as<Dict>().members, [&](const auto& member) {
               const Value* found = find(run, other, member.first);
               return found && equal(run, member.second, *found);
             });
    }
    case Kind::method:
    case Kind::keys:
    case Kind::values:
    case Kind::items:
      run.fail("a comparison of ", type_name(a), " with ", type_name(b), " is not supported");
    default:
      return a.object() == b.object();
  }
}

IVL_INLINE int compare(Run& run, const Value& a, const Value& b) {
  run.charge(1);
  if (a.is_number() && b.is_number()) {
    const long double x = number(a), y = number(b);
    return x < y ? -1 : x > y;
  }
  if (a.is(Kind::string) && b.is(Kind::string)) {
    run.charge_text(std::min(a.bytes().size(), b.bytes().size()));
    return a.bytes().compare(b.bytes());  // UTF-8 sorts as code points do
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto &x = a.as<Sequence>().items, &y = b.as<Sequence>().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(run, x[i], y[i])) return compare(run, x[i], y[i]);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  need_defined(run, a);
  need_defined(run, b);
  run.fail("expected values that have an order, found ", type_name(a), " and ", type_name(b));
}

IVL_INLINE bool less(Run& run, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return number(a) < number(b);
  return compare(run, a, b) < 0;
}

IVL_INLINE bool contains(Run& run, const Value& container, const Value& item) {
  if (container.is(Kind::string)) {
    if (!item.is(Kind::string)) run.fail("'in' a str: expected a str before it, found ", type_name(item));
    run.charge_text(container.bytes().size());
    return find_text(container.bytes(), item.bytes()) != std::string::npos;
  }
  if (container.is(Kind::dict)) return find(run, container.as<Dict>(), item) != nullptr;
  Iterator iterator(run, container);
  for (Value found; iterator.next(run, found);) {
    if (equal(run, found, item)) return true;
  }
  return false;
}

IVL_INLINE Iterator::Iterator(const Run& run, Value source) : source_(std::move(source)) {
  if (!source_.is_sequence() && !source_.is(Kind::string) && !source_.is(Kind::dict) && !source_.is(Kind::generator) &&
      !source_.is(Kind::undefined)) {
    if (source_.is(Kind::loop)) run.fail("going through a loop's variable is not supported");
    run.fail("expected something to go through, found ", type_name(source_));
  }
}

IVL_INLINE bool Iterator::next(Run& run, Value& item) {
  run.charge(1);
  if (source_.is_sequence()) {
    const auto& items = source_.as<Sequence>().items;
    if (at_ == items.size()) return false;
    item = items[at_++];
    return true;
  }
  if (source_.is(Kind::dict)) {
    const auto& members = source_.as<Dict>().members;
    if (at_ == members.size()) return false;
    item = members[at_++].first;
    return true;
  }
  if (source_.is(Kind::generator)) return source_.as<Generator>().next(item);
  if (!source_.is(Kind::string)) return false;
  const std::string_view rest = std::string_view(source_.bytes()).substr(at_);
  if (rest.empty()) return false;
  const auto bytes = std::size_t(utf8_step(rest).bytes);
  item = run.text(std::string(rest.substr(0, bytes)));
  at_ += bytes;
  return true;
}

IVL_INLINE std::vector<Value> Iterator::rest(Run& run) {
  std::vector<Value> items;
  for (Value item; next(run, item);) items.push_back(std::move(item));
  return items;
}

IVL_INLINE std::int64_t length(Run& run, const Value& value) {
  if (value.is_sequence()) return std::int64_t(value.as<Sequence>().items.size());
  if (value.is(Kind::dict)) return std::int64_t(value.as<Dict>().members.size());
  if (value.is(Kind::undefined)) return 0;
  if (!value.is(Kind::string)) run.fail("expected something that has a length, found ", type_name(value));
  run.charge_text(value.bytes().size());
  return std::int64_t(character_count(value.bytes()));
}

IVL_INLINE const Value* find(Run& run, const Dict& dict, const Value& key) {
  if (key.is(Kind::string)) return find(run, dict, key.bytes());
  if (key.is(Kind::list) || key.is(Kind::dict)) run.fail("expected a key of a dict, found ", type_name(key));
  run.charge(dict.members.size() / 8 + 1);
  for (const auto& [name, value] : dict.members) {
    if (!name.is(Kind::string) && equal(run, name, key)) return &value;
  }
  return nullptr;
}

IVL_INLINE const Value* find(Run& run, const Dict& dict, std::string_view key) {
  run.charge(dict.members.size() / 8 + 1);
  for (const auto& [name, value] : dict.members) {
    if (name.is(Kind::string) && name.bytes() == key) return &value;
  }
  return nullptr;
}

IVL_INLINE const Value* find(const Namespace& names, std::string_view name) {
  const auto member = std::ranges::find(names.members, name, &std::pair<std::string, Value>::first);
  return member == names.members.end() ? nullptr : &member->second;
}

IVL_INLINE void set(Run& run, std::vector<std::pair<Value, Value>>& members, Value key, Value value) {
  if (key.is(Kind::list) || key.is(Kind::dict)) run.fail("expected a key of a dict, found ", type_name(key));
  run.charge(members.size() / 8 + 1);
  for (auto& [name, old] : members) {
    if (equal(run, name, key)) {
      old = std::move(value);
      return;
    }
  }
  members.emplace_back(std::move(key), std::move(value));
}

IVL_INLINE Value from_json(Run& run, const nlohmann::ordered_json& json, int depth) {
  if (depth > max_value_depth) run.fail("values are nested deeper than ", max_value_depth, " levels");
  const auto text = [&](const std::string& bytes) {
    if (!is_utf8(bytes)) run.fail("expected text in UTF-8, found ", in_quotes(bytes));
    return run.text(bytes);
  };
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> members;
      for (const auto& [key, value] : json.items()) members.emplace_back(text(key), from_json(run, value, depth + 1));
      return run.dict(std::move(members));
    }
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json(run, item, depth + 1));
      return run.list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::string:
      return text(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > std::uint64_t(std::numeric_limits<std::int64_t>::max())) {
        run.fail("integers beyond 64 bits are not supported");
      }
      [[fallthrough]];
    case nlohmann::ordered_json::value_t::number_integer:
      return json.get<std::int64_t>();
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::null:
      return Value::none();
    default:
      run.fail("expected a value that JSON has, found binary data");
  }
}

}  // namespace ivl::detail::jinja
