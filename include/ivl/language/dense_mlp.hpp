// x += down (silu(gate h) up h): the feed-forward of a dense decoder layer.
#pragma once
#include "ivl/core/buffer.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl {

template <int Hidden, int MlpHidden>
struct DenseMlp {
  Weight<2 * MlpHidden, Hidden> gate_up;
  Weight<Hidden, MlpHidden> down;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, MlpHidden> inner;

    static Scratch carve(Carver& carver, std::int64_t rows) { return {{carver.take<Scalar>(rows * MlpHidden), rows}}; }
  };

  template <class Context, class Scalar>
  void forward(Context& ctx, Rows<Scalar, Hidden> h, const Scratch<Scalar>& scratch, Rows<Scalar, Hidden> x) const {
    const auto inner = scratch.inner.slice(0, x.count);
    linear(ctx, h, gate_up, SwiGlu{}, inner);
    linear(ctx, inner, down, Add<Hidden>{}, x);
  }

  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    visit("gate_up.weight", self.gate_up, FileParts{MlpHidden, MlpHidden}, Fusion::interleaved);
    visit("down.weight", self.down, FileParts{Hidden});
  }
};

}  // namespace ivl
