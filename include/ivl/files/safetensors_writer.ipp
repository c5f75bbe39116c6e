// The bodies of safetensors_writer.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/new_file.hpp"
#include "ivl/files/safetensors_writer.hpp"

namespace ivl {

namespace detail {

/// The header as the reference writer lays it out, padded to a multiple of 8, for tensors already in file order.
inline std::string safetensors_header(std::span<const TensorToWrite* const> tensors,
                                      const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + Json(metadata).dump();
  std::int64_t begin = 0;
  for (const TensorToWrite* tensor : tensors) {
    const std::int64_t end = begin + tensor->bytes();
    if (text.size() > 1) text += ',';
    text += Json(tensor->name).dump() + ":{\"dtype\":\"" + std::string(name_of(tensor->dtype)) + "\",\"shape\":[";
    for (const std::int64_t size : tensor->shape) text += (text.back() == '[' ? "" : ",") + std::to_string(size);
    text += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
    begin = end;
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace detail

IVL_INLINE std::int64_t TensorToWrite::bytes() const {
  const std::optional<std::int64_t> bytes = bytes_of(dtype, shape);
  if (!bytes)
    fail<Error>("tensor ", in_quotes(name), ' ', shape_text(shape), " is no whole number of bytes below 2^63");
  return *bytes;
}

IVL_INLINE void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                                  const std::map<std::string, std::string>& metadata) {
  std::vector<TensorToWrite> to_write;
  for (const NamedTensor& tensor : tensors) {
    const TensorView& view = tensor.view;
    const std::optional<std::int64_t> bytes = bytes_of(view.dtype, view.shape);
    if (!bytes || std::size_t(*bytes) != view.bytes.size()) {
      fail<Error>(path.string(), ": tensor ", in_quotes(tensor.name), ": ", view.bytes.size(), " bytes are no ",
                  name_of(view.dtype), ' ', shape_text(view.shape));
    }
    to_write.push_back({tensor.name, view.dtype, view.shape, [&view](const ByteSink& write) { write(view.bytes); }});
  }
  stream_safetensors(path, to_write, metadata);
}

IVL_INLINE void stream_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                                   const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorToWrite*> order;
  std::set<std::string_view> names{"__metadata__"};
  for (const TensorToWrite& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail<Error>(path.string(), ": the name ", in_quotes(tensor.name), " is taken");
    }
    order.push_back(&tensor);
  }
  std::ranges::sort(order, [](const TensorToWrite* a, const TensorToWrite* b) {
    return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
  });
  const std::string header = detail::safetensors_header(order, metadata);
  const std::uint64_t header_bytes = header.size();
  detail::NewFile file(path);
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const TensorToWrite* tensor : order) {
    const std::int64_t expected = tensor->bytes();
    std::int64_t found = 0;
    tensor->write([&](std::span<const std::byte> bytes) {
      found += std::int64_t(bytes.size());
      if (found <= expected) file.write(bytes);
    });
    if (found != expected) {
      fail<Error>(path.string(), ": tensor ", in_quotes(tensor->name), ": ", found, " bytes are no ",
                  name_of(tensor->dtype), ' ', shape_text(tensor->shape));
    }
  }
  file.finish();
}

}  // namespace ivl
