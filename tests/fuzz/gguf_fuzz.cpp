// Whatever the bytes: a FileError, or values that can be read as what they say they are, and tensors that share no
// byte.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/files/gguf.hpp"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// As Value, or a FileError.
template <class Value>
void read_as(const ivl::GgufValue& value) {
  try {
    (void)ivl::detail::gguf_as<Value>(value, "fuzz");
  } catch (const ivl::FileError&) {
  }
}

void read_value(const ivl::GgufValue& value) {
  read_as<bool>(value);
  read_as<std::int8_t>(value);
  read_as<std::uint64_t>(value);
  read_as<float>(value);
  read_as<std::string_view>(value);
  read_as<std::vector<std::int32_t>>(value);
  read_as<std::vector<double>>(value);
  if (value.is_array && value.kind == ivl::GgufKind::string) {
    const auto texts = ivl::detail::gguf_as<std::vector<std::string_view>>(value, "fuzz");
    std::size_t bytes = 0;
    for (const std::string_view text : texts) bytes += sizeof(std::uint64_t) + text.size();
    require(texts.size() == value.count && bytes == value.bytes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  ivl::GgufContent content;
  try {
    content = ivl::parse_gguf(file, "fuzz");
  } catch (const ivl::FileError&) {
    return 0;
  }
  for (const auto& [key, value] : content.values) read_value(value);
  std::vector<std::pair<const std::byte*, const std::byte*>> ranges;
  for (const auto& [name, tensor] : content.tensors) {
    const std::byte *begin = tensor.bytes.data(), *end = begin + tensor.bytes.size();
    require(begin >= file.data() && end <= file.data() + file.size());
    const auto elements = ivl::elements_of(tensor.shape);
    require(elements && ivl::bytes_of(tensor.type, *elements) == std::int64_t(tensor.bytes.size()));
    if (begin != end) ranges.emplace_back(begin, end);
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) require(ranges[i - 1].second <= ranges[i].first);
  return 0;
}
