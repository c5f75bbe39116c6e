// GGUF files, version 3, little-endian: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
//   "GGUF" | u32 version | u64 tensors | u64 keys | keys and their values | names, shapes, types and offsets of the
//   tensors | padding to the alignment | the tensors' bytes, each begun on the alignment
//
// A large model is several such files, NAME-00001-of-00003.gguf and so on; the first one has the keys of them all.
#pragma once
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/ggml_type.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/mapped_file.hpp"

namespace ivl {

/// Kinds of values, by their numbers in a file.
enum class GgufKind : std::uint8_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

std::string_view name_of(GgufKind kind);

/// One value of the metadata, a view of the file. Strings are whatever bytes the file has.
struct GgufValue {
  GgufKind kind = GgufKind::u8;  ///< of an array: of its elements
  bool is_array = false;
  std::uint64_t count = 1;           ///< elements of an array
  std::span<const std::byte> bytes;  ///< without the kinds and the count; strings have their lengths before them
};

/// One tensor, a view of the file. The bytes may start at *any* address: copy, do not cast.
struct GgufTensor {
  GgmlType type = GgmlType::f32;
  Shape shape;                       ///< slowest first: a matrix is [out, in], reversed from how the file has it
  std::span<const std::byte> bytes;  ///< rows of whole blocks
};

/// What one file says; the views point into the bytes that were parsed.
struct GgufContent {
  std::map<std::string_view, GgufValue> values;
  std::map<std::string_view, GgufTensor> tensors;
};

/// Reads the header of a whole file in memory and checks all of it: sizes, keys, names, types, and that no two tensors
/// overlap. It needs memory in proportion to the entries that the file really has. `where` starts every error. Throws
/// FileError.
GgufContent parse_gguf(std::span<const std::byte> file, std::string_view where);

namespace detail {

/// The value as bool, a number, text, or a std::vector of these. Integers are converted to any integer that holds them,
/// f32 and f64 to each other; nothing else is.
template <class Value>
Value gguf_as(const GgufValue& value, std::string_view place);

}  // namespace detail

/// A GGUF file, or the parts of one, memory-mapped. Move-only; views stay valid as long as it (or what it was moved to)
/// lives.
class Gguf {
 public:
  /// `path` is the file, or the first part of several, which lie beside it. Checks everything before it returns, but
  /// touches no tensor's bytes. Throws FileError.
  explicit Gguf(const std::filesystem::path& path);

  /// The path given: it starts every error.
  const std::string& where() const { return files_.front().path; }

  /// The tensor of this name, null if it is missing.
  const GgufTensor* find(std::string_view name) const {
    const auto tensor = tensors_.find(name);
    return tensor == tensors_.end() ? nullptr : &tensor->second;
  }

  /// All names, sorted.
  auto names() const { return std::views::keys(tensors_); }
  std::size_t size() const { return tensors_.size(); }

  /// Sum of all tensors' bytes.
  std::int64_t total_bytes() const { return total_bytes_; }

  /// What was read of a tensor may leave memory; it stays readable.
  void release(std::span<const std::byte> bytes) const;

  /// `where: key '...'`, for errors.
  std::string place_of(std::string_view key) const;

  bool has(std::string_view key) const { return values_.contains(key); }
  auto keys() const { return std::views::keys(values_); }

  /// The value of `key` as the file has it. Throws FileError if it is missing.
  const GgufValue& value_of(std::string_view key) const {
    const auto value = values_.find(key);
    if (value == values_.end()) fail<FileError>(place_of(key), ": expected a value, found none");
    return value->second;
  }

  /// The value of `key` as bool, an integer or floating type, std::string_view, or a std::vector of one of them.
  /// Integers become any integer type that holds them, floating types each other; nothing else is converted. Throws
  /// FileError that names the key, also if it is missing.
  template <class Value>
  Value get(std::string_view key) const {
    return detail::gguf_as<Value>(value_of(key), place_of(key));
  }

  /// The same, `otherwise` where there is no such key.
  template <class Value>
  Value get_or(std::string_view key, Value otherwise) const {
    return has(key) ? get<Value>(key) : otherwise;
  }

 private:
  struct File {
    std::string path;
    MappedFile mapping;
  };

  GgufContent open(const std::filesystem::path& path);
  void open_parts(const std::filesystem::path& first, std::uint16_t parts);
  void add(GgufContent part);

  std::vector<File> files_;
  std::map<std::string_view, GgufValue> values_;
  std::map<std::string_view, GgufTensor> tensors_;
  std::int64_t total_bytes_ = 0;
};

namespace detail {

/// ggml's own limits: of dimensions, and of a tensor's name with the NUL behind it; the format's: of a key.
inline constexpr int max_gguf_rank = 4;
inline constexpr std::size_t max_gguf_name_bytes = 63, max_gguf_key_bytes = 65535;

/// "an array of 3 u32", "f32".
std::string describe(const GgufValue& value);

/// Calls visitor(the number at `bytes`), as the type that the kind is. Not for strings, arrays and bools.
template <class Visitor>
auto with_gguf_number(GgufKind kind, const std::byte* bytes, Visitor&& visitor) {
  const auto as = [&]<class Number>(Number number) {
    std::memcpy(&number, bytes, sizeof number);
    return visitor(number);
  };
  switch (kind) {
    case GgufKind::u8:
      return as(std::uint8_t{});
    case GgufKind::i8:
      return as(std::int8_t{});
    case GgufKind::u16:
      return as(std::uint16_t{});
    case GgufKind::i16:
      return as(std::int16_t{});
    case GgufKind::u32:
      return as(std::uint32_t{});
    case GgufKind::i32:
      return as(std::int32_t{});
    case GgufKind::f32:
      return as(float{});
    case GgufKind::u64:
      return as(std::uint64_t{});
    case GgufKind::i64:
      return as(std::int64_t{});
    case GgufKind::f64:
      return as(double{});
    default:
      break;
  }
  __builtin_unreachable();
}

/// Bytes of a value of this kind, 0 for strings and arrays.
int bytes_of(GgufKind kind);

/// The string whose length is at `bytes`, which moves behind it.
std::string_view take_gguf_string(std::span<const std::byte>& bytes);

template <class Value>
inline constexpr bool is_gguf_vector = false;
template <class Element>
inline constexpr bool is_gguf_vector<std::vector<Element>> = true;

/// One value of `kind` at the start of `bytes`, which moves behind it.
template <class Value>
Value take_gguf(GgufKind kind, std::span<const std::byte>& bytes, std::string_view place) {
  if constexpr (std::same_as<Value, std::string_view>) {
    if (kind == GgufKind::string) return take_gguf_string(bytes);
    fail<FileError>(place, ": expected a string, found ", name_of(kind));
  } else {
    constexpr bool is_bool = std::same_as<Value, bool>, is_integer = std::integral<Value> && !is_bool;
    static_assert(is_bool || is_integer || std::floating_point<Value>,
                  "gguf: a value is bool, a number, std::string_view or a std::vector of these");
    const auto wrong = [&] {
      fail<FileError>(place, ": expected ",
                      is_bool      ? "a bool"
                      : is_integer ? "an integer"
                                   : "a float",
                      ", found ", name_of(kind));
    };
    if (kind == GgufKind::string || (kind == GgufKind::boolean) != is_bool) wrong();
    const std::byte* at = bytes.data();
    bytes = bytes.subspan(std::size_t(bytes_of(kind)));
    if constexpr (is_bool) {
      return *at != std::byte{0};
    } else {
      return with_gguf_number(kind, at, [&]<class Number>(Number number) {
        if constexpr (std::integral<Number> != is_integer) {
          wrong();
        } else if constexpr (is_integer) {
          if (!std::in_range<Value>(number)) {
            fail<FileError>(place, ": expected an integer from ", +std::numeric_limits<Value>::min(), " to ",
                            +std::numeric_limits<Value>::max(), ", found ", +number);
          }
        } else if (!(std::abs(number) <= std::numeric_limits<Value>::max())) {
          fail<FileError>(place, ": expected a float of at most ", std::numeric_limits<Value>::max(), ", found ",
                          number);
        }
        return Value(number);
      });
    }
  }
}

template <class Value>
Value gguf_as(const GgufValue& value, std::string_view place) {
  std::span<const std::byte> bytes = value.bytes;
  if constexpr (is_gguf_vector<Value>) {
    if (!value.is_array) fail<FileError>(place, ": expected an array, found ", describe(value));
    Value elements;
    elements.reserve(std::size_t(value.count));  // the file has as many
    while (elements.size() < value.count) {
      elements.push_back(take_gguf<typename Value::value_type>(value.kind, bytes, place));
    }
    return elements;
  } else {
    if (value.is_array) fail<FileError>(place, ": expected one value, found ", describe(value));
    return take_gguf<Value>(value.kind, bytes, place);
  }
}

}  // namespace detail

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/gguf.ipp"
#endif
