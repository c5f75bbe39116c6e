// How the weights of a folder say that they are quantised. read_config.ipp alone includes this, so its bodies stay
// here.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/facts/family.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

struct QuantMethod {
  std::string_view name, meaning;
};

/// What people bring. A method that is not here is named as the file names it.
inline constexpr QuantMethod quant_methods[] = {
    {"awq", "AWQ (integers of 4 bits in groups)"},
    {"gptq", "GPTQ (integers of 2 to 8 bits in groups)"},
    {"bitsandbytes", "bitsandbytes (nf4, fp4 or int8)"},
    {"fp8", "FP8"},
    {"fbgemm_fp8", "FP8 (fbgemm)"},
    {"compressed-tensors", "compressed-tensors (llm-compressor)"},
    {"mxfp4", "MXFP4, which is known for the experts of GPT-OSS alone"},
    {"modelopt", "modelopt (FP8 or NVFP4)"},
    {"torchao", "torchao"},
};

[[noreturn]] inline void fail_quantised(const std::string& where, std::string_view method) {
  std::string meaning = in_quotes(method);
  for (const QuantMethod& known : quant_methods) {
    if (known.name == method) meaning = known.meaning;
  }
  fail<ConfigError>(where, ": the weights of this folder are quantised: ", meaning,
                    ". Such weights cannot be loaded: use the folder of the model that they were made from, in bf16");
}

/// Throws ConfigError where `quantization_config` of config.json, or of a config in it, says that weights are stored in
/// a way that is not read. That of GPT-OSS's experts in MXFP4 is.
inline void check_quantization(const Json& document, const std::string& where, Family family) {
  const auto check = [&](const Json& config, const std::string& place) {
    const Json* quantised = find_field(config, "quantization_config", place);
    if (quantised == nullptr) return;
    const std::string inner = member_place(place, "quantization_config");
    const auto method = field_or<std::string>(*quantised, "quant_method", "unknown", inner);
    if (method != "mxfp4" || family != Family::gpt_oss) fail_quantised(inner, method);
  };
  check(document, where);
  for (const char* key : {"llm_config", "text_config", "vision_config"}) {
    if (const Json* config = find_field(document, key, where)) check(*config, member_place(where, key));
  }
}

/// The same about the files that other tools write beside config.json.
inline void check_quantization_files(const std::filesystem::path& folder) {
  const auto check = [&](const char* name, std::string_view object, std::string_view key, std::string_view otherwise) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path)) return;
    const Json document = read_json(path);
    const Json* inner = object.empty() ? &document : find_field(document, object, path.string());
    fail_quantised(path.string(), inner == nullptr
                                      ? std::string(otherwise)
                                      : field_or<std::string>(*inner, key, std::string(otherwise), path.string()));
  };
  check("quantize_config.json", "", "quant_method", "gptq");
  check("hf_quant_config.json", "quantization", "quant_algo", "modelopt");
}

}  // namespace ivl::detail
