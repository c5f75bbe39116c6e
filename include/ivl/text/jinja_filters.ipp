#pragma once
#include <algorithm>
#include <cmath>
#include <optional>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_filters.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_operators.hpp"
#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_tests.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/jinja_text_filters.hpp"

namespace ivl::detail::jinja {

/// One filter: value | name(args). `given` are the arguments in the order of `parameters`, missing where not given.
struct Filter {
  std::string_view name;
  std::vector<std::string_view> parameters;
  Value (*apply)(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given);
};

// ---- sequences -------------------------------------------------------------------------------------

inline Value filter_length(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  return value.is(Kind::loop) ? value.as<Loop>().count() : length(run, value);
}

inline Value filter_default(Run&, std::string_view, const Value& value, const std::vector<Value>& given) {
  if (!value.is(Kind::undefined) && (truth(value) || !truth(argument(given, 1, false)))) return value;
  if (!given[0].is(Kind::missing)) return given[0];
  return Value(Kind::string, std::make_shared<String>());
}

inline Value filter_list(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  return run.list(Iterator(run, value).rest(run));
}

inline Value filter_first(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  Value item;
  return Iterator(run, value).next(run, item) ? item : undefined("No first item, sequence was empty.");
}

inline Value filter_last(Run& run, std::string_view name, const Value& value, const std::vector<Value>&) {
  if (value.is(Kind::generator)) run.fail(name, ": expected something that can be reversed, found a generator");
  const std::vector<Value> items = Iterator(run, value).rest(run);
  return items.empty() ? undefined("No last item, sequence was empty.") : items.back();
}

inline Value filter_reverse(Run& run, std::string_view, const Value& value, const std::vector<Value>&) {
  if (value.is(Kind::string)) return slice(run, value, Value(), Value(), -1);
  std::vector<Value> items = Iterator(run, value).rest(run);
  std::ranges::reverse(items);
  const Value reversed = run.list(std::move(items));
  if (value.is(Kind::generator)) return reversed;  // of the others Python makes an iterator
  return run.generator(reversed.depth(), [&run, iterator = Iterator(run, reversed)](Value& item) mutable {
    return iterator.next(run, item);
  });
}

inline Value filter_items(Run& run, std::string_view name, const Value& value, const std::vector<Value>&) {
  return run.generator(value.depth() + 1, [&run, name, value, at = std::size_t(0)](Value& item) mutable {
    if (!value.is(Kind::dict) && !value.is(Kind::undefined)) {
      run.fail(name, ": expected a dict, found ", type_name(value));
    }
    if (value.is(Kind::undefined) || at == value.as<Dict>().members.size()) return false;
    const auto& [key, member] = value.as<Dict>().members[at++];
    item = run.pair(key, member);
    return true;
  });
}

/// Goes through `value` from the first call on, which is the first that fails if there is nothing to go through.
class LateIterator {
 public:
  explicit LateIterator(Value value) : value_(std::move(value)) {}
  bool next(Run& run, Value& item) {
    if (!iterator_) iterator_ = Iterator(run, value_);
    return iterator_->next(run, item);
  }

 private:
  Value value_;
  std::optional<Iterator> iterator_;
};

/// What sort and its kin compare: a text in small letters, unless the case counts.
inline Value sort_key(Run& run, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is(Kind::string)) return value;
  std::optional<std::string> small = lower(need_text(run, value, "sorting"));
  if (!small) run.fail("sorting this text without regard to case is not supported");
  return run.text(std::move(*small));
}

inline void sort_by_keys(Run& run, std::vector<std::pair<Value, Value>>& keyed, bool reverse) {
  // std::stable_sort may not see values that have no order, and NaN has none.
  const auto is_nan = [](const Value& key) { return key.is(Kind::real) && std::isnan(key.real()); };
  for (const auto& [key, value] : keyed) {
    if (is_nan(key) || (key.is(Kind::list) && std::ranges::any_of(key.as<Sequence>().items, is_nan))) {
      run.fail("sorting NaN is not supported");
    }
  }
  std::ranges::stable_sort(keyed, [&](const auto& a, const auto& b) {
    return reverse ? less(run, b.first, a.first) : less(run, a.first, b.first);
  });
}

inline Value filter_sort(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  const bool reverse = truth(argument(given, 0)), case_sensitive = truth(argument(given, 1));
  std::vector<Value> paths{argument(given, 2)};
  if (paths[0].is(Kind::string))
    paths = texts(run, split(need_text(run, paths[0], name), ",", -1)).as<Sequence>().items;
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Iterator(run, value).rest(run)) {
    std::vector<Value> keys;
    for (const Value& path : paths) keys.push_back(sort_key(run, item_at(run, item, path), case_sensitive));
    keyed.emplace_back(run.list(std::move(keys)), item);
  }
  sort_by_keys(run, keyed, reverse);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return run.list(std::move(items));
}

inline Value filter_dictsort(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  need_defined(run, value);
  if (!value.is(Kind::dict)) run.fail(name, ": expected a dict, found ", type_name(value));
  const bool case_sensitive = truth(argument(given, 0)), reverse = truth(argument(given, 2));
  const std::string by = given[1].is(Kind::missing) ? "key" : str(run, given[1]);
  if (by != "key" && by != "value") run.fail(name, ": expected 'key' or 'value', found ", in_quotes(by));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, member] : value.as<Dict>().members) {
    keyed.emplace_back(sort_key(run, by == "key" ? key : member, case_sensitive), run.pair(key, member));
  }
  sort_by_keys(run, keyed, reverse);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return run.list(std::move(items));
}

inline Value filter_unique(Run& run, std::string_view, const Value& value, const std::vector<Value>& given) {
  using Seen = std::vector<std::pair<Value, Value>>;
  return run.generator(
      value.depth(), [&run, given, iterator = LateIterator(value), seen = Seen()](Value& item) mutable {
        while (iterator.next(run, item)) {
          const std::size_t before = seen.size();
          set(run, seen, sort_key(run, item_at(run, item, argument(given, 1)), truth(argument(given, 0))), true);
          if (seen.size() > before) return true;
        }
        return false;
      });
}

/// min and max.
inline Value filter_extreme(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  const bool case_sensitive = truth(argument(given, 0));
  const Value path = argument(given, 1);
  Value best = undefined("No aggregated item, sequence was empty."), best_key;
  for (const Value& item : Iterator(run, value).rest(run)) {
    Value key = sort_key(run, item_at(run, item, path), case_sensitive);
    const bool better =
        best_key.is(Kind::missing) || (name == "min" ? less(run, key, best_key) : less(run, best_key, key));
    if (better) best = item, best_key = std::move(key);
  }
  return best;
}

inline Value filter_sum(Run& run, std::string_view name, const Value& value, const std::vector<Value>& given) {
  const Value path = argument(given, 0);
  Value sum = argument(given, 1, 0);
  if (sum.is(Kind::string)) run.fail(name, ": expected numbers, found a str");
  Iterator iterator(run, value);
  for (Value item; iterator.next(run, item);) sum = arithmetic(run, Op::add, sum, item_at(run, item, path));
  return sum;
}

inline const std::vector<Filter>& filters() {
  static const std::vector<Filter> all{
      {"abs", {}, filter_abs},
      {"capitalize", {}, filter_case},
      {"count", {}, filter_length},
      {"d", {"default_value", "boolean"}, filter_default},
      {"default", {"default_value", "boolean"}, filter_default},
      {"dictsort", {"case_sensitive", "by", "reverse"}, filter_dictsort},
      {"first", {}, filter_first},
      {"float", {"default"}, filter_float},
      {"indent", {"width", "first", "blank"}, filter_indent},
      {"int", {"default", "base"}, filter_int},
      {"items", {}, filter_items},
      {"join", {"d", "attribute"}, filter_join},
      {"last", {}, filter_last},
      {"length", {}, filter_length},
      {"list", {}, filter_list},
      {"lower", {}, filter_case},
      {"max", {"case_sensitive", "attribute"}, filter_extreme},
      {"min", {"case_sensitive", "attribute"}, filter_extreme},
      {"replace", {"old", "new", "count"}, filter_replace},
      {"reverse", {}, filter_reverse},
      {"safe", {}, filter_safe},
      {"sort", {"reverse", "case_sensitive", "attribute"}, filter_sort},
      {"string", {}, filter_string},
      {"sum", {"attribute", "start"}, filter_sum},
      {"title", {}, filter_case},
      {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, filter_tojson},
      {"trim", {"chars"}, filter_trim},
      {"unique", {"case_sensitive", "attribute"}, filter_unique},
      {"upper", {}, filter_case},
  };
  return all;
}

// ---- filters of other filters and tests ------------------------------------------------------------

/// The name that map, select and their kin are given, and the arguments behind it.
inline std::string applied_name(Run& run, std::string_view name, Args& args) {
  if (args.positional.empty()) run.fail(name, ": expected the name of what to apply, found none");
  std::string applied = need_text(run, args.positional[0], name);
  args.positional.erase(args.positional.begin());
  return applied;
}

inline int depth_of(const Value& value, const Args& args) {
  int depth = value.depth();
  for (const Value& argument : args.positional) depth = std::max(depth, argument.depth());
  for (const auto& [name, argument] : args.named) depth = std::max(depth, argument.depth());
  return depth;
}

inline Value filter_map(Run& run, const Value& value, Args args) {
  const int depth = depth_of(value, args);
  if (!truth(value)) return run.generator(depth, [](Value&) { return false; });
  LateIterator iterator(value);
  if (!args.positional.empty() || args.named.empty() || args.named[0].first == "default") {
    std::string name = applied_name(run, "map", args);
    return run.generator(depth, [&run, iterator, name, args](Value& item) mutable {
      if (!iterator.next(run, item)) return false;
      item = apply_filter(run, name, item, args);
      return true;
    });
  }
  const std::vector<Value> given = bind(run, "map", {"attribute", "default"}, 1, args);
  return run.generator(depth, [&run, iterator, given](Value& item) mutable {
    if (!iterator.next(run, item)) return false;
    const bool has_default = !given[1].is(Kind::missing) && !given[1].is(Kind::none);
    if (has_default && given[0].is(Kind::string) && given[0].bytes().find('.') != std::string::npos) {
      run.fail("map: a default for an attribute with dots is not supported");
    }
    item = item_at(run, item, given[0]);
    if (has_default && item.is(Kind::undefined)) item = given[1];
    return true;
  });
}

/// select, reject, selectattr and rejectattr.
inline Value filter_select(Run& run, std::string_view name, const Value& value, Args args) {
  const int depth = depth_of(value, args);
  if (!truth(value)) return run.generator(depth, [](Value&) { return false; });
  const bool wanted = name.starts_with("select");
  Value path = Value::none();
  if (name.ends_with("attr")) {
    if (args.positional.empty()) run.fail(name, ": expected the name of an attribute, found none");
    path = args.positional[0];
    args.positional.erase(args.positional.begin());
  }
  const std::string test = args.positional.empty() ? "" : applied_name(run, name, args);
  return run.generator(depth, [&run, iterator = LateIterator(value), wanted, path, test, args](Value& item) mutable {
    while (iterator.next(run, item)) {
      const Value tested = item_at(run, item, path);
      if ((test.empty() ? truth(tested) : apply_test(run, test, tested, args)) == wanted) return true;
    }
    return false;
  });
}

inline bool takes_filters(std::string_view name) {
  return name == "map" || name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr";
}

IVL_INLINE bool is_filter(std::string_view name) {
  return takes_filters(name) || std::ranges::find(filters(), name, &Filter::name) != filters().end();
}

IVL_INLINE Value apply_filter(Run& run, std::string_view name, const Value& value, Args args) {
  if (name == "map") return filter_map(run, value, std::move(args));
  if (takes_filters(name)) return filter_select(run, name, value, std::move(args));
  const auto filter = std::ranges::find(filters(), name, &Filter::name);
  if (filter == filters().end()) run.fail("the filter ", in_quotes(name), " is not supported");
  return filter->apply(run, name, value, bind_all(run, name, filter->parameters, 0, args));
}

}  // namespace ivl::detail::jinja
