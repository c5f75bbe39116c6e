// Members and methods that chat templates use, as Python's types and jinja2's sandbox have them.
#pragma once
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

/// `loop`, and what a loop goes through.
struct Loop : Object {
  std::function<bool(Value&)> next_item;
  std::optional<std::int64_t> length;  // where it is known
  std::vector<Value> ahead;            // items that were taken early to count them, the last first
  std::int64_t index0 = -1;
  int level = 0;
  Value before, current, after, changed;  // `after`: the next one, where somebody has looked

  bool take(Value& item);
  bool advance(Value& item);
  const Value& peek();
  std::int64_t count();
  void clear() override { before = current = after = changed = Value(); }
};

/// `args` for parameters of these names, missing where they are not given. Fails unless all of the first `required`
/// are.
std::vector<Value> bind_all(Run& run, std::string_view what, std::span<const std::string_view> names,
                            std::size_t required, Args& args);
inline std::vector<Value> bind(Run& run, std::string_view what, std::initializer_list<std::string_view> names,
                               std::size_t required, Args& args) {
  return bind_all(run, what, {names.begin(), names.size()}, required, args);
}

/// Whether `name` is one of the words of `words`, which have single spaces between them and around them.
bool is_word(std::string_view words, std::string_view name);
bool is_method(std::string_view name);
/// value.name and value[key].
Value attribute(Run& run, const Value& value, std::string_view name);
Value item(Run& run, const Value& value, const Value& key);
Value slice(Run& run, const Value& value, const Value& begin, const Value& end, const Value& step);
/// `path` is one key, or several with dots between them: what filters call an attribute.
Value item_at(Run& run, Value value, const Value& path);

Value call_method(Run& run, const Callable& method, Args args);
/// The text of a str, `what` it is for. Fails for other values and for a text that is marked as safe, since that would
/// have to be escaped.
const std::string& need_text(Run& run, const Value& value, std::string_view what);
/// A list of texts.
Value texts(Run& run, const std::vector<std::string_view>& parts);
std::int64_t need_integer(Run& run, const Value& value, std::string_view what);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_methods.ipp"
#endif
