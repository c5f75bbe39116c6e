// Whatever the bytes: a FileError, or tensors that tile the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/files/safetensors.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void read_file(std::span<const std::byte> file) {
  ivl::SafetensorsContent content;
  try {
    content = ivl::parse_safetensors(file, "fuzz");
  } catch (const ivl::FileError&) {
    return;
  }
  std::uint64_t header_bytes = 0, tensor_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const std::byte* data = file.data() + sizeof header_bytes + header_bytes;
  for (const auto& [name, view] : content.tensors) {
    require(ivl::bytes_of(view.dtype, view.shape) == std::int64_t(view.bytes.size()));
    require(view.bytes.data() >= data && view.bytes.data() + view.bytes.size() <= file.data() + file.size());
    tensor_bytes += view.bytes.size();
  }
  require(std::size_t(data - file.data()) + tensor_bytes == file.size());
}

}  // namespace

/// Starts from a small valid file: chance does not find the words of a header.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned) {
  constexpr std::string_view valid =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},"c":{"dtype":"F4","shape":[0],"data_offsets":[12,12]}})"
      "............";
  if (size < 8 && max_size >= valid.size()) {
    std::ranges::copy(valid, data);
    size = valid.size();
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  read_file(bytes);

  // The same bytes behind a length that fits: the header ends with the last brace.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::uint64_t header_bytes = text.find_last_of('}') + 1;  // 0 without a brace
  std::vector<std::byte> file(sizeof header_bytes + size);
  std::memcpy(file.data(), &header_bytes, sizeof header_bytes);
  std::ranges::copy(bytes, file.begin() + sizeof header_bytes);
  read_file(file);

  try {
    for (const auto& [tensor, shard] : ivl::parse_weight_map(ivl::parse_json(text, "fuzz"), "fuzz")) {
      require(shard.find('/') == shard.npos && shard.ends_with(".safetensors"));
    }
  } catch (const ivl::FileError&) {
  }
  return 0;
}
