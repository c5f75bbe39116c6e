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
#include "ivl/ops/linear.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// The matrices [out, in] of all experts: in each strip one after the other, in the backend's layout for one matrix.
struct PlacedExperts {
  int experts = 0;
  PlacedMatrix all;  ///< fusion, out and in of each expert; memory of all
  int first = 0;     ///< they are experts [first, first + experts) of the layer: ranks may share them

  /// The place here of an expert of the layer; -1: it is another rank's.
  int place_of(int expert) const { return expert >= first && expert < first + experts ? expert - first : -1; }
  const std::byte* expert(int number, int strip = 0) const {
    const Strip& of = all.strips[std::size_t(strip)];
    return of.memory.data + number * of.bytes;
  }
};

template <int Experts, int Out, int In>
struct ExpertWeight {
  static constexpr int experts = Experts, out = Out, in = In;
  PlacedExperts placed;
};

/// Sizes and data of one layer's experts, as a backend sees them. Null biases leave their terms out.
struct ExpertMlp {
  const PlacedExperts *gate_up = nullptr, *down = nullptr;
  const float* gate_up_bias = nullptr;  ///< [experts here, 2 mlp_hidden], interleaved like the rows
  const float* down_bias = nullptr;     ///< [experts here, hidden]
  ExpertActivation activation = ExpertActivation::swi_glu;
  EpilogueKind result = EpilogueKind::add;  ///< or store: y is the sum alone, whatever it held
};

/// Where each row goes. In the context's memory.
struct Routes {
  int active = 0;
  std::int32_t* experts = nullptr;  ///< [rows, active]
  float* weights = nullptr;         ///< [rows, active]
};

/// What a backend offers:
///   place_experts(ctx, experts, fusion, parts)  parts as place_matrix takes them: all of expert 0, all of expert 1,
///   ...
///                                               A part has the same format in all of them, else FileError
///   route(ctx, logits, routes)
///   expert_mlp(ctx, mlp, x, routes, inner, y)   inner [rows active, mlp_hidden] is working memory
///                                               Experts that are not in mlp.gate_up add nothing
template <class Context, class Scalar>
concept MoeOps =
    PlaceOps<Context> && requires(Context& ctx, std::span<const SourceMatrix> parts, Rows<const float> logits,
                                  const Routes& routes, const ExpertMlp& mlp, Rows<const Scalar> x, Rows<Scalar> y) {
      { place_experts(ctx, 8, Fusion::interleaved, parts) } -> std::same_as<PlacedExperts>;
      route(ctx, logits, routes);
      expert_mlp(ctx, mlp, x, routes, y, y);
    };

}  // namespace ivl
