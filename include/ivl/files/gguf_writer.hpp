// Writes GGUF files, version 3 (gguf.hpp). Memory holds the keys and one piece of one tensor.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/ggml_type.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/byte_sink.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

namespace detail {

template <class Value>
constexpr GgufKind gguf_kind_of() {
  if constexpr (std::same_as<Value, bool>) return GgufKind::boolean;
  if constexpr (std::convertible_to<Value, std::string_view>) return GgufKind::string;
  if constexpr (std::same_as<Value, float>) return GgufKind::f32;
  if constexpr (std::same_as<Value, double>) return GgufKind::f64;
  if constexpr (std::integral<Value>) {
    constexpr bool sign = std::is_signed_v<Value>;
    switch (sizeof(Value)) {
      case 1:
        return sign ? GgufKind::i8 : GgufKind::u8;
      case 2:
        return sign ? GgufKind::i16 : GgufKind::u16;
      case 4:
        return sign ? GgufKind::i32 : GgufKind::u32;
      default:
        return sign ? GgufKind::i64 : GgufKind::u64;
    }
  }
}

}  // namespace detail

/// The keys of a file to be, in the order in which they were added.
class GgufMetadata {
 public:
  /// A value as another file has it.
  void add(std::string_view key, const GgufValue& value);

  /// bool, a number, text, or a std::vector of these; an integer is written in the type that it has. Throws Error where
  /// the key is taken, or is `general.alignment`: files are written with the alignment that needs no key.
  template <class Value>
  void add(std::string_view key, const Value& value) {
    if constexpr (detail::is_gguf_vector<Value>) {
      begin_array(key, detail::gguf_kind_of<typename Value::value_type>(), value.size());
      for (const auto& element : value) add_value(element);
    } else {
      begin(key, detail::gguf_kind_of<Value>());
      add_value(value);
    }
  }

  bool has(std::string_view key) const { return keys_.contains(key); }
  std::size_t size() const { return keys_.size(); }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

 private:
  void begin(std::string_view key, GgufKind kind);
  void begin_array(std::string_view key, GgufKind kind, std::uint64_t count);
  void add_text(std::string_view text);

  template <class Value>
  void add_value(const Value& value) {
    if constexpr (std::convertible_to<Value, std::string_view>)
      add_text(value);
    else
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  std::set<std::string, std::less<>> keys_;
  std::string bytes_;
};

/// One tensor of a file to be. `write` is called once, when the tensor's turn comes.
struct GgufTensorToWrite {
  std::string name;
  GgmlType type = GgmlType::f32;
  Shape shape;  ///< slowest first
  std::function<void(const ByteSink& write)> write;

  std::int64_t bytes() const;
};

/// Tensors lie in the given order. The file takes its name when all of it is on disk. Throws FileError where it cannot
/// be written, and Error for what no reader takes: names that are taken or too long, more than four dimensions, rows
/// that are no whole blocks, a `write` that gives too many or too few bytes.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                std::span<const GgufTensorToWrite> tensors);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/gguf_writer.ipp"
#endif
