// The values of a chat template: what Python's would do, or an error. Nothing is changed after it is made but a
// namespace, so values are shared; whatever a stranger's template makes is counted by the Run that it belongs to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

/// What one rendering may take, so that no template hangs or fills the memory.
struct ChatTemplateLimits {
  std::size_t output_bytes = 16 << 20;  ///< of any text, the result among them
  std::size_t steps = 20'000'000;       ///< one for each node that is evaluated, value made and 64 bytes of text
};

namespace detail::jinja {

/// Nesting: of values in values, of a template's brackets and blocks, of expressions in expressions (where "a + b + c"
/// counts for two), and of all that while it runs.
inline constexpr int max_value_depth = 100;
inline constexpr int max_syntax_depth = 200;
inline constexpr int max_expression_depth = 400;
inline constexpr int max_run_depth = 1000;

/// `missing` is no value at all: an argument that was not given, a name that nobody has set.
enum class Kind : std::uint8_t {
  missing,
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  range,
  keys,    // of a dict; so are the next two
  values,  // .
  items,   // .
  dict,
  generator,
  name_space,
  loop,
  macro,
  method,
  function
};

/// What lies in memory of its own.
struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  virtual void clear() {}  // ends circles, when the rendering is over
  int depth = 0;           // of values in values
};

class Value {
 public:
  Value() = default;
  Value(bool value) : kind_(Kind::boolean) { scalar_.integer = value; }
  Value(int value) : Value(std::int64_t(value)) {}
  Value(std::int64_t value) : kind_(Kind::integer) { scalar_.integer = value; }
  Value(double value) : kind_(Kind::real) { scalar_.real = value; }
  Value(const void*) = delete;
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {}
  static Value none() {
    Value value;
    value.kind_ = Kind::none;
    return value;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_whole() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }
  bool is_number() const { return is_whole() || kind_ == Kind::real; }
  bool is_sequence() const { return kind_ >= Kind::list && kind_ <= Kind::items; }

  std::int64_t integer() const { return scalar_.integer; }
  double real() const { return kind_ == Kind::real ? scalar_.real : double(scalar_.integer); }
  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  inline const std::string& bytes() const;
  const std::shared_ptr<Object>& object() const { return object_; }
  int depth() const { return object_ ? object_->depth : 0; }

 private:
  Kind kind_ = Kind::missing;
  union {
    std::int64_t integer = 0;
    double real;
  } scalar_;
  std::shared_ptr<Object> object_;
};

struct Undefined : Object {
  std::string what;  // the error if a value is needed here
};
struct String : Object {
  std::string bytes;
  bool safe = false;  // Markup, which escapes what is added to it
};
struct Sequence : Object {
  std::vector<Value> items;
};
struct Dict : Object {
  std::vector<std::pair<Value, Value>> members;
};
struct Generator : Object {
  std::function<bool(Value&)> next;
};
struct Namespace : Object {
  std::vector<std::pair<std::string, Value>> members;
  void clear() override { members.clear(); }
};
/// A method of `self`, or a function of this name.
struct Callable : Object {
  std::string name;
  Value self;
};

const std::string& Value::bytes() const { return as<String>().bytes; }

/// What a call, filter or test is given.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// One rendering: where it is, what it may still take, and what must be taken apart at its end.
class Run {
 public:
  Run(std::string where, const ChatTemplateLimits& limits) : where_(std::move(where)), limits_(limits) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    for (const auto& object : kept_) object->clear();
  }

  int line = 0;
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    ivl::fail<RequestError>(where_, ": line ", line, ": ", parts...);
  }
  void charge(std::size_t steps) {
    if (steps > limits_.steps - used_) fail("expected at most ", limits_.steps, " steps, found more");
    used_ += steps;
  }
  void charge_text(std::size_t bytes) { charge(bytes / 64 + 1); }
  void check_text(std::size_t bytes) const {
    if (bytes > limits_.output_bytes) fail("expected a text of at most ", limits_.output_bytes, " bytes, found more");
  }
  void append(std::string& text, std::string_view more) {
    check_text(text.size() + more.size());
    charge_text(more.size());
    text += more;
  }
  void keep(std::shared_ptr<Object> object) { kept_.push_back(std::move(object)); }

  Value text(std::string bytes, bool safe = false);
  Value sequence(Kind kind, std::vector<Value> items);
  Value list(std::vector<Value> items) { return sequence(Kind::list, std::move(items)); }
  Value pair(Value first, Value second);
  Value dict(std::vector<std::pair<Value, Value>> members);
  Value generator(int depth, std::function<bool(Value&)> next);
  Value method(const Value& self, std::string name);
  /// `value`, inside which values lie `depth` deep.
  template <class T>
  Value object(Kind kind, std::shared_ptr<T> value, int depth) {
    charge(1);
    if (depth > max_value_depth) fail("values are nested deeper than ", max_value_depth, " levels");
    value->depth = depth;
    return Value(kind, std::move(value));
  }

 private:
  std::string where_;
  ChatTemplateLimits limits_;
  std::size_t used_ = 0;
  std::vector<std::shared_ptr<Object>> kept_;
};

/// As Python names the type, for errors.
std::string_view type_name(const Value& value);
Value undefined(std::string what);
/// Throws what an undefined value says, if it is one.
void need_defined(const Run& run, const Value& value);

bool truth(const Value& value);
bool equal(Run& run, const Value& a, const Value& b);
/// Negative, 0 or positive. Fails for values that Python does not order.
int compare(Run& run, const Value& a, const Value& b);
/// Python's a < b and so on: like `compare`, but every comparison with NaN is false.
bool less(Run& run, const Value& a, const Value& b);
bool contains(Run& run, const Value& container, const Value& item);

/// Goes through a value. `next` is false at the end, with anything in `item`.
class Iterator {
 public:
  Iterator() = default;
  Iterator(const Run& run, Value source);
  bool next(Run& run, Value& item);
  std::vector<Value> rest(Run& run);
  bool has_size() const { return !source_.is(Kind::generator); }

 private:
  Value source_;
  std::size_t at_ = 0;
};

std::int64_t length(Run& run, const Value& value);
/// The member with this key, null if it is missing.
const Value* find(Run& run, const Dict& dict, const Value& key);
const Value* find(Run& run, const Dict& dict, std::string_view key);
const Value* find(const Namespace& names, std::string_view name);
void set(Run& run, std::vector<std::pair<Value, Value>>& members, Value key, Value value);

Value from_json(Run& run, const nlohmann::ordered_json& json, int depth = 0);

}  // namespace detail::jinja
}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/jinja_value.ipp"
#endif
