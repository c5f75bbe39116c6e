// What joins the gate and the up projection of an expert.
#pragma once
#include <cstdint>

namespace ivl {

enum class ExpertActivation : std::uint8_t {
  swi_glu,          ///< silu(gate) up
  clamped_swi_glu,  ///< g sigmoid(1.702 g) (u + 1) with g = min(gate, 7), u = clamp(up, -7, 7): GPT-OSS
};

}  // namespace ivl
