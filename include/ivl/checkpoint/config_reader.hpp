// One object of a JSON file of a checkpoint, read field by field. Bodies alone include this (read_config.ipp,
// read_decoder.hpp), so its own stay here.
#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

/// Reads one object of config.json; every error starts with where it stands.
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  template <class Value>
  Value get(std::string_view key) const {
    return field<Value>(object_, key, where_);
  }
  template <class Value>
  Value get_or(std::string_view key, Value otherwise) const {
    return field_or<Value>(object_, key, std::move(otherwise), where_);
  }
  bool has(std::string_view key) const { return find_field(object_, key, where_) != nullptr; }
  ConfigReader inner(std::string_view key) const {
    return {object_field(object_, key, where_), member_place(where_, key)};
  }

  /// A size: positive, and small enough that products of three of them fit 63 bits.
  int size(std::string_view key) const { return checked_size(key, get<int>(key)); }
  int size_or(std::string_view key, int otherwise) const { return checked_size(key, get_or<int>(key, otherwise)); }

  /// A pixel count that is written as 448 or as [448, 448].
  int square(std::string_view key) const {
    const Json value = get<Json>(key);
    if (!value.is_array()) return size(key);
    const auto sides = get<std::vector<int>>(key);
    if (sides.size() != 2 || sides[0] != sides[1]) refuse(key, "one number, or two equal ones", value.dump());
    return checked_size(key, sides[0]);
  }

  /// A value that the library knows only one meaning of.
  template <class Value>
  void expect(std::string_view key, const Value& only) const {
    const Value found = get_or<Value>(key, only);
    if (found != only) refuse(key, Json(only).dump(), Json(found).dump());
  }

  [[noreturn]] void refuse(std::string_view key, std::string_view expected, std::string_view found) const {
    fail<ConfigError>(where_, ": ", key, ": expected ", expected, ", found ", found);
  }

  /// `model_type` or the one member of `architectures`; empty where the file leaves it out. Throws for one that is not
  /// among `known`.
  std::string kind(std::string_view key, std::span<const std::string_view> known) const {
    if (!has(key)) return {};
    const bool list = key == "architectures";
    const auto found = list ? get<std::vector<std::string>>(key) : std::vector{get<std::string>(key)};
    if (found.size() == 1 && std::ranges::find(known, found[0]) != known.end()) return found[0];
    std::string all;
    for (const std::string_view name : known) all += (all.empty() ? "" : ", ") + std::string(name);
    refuse(key, known.size() == 1 ? all : "one of " + all, list ? Json(found).dump() : in_quotes(found[0]));
  }

 private:
  int checked_size(std::string_view key, int value) const {
    constexpr int largest = 1 << 20;
    if (value < 1 || value > largest) refuse(key, "a size from 1 to " + std::to_string(largest), std::to_string(value));
    return value;
  }

  const Json& object_;
  std::string where_;
};

}  // namespace ivl::detail
