// x += down (silu(gate h) up h), h = rms_norm(x): the feed-forward of a dense decoder layer.
#pragma once
#include "ivl/core/buffer.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm_linear.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// `MlpHidden`: of one of the ranks that share it.
template <int Hidden, int MlpHidden, int Ranks = 1>
struct DenseMlp {
  Weight<2 * MlpHidden, Hidden> gate_up;
  Weight<Hidden, MlpHidden> down;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, MlpHidden> inner;

    static Scratch carve(Carver& carver, std::int64_t rows) { return {{carver.take<Scalar>(rows * MlpHidden), rows}}; }
  };

  /// h: room for as many rows as x has.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Vector<Hidden>& norm_gain, float eps, Rows<Scalar, Hidden> h,
               const Scratch<Scalar>& scratch, Rows<Scalar, Hidden> x) const {
    const auto inner = scratch.inner.slice(0, x.count);
    norm_linear(ctx, x, norm_gain, eps, gate_up, SwiGlu{}, h, inner);
    linear_reduced<Ranks>(ctx, inner, down, Add<Hidden>{}, x);
  }

  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    visit("gate_up.weight", self.gate_up, FileParts{MlpHidden, MlpHidden}, Fusion::interleaved);
    visit("down.weight", self.down, FileParts{Hidden});
  }
};

}  // namespace ivl
