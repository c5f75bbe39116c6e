// x += the weighted sum of what the chosen experts make of h = rms_norm(x): the feed-forward of a decoder layer with a
// mixture of experts.
#pragma once
#include "ivl/config/moe.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// `Ranks`: that share its experts.
template <int Hidden, MoeConfig C, int Ranks = 1>
struct SparseMlp {
  static_assert(checked<C>());
  static constexpr int experts = C.experts / Ranks;  ///< here

  Weight<C.experts, Hidden> router;
  Vector<C.experts> router_bias;
  ExpertWeight<experts, 2 * C.mlp_hidden, Hidden> gate_up;
  Vector<experts * 2 * C.mlp_hidden> gate_up_bias;
  ExpertWeight<experts, Hidden, C.mlp_hidden> down;
  Vector<experts * Hidden> down_bias;

  template <class Scalar>
  struct Scratch {
    Rows<float, C.experts> logits;
    Routes routes;
    Rows<Scalar, C.mlp_hidden> inner;  ///< a row for each expert of each row

    static Scratch carve(Carver& carver, std::int64_t rows) {
      Scratch s;
      s.logits = {carver.take<float>(rows * C.experts), rows};
      s.routes = {C.active, carver.take<std::int32_t>(rows * C.active), carver.take<float>(rows * C.active)};
      s.inner = {carver.take<Scalar>(rows * C.active * C.mlp_hidden), rows * C.active};
      return s;
    }
  };

  /// h: room for as many rows as x has.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Vector<Hidden>& norm_gain, float eps, Rows<Scalar, Hidden> h,
               const Scratch<Scalar>& scratch, Rows<Scalar, Hidden> x) const {
    static_assert(NormOps<Context, Scalar> && MoeOps<Context, Scalar> && LinearOp<Context, Scalar, float>,
                  "SparseMlp: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto logits = scratch.logits.slice(0, x.count);
    rms_norm(ctx, x, norm_gain, eps, h);
    linear(ctx, h, router, Store{router_bias}, logits);
    route(ctx, Rows<const float>(logits), scratch.routes);
    const ExpertMlp mlp{&gate_up.placed, &down.placed, gate_up_bias.data(), down_bias.data(), C.activation};
    expert_mlp_reduced<Ranks>(ctx, mlp, Rows<const Scalar>(h), scratch.routes,
                              Rows<Scalar>(scratch.inner.slice(0, x.count * C.active)), Rows<Scalar>(x));
  }

  /// Calls visit(canonical name, weight, ...) for every weight.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    constexpr int m = C.mlp_hidden;
    visit("router.weight", self.router, Rounding::none);
    if constexpr (C.bias) visit("router.bias", self.router_bias);
    visit("experts.gate_up.weight", self.gate_up, FileParts{m, m}, Fusion::interleaved);
    if constexpr (C.bias) visit("experts.gate_up.bias", self.gate_up_bias, Shape{experts, 2 * m});
    visit("experts.down.weight", self.down);
    if constexpr (C.bias) visit("experts.down.bias", self.down_bias, Shape{experts, Hidden});
  }
};

}  // namespace ivl
