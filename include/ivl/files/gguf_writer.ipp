// The bodies of gguf_writer.hpp.
#pragma once
#include <optional>
#include <ranges>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/gguf_writer.hpp"
#include "ivl/files/new_file.hpp"

namespace ivl {

namespace detail {

/// What readers take where no key says otherwise.
inline constexpr std::size_t gguf_alignment = 32;

inline void append_text(std::string& bytes, std::string_view text) {
  const std::uint64_t length = text.size();
  bytes.append(reinterpret_cast<const char*>(&length), sizeof length).append(text);
}

template <class Number>
void append_number(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

inline void check_gguf_tensor(const GgufTensorToWrite& tensor, std::string_view where) {
  const auto refuse = [&](const auto&... parts) {
    fail<Error>(where, ": tensor ", in_quotes(tensor.name), ": ", parts...);
  };
  const Shape& shape = tensor.shape;
  if (tensor.name.empty() || tensor.name.size() > max_gguf_name_bytes)
    refuse("expected a name of 1 to ", max_gguf_name_bytes, " bytes, found ", tensor.name.size());
  if (shape.rank() < 1 || shape.rank() > max_gguf_rank)
    refuse("expected 1 to ", max_gguf_rank, " dimensions, found ", shape_text(shape));
  if (const int block = block_elements(tensor.type); shape[shape.rank() - 1] % block != 0)
    refuse(name_of(tensor.type), " has blocks of ", block, ": expected rows of whole blocks, found ",
           shape_text(shape));
}

}  // namespace detail

IVL_INLINE void GgufMetadata::add(std::string_view key, const GgufValue& value) {
  if (value.is_array)
    begin_array(key, value.kind, value.count);
  else
    begin(key, value.kind);
  bytes_.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

IVL_INLINE void GgufMetadata::begin(std::string_view key, GgufKind kind) {
  if (key == "general.alignment")
    fail<Error>("key ", in_quotes(key), ": expected none, since the alignment is always ", detail::gguf_alignment);
  if (!keys_.emplace(key).second) fail<Error>("key ", in_quotes(key), ": the name is taken");
  add_text(key);
  detail::append_number(bytes_, std::uint32_t(kind));
}

IVL_INLINE void GgufMetadata::begin_array(std::string_view key, GgufKind kind, std::uint64_t count) {
  begin(key, GgufKind::array);
  detail::append_number(bytes_, std::uint32_t(kind));
  detail::append_number(bytes_, count);
}

IVL_INLINE void GgufMetadata::add_text(std::string_view text) { detail::append_text(bytes_, text); }

IVL_INLINE std::int64_t GgufTensorToWrite::bytes() const {
  const std::optional<std::int64_t> elements = elements_of(shape);
  const std::optional<std::int64_t> bytes = elements ? bytes_of(type, *elements) : std::nullopt;
  if (!bytes) fail<Error>("tensor ", in_quotes(name), ' ', shape_text(shape), " takes more than 2^63 bytes");
  return *bytes;
}

IVL_INLINE void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                           std::span<const GgufTensorToWrite> tensors) {
  const std::string where = path.string();
  std::string start = "GGUF";
  detail::append_number(start, std::uint32_t(3));
  detail::append_number(start, std::uint64_t(tensors.size()));
  detail::append_number(start, std::uint64_t(metadata.size()));

  std::string entries;
  std::set<std::string_view> names;
  std::int64_t offset = 0;
  for (const GgufTensorToWrite& tensor : tensors) {
    detail::check_gguf_tensor(tensor, where);
    if (!names.insert(tensor.name).second)
      fail<Error>(where, ": tensor ", in_quotes(tensor.name), ": the name is taken");
    detail::append_text(entries, tensor.name);
    detail::append_number(entries, std::uint32_t(tensor.shape.rank()));
    for (const std::int64_t size : tensor.shape | std::views::reverse) detail::append_number(entries, size);
    detail::append_number(entries, std::uint32_t(tensor.type));
    detail::append_number(entries, offset);
    offset += round_up(tensor.bytes(), std::int64_t(detail::gguf_alignment));
  }

  detail::NewFile file(path);
  const auto pad = [&](std::size_t bytes) {
    constexpr std::byte zeros[detail::gguf_alignment]{};
    file.write(
        std::span(zeros).first((detail::gguf_alignment - bytes % detail::gguf_alignment) % detail::gguf_alignment));
  };
  file.write(std::as_bytes(std::span(start)));
  file.write(metadata.bytes());
  file.write(std::as_bytes(std::span(entries)));
  pad(start.size() + metadata.bytes().size() + entries.size());
  for (const GgufTensorToWrite& tensor : tensors) {
    const std::int64_t expected = tensor.bytes();
    std::int64_t found = 0;
    tensor.write([&](std::span<const std::byte> bytes) {
      found += std::int64_t(bytes.size());
      if (found <= expected) file.write(bytes);
    });
    if (found != expected)
      fail<Error>(where, ": tensor ", in_quotes(tensor.name), ": expected ", expected, " bytes, found ", found);
    pad(std::size_t(expected));
  }
  file.finish();
}

}  // namespace ivl
