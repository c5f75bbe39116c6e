// JSON from outside, the one reader for configs, tokenizers and safetensors headers: bounded in size, depth and number
// of values, without duplicate keys, every error with its place.
#pragma once
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"

namespace ivl {

using Json = nlohmann::json;

/// Limits of every document. The size is the one that the reference reader of safetensors sets its headers; published
/// tokenizers have at most 28 MB. Published configs and tokenizers nest at most 10 deep. A tree takes about 100 bytes
/// for each value; readers that keep a large table themselves leave it out of the tree.
inline constexpr std::size_t max_json_bytes = 100'000'000;
inline constexpr int max_json_depth = 100;
inline constexpr std::size_t max_json_values = 1 << 20;

namespace detail {

/// What every JSON reader here shares: a syntax error becomes a FileError with its position.
class JsonEvents : public nlohmann::json_sax<Json> {
 public:
  /// `where` starts every error; it is empty where the caller puts the place there, with `naming`.
  explicit JsonEvents(std::string where) : where_(std::move(where)) {}

  /// Sends this handler the events of one whole document.
  void parse(std::string_view text, std::size_t max_bytes = max_json_bytes);
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override;
  bool binary(binary_t&) override { return false; }  // text never holds it

 protected:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<FileError>(where_, where_.empty() ? "" : ": ", parts...);
  }

  std::string where_;
};

/// Builds the document, checking depth, duplicate keys and the number of values on the way. A reader that keeps some
/// table of the document itself overrides `value` and the events that open and close one.
class JsonBuilder : public JsonEvents {
 public:
  using JsonEvents::JsonEvents;
  Json take() { return std::move(root_); }

  bool null() final { return value(nullptr); }
  bool boolean(bool value_of) final { return value(value_of); }
  bool number_integer(number_integer_t number) final { return value(number); }
  bool number_unsigned(number_unsigned_t number) final { return value(number); }
  bool number_float(number_float_t number, const string_t&) final { return value(number); }
  bool string(string_t& text) final { return value(std::move(text)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return open_.pop_back(), true; }
  bool end_array() override { return open_.pop_back(), true; }
  bool key(string_t& name) override;

 protected:
  /// null, true, a number or a string.
  virtual bool value(Json value) { return add(std::move(value)), true; }

  Json* add(Json value);
  bool open(Json value);

  std::vector<Json*> open_;  // objects and arrays not yet ended; their ancestors do not grow meanwhile

 private:
  Json root_;
  Json* member_ = nullptr;  // where the value after a key goes
  std::size_t values_ = 0;
};

/// What `value` is, for an error: all of a number, a kind and a size of what may be long.
std::string describe(const Json& value);

/// `where: key`.
std::string member_place(std::string_view where, std::string_view key);

template <class Value>
inline constexpr bool is_vector = false;
template <class Element>
inline constexpr bool is_vector<std::vector<Element>> = true;

}  // namespace detail

/// The document in `text`. `where`, mostly a file's name, starts every error. Throws FileError.
Json parse_json(std::string_view text, std::string_view where);

/// The document in a file. Throws FileError, also for a file larger than `max_bytes`.
Json read_json(const std::filesystem::path& path, std::size_t max_bytes = max_json_bytes);

/// `value` as bool, an integer or floating type, std::string, Json (anything) or a std::vector of these. Nothing is
/// converted but integers to floating types: 1.0 is no integer, 3000000000 no int, 1 no bool.
template <class Value>
Value json_as(const Json& value, std::string_view where) {
  if constexpr (std::same_as<Value, Json>) {
    return value;
  } else if constexpr (std::same_as<Value, bool>) {
    if (value.is_boolean()) return value.get<bool>();
    fail<FileError>(where, ": expected true or false, found ", detail::describe(value));
  } else if constexpr (std::integral<Value>) {
    constexpr auto low = std::numeric_limits<Value>::min(), high = std::numeric_limits<Value>::max();
    if (value.is_number_unsigned()) {
      if (const auto number = value.get<std::uint64_t>(); std::in_range<Value>(number)) return Value(number);
    } else if (value.is_number_integer()) {
      if (const auto number = value.get<std::int64_t>(); std::in_range<Value>(number)) return Value(number);
    }
    fail<FileError>(where, ": expected an integer from ", +low, " to ", +high, ", found ", detail::describe(value));
  } else if constexpr (std::floating_point<Value>) {
    constexpr Value high = std::numeric_limits<Value>::max();
    if (value.is_number() && std::abs(value.get<double>()) <= high) return Value(value.get<double>());
    fail<FileError>(where, ": expected a number from ", -high, " to ", high, ", found ", detail::describe(value));
  } else if constexpr (std::same_as<Value, std::string>) {
    if (value.is_string()) return value.get<std::string>();
    fail<FileError>(where, ": expected a string, found ", detail::describe(value));
  } else {
    static_assert(detail::is_vector<Value>,
                  "json_as: Value must be bool, a number, std::string, Json or a std::vector of these");
    if (!value.is_array()) fail<FileError>(where, ": expected an array, found ", detail::describe(value));
    Value elements;
    for (const Json& element : value) {
      const std::string place = std::string(where) + "[" + std::to_string(elements.size()) + "]";
      elements.push_back(json_as<typename Value::value_type>(element, place));
    }
    return elements;
  }
}

/// The member `key` of `object`, null where it is missing or JSON null (configs write both for "not set").
/// Throws FileError if `object` is not an object.
const Json* find_field(const Json& object, std::string_view key, std::string_view where);

/// The member `key` as `json_as` reads it. `where` is the object's own place, "config.json" for the whole document or
/// "config.json: vision_config" inside. Throws FileError that names place and key.
template <class Value>
Value field(const Json& object, std::string_view key, std::string_view where) {
  const Json* member = find_field(object, key, where);
  if (!member) fail<FileError>(detail::member_place(where, key), ": expected a value, found none");
  return json_as<Value>(*member, detail::member_place(where, key));
}

/// The same, `otherwise` where the member is missing or null.
template <class Value>
Value field_or(const Json& object, std::string_view key, Value otherwise, std::string_view where) {
  const Json* member = find_field(object, key, where);
  return member ? json_as<Value>(*member, detail::member_place(where, key)) : otherwise;
}

/// The member object `key`, without a copy. Throws FileError if it is missing or no object.
const Json& object_field(const Json& object, std::string_view key, std::string_view where);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/json.ipp"
#endif
