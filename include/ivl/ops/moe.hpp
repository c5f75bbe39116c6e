// The sparse mixture of experts.
//
//   route:       a row's `active` experts are those with its largest logits, in descending order (the lower number wins
//   a tie);
//                their weights are the softmax of these logits
//   expert_mlp:  y += sum over a row's chosen experts e of weight_e (down_e act(gate_up_e x + gate_up_bias_e) +
//   down_bias_e)
//
//   logits [rows, experts] float      x [rows, hidden]      gate_up [experts, 2 mlp_hidden, hidden], rows 2j gate, 2j +
//   1 up experts, weights [rows, active]   y [rows, hidden]      down    [experts, hidden, mlp_hidden]
//
// Sums are float. What an expert makes of a row depends neither on the other rows nor on their number; y is rounded
// once, after the sum over the experts, whose order is that of `experts`.
#pragma once
#include <concepts>
#include <cstdint>
#include <span>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/facts/expert_activation.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// How files store the matrices of a layer's experts.
enum class ExpertLayout : std::uint8_t {
  separate,  ///< parts: [out, in] views, all of expert 0 (gate, up or down alone), then of expert 1, ... (Qwen3-MoE)
  fused,     ///< one part: [experts, in, out], gate and up columns interleaved already (GPT-OSS in bf16)
  mxfp4,     ///< two parts: U8 blocks [experts, out, in / 32, 16] and U8 scales [experts, out, in / 32] (GPT-OSS,
             ///< interleaved already)
};

/// The matrices [out, in] of all experts, one after the other in the backend's layout for one matrix.
struct PlacedExperts {
  int experts = 0;
  std::int64_t expert_bytes = 0;
  PlacedMatrix all;  ///< format, fusion, out and in of each expert; memory of all

  const std::byte* expert(int number) const { return all.memory.data + number * expert_bytes; }
};

template <int Experts, int Out, int In>
struct ExpertWeight {
  static constexpr int experts = Experts, out = Out, in = In;
  PlacedExperts placed;
};

/// Sizes and data of one layer's experts, as a backend sees them. Null biases leave their terms out.
struct ExpertMlp {
  const PlacedExperts *gate_up = nullptr, *down = nullptr;
  const float* gate_up_bias = nullptr;  ///< [experts, 2 mlp_hidden], interleaved like the rows
  const float* down_bias = nullptr;     ///< [experts, hidden]
  ExpertActivation activation = ExpertActivation::swi_glu;
};

/// Where each row goes. In the context's memory.
struct Routes {
  int active = 0;
  std::int32_t* experts = nullptr;  ///< [rows, active]
  float* weights = nullptr;         ///< [rows, active]
};

/// What a backend offers:
///   place_experts(ctx, layout, experts, fusion, parts)
///   route(ctx, logits, routes)
///   expert_mlp(ctx, mlp, x, routes, inner, y)   inner [rows active, mlp_hidden] is working memory
template <class Context, class Scalar>
concept MoeOps =
    PlaceOps<Context> && requires(Context& ctx, std::span<const TensorView> parts, Rows<const float> logits,
                                  const Routes& routes, const ExpertMlp& mlp, Rows<const Scalar> x, Rows<Scalar> y) {
      { place_experts(ctx, ExpertLayout::separate, 8, Fusion::interleaved, parts) } -> std::same_as<PlacedExperts>;
      route(ctx, logits, routes);
      expert_mlp(ctx, mlp, x, routes, y, y);
    };

}  // namespace ivl
