// The fields of a request's JSON body, each with its bounds. Every error names its field as `param`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/files/json.hpp"
#include "ivl/http/exchange.hpp"
#include "ivl/openai/error.hpp"

namespace ivl::openai {

/// Of one body. The server has bounded its bytes before.
inline constexpr int max_body_depth = 64;
inline constexpr std::size_t max_body_values = 1 << 18;

/// The upper bound of a field that becomes an int.
inline constexpr std::int64_t most_int = std::numeric_limits<int>::max();

/// The body as JSON. Throws ApiError: 415 for another Content-Type, 400 for what is no JSON object within the limits.
Json read_body(const http::Request& request);

/// From `low`, or above it, to `high`.
struct Bounds {
  double low, high;
  bool above_low = false;
};

/// An object's fields. A field that is null counts as absent; numbers are numbers, and nothing is converted.
class BodyFields {
 public:
  /// `object` must outlive this; `place` is its own, empty for the body. Throws ApiError where it is no object.
  explicit BodyFields(const Json& object, std::string place = "");

  /// Null where it is absent.
  const Json* find(std::string_view name) const;
  /// "messages[0].role"
  std::string place_of(std::string_view name) const;

  std::optional<bool> flag(std::string_view name) const;
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high) const;
  std::optional<double> number(std::string_view name, const Bounds& bounds) const;
  std::optional<std::string> text(std::string_view name, std::size_t most_bytes) const;
  /// One of these.
  std::optional<std::string> word(std::string_view name, std::initializer_list<std::string_view> words) const;
  /// A string, or an array of at most `most_texts`, none of them empty.
  std::vector<std::string> texts(std::string_view name, std::size_t most_texts, std::size_t most_bytes) const;
  /// Ids in [0, ids).
  std::vector<int> ids(std::string_view name, std::size_t most, int ids) const;

  /// Throws ApiError where one of these asks for anything. null, false, an empty array or object ask for nothing.
  void refuse_unsupported(std::initializer_list<std::string_view> names) const;

 private:
  const Json* object_;
  std::string place_;
};

/// The same for a value that stands in an array.
std::string text_of(const Json& value, const std::string& place, std::size_t most_bytes);
int id_of(const Json& value, const std::string& place, int ids);
std::string element_place(const std::string& place, std::size_t index);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/fields.ipp"
#endif
