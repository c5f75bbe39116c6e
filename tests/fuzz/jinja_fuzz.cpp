// A stranger's chat_template: a FileError, or text or an Error of rendering, the same twice.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "ivl/text/jinja.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr ivl::ChatTemplateLimits limits{.output_bytes = 1 << 16, .steps = 50'000};
  static const ivl::ChatContext context = ivl::ChatContext::parse(R"({"messages": [
      {"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text":
      "\u00e9t\u00e9 \u65e5?"}]}, {"role": "assistant", "content": "<think>\na\n</think>\n\nb", "tool_calls": [{"function":
      {"name": "f", "arguments": {"z": 1, "a": [1.5, null, true]}}}]}, {"role": "tool", "content": "3"}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "x": "x", "l": [1, 2, 3], "d": {"k": "v"},
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"q":
      {"type": ["string", "null"]}}}}}]})");
  const auto result = [&](const ivl::ChatTemplate& chat_template) {
    try {
      const std::string text = chat_template.render(context, limits);
      if (text.size() > limits.output_bytes) std::abort();
      return text;
    } catch (const ivl::RequestError& error) {
      return std::string(error.what());
    }
  };
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const ivl::ChatTemplate chat_template = ivl::ChatTemplate::parse(text);
    const bool reads_clock = text.find("strftime") != text.npos;
    if (result(chat_template) != result(chat_template) && !reads_clock) std::abort();
  } catch (const ivl::FileError&) {
  }
  return 0;
}
