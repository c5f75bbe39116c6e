// Whatever the text: a FileError, or a document whose fields can be asked for; and as config.json an Error, or a
// structure that is described again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/files/json.hpp"

namespace {

template <class Value>
void read_fields(const ivl::Json& object) {
  for (const auto& [key, value] : object.items()) {
    try {
      (void)ivl::field<Value>(object, key, "fuzz");
    } catch (const ivl::FileError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ivl::Json document;
  try {
    document = ivl::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const ivl::FileError&) {
    return 0;
  }
  if (ivl::parse_json(document.dump(), "again") != document) std::abort();
  if (document.is_object()) {
    read_fields<bool>(document);
    read_fields<int>(document);
    read_fields<std::uint64_t>(document);
    read_fields<float>(document);
    read_fields<std::string>(document);
    read_fields<std::vector<std::int64_t>>(document);
    read_fields<std::vector<std::string>>(document);
  }
  try {
    const ivl::CheckpointConfig config = ivl::parse_checkpoint_config(document, "fuzz");
    if (config.vlm.vit.heads < 1 || config.vlm.decoder.attention.kv_heads < 1 || config.facts.context_length < 1)
      std::abort();
  } catch (const ivl::Error&) {
  }
  return 0;
}
