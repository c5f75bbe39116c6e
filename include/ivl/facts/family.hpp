// Whose decoder a checkpoint has.
#pragma once
#include <cstdint>
#include <string_view>

namespace ivl {

/// Read from config.json's `architectures` and `model_type`. It decides what tensors are called in files and how
/// prompts are written; what the layers compute is the structure's business alone.
enum class Family : std::uint8_t { qwen2, qwen3, qwen3_moe, gpt_oss, internlm3 };

constexpr std::string_view name_of(Family family) {
  constexpr std::string_view names[] = {"qwen2", "qwen3", "qwen3_moe", "gpt_oss", "internlm3"};
  return names[int(family)];
}

}  // namespace ivl
