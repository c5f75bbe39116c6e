// From tower features to the language model's rows: pixel shuffle, norm, two linear layers.
#pragma once
#include "ivl/config/vlm.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/move.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// `Hidden` is the language model's width.
template <VitConfig Vit, ProjectorConfig C, int Hidden>
struct Projector {
  static constexpr int input = C.input(Vit);
  static constexpr int width = Hidden / Vit.ranks;  ///< between the layers; here, of ranks that share it

  Vector<input> norm_gain, norm_bias;
  Weight<width, input> fc1;
  Vector<width> fc1_bias;
  Weight<Hidden, width> fc2;
  Vector<Hidden> fc2_bias;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, input> shuffled, normed;
    Rows<Scalar, width> inner;

    static Scratch carve(Carver& carver, std::int64_t tiles) {
      const std::int64_t rows = tiles * C.tokens_per_tile(Vit);
      Scratch s;
      s.shuffled = {carver.take<Scalar>(rows * input), rows};
      s.normed = {carver.take<Scalar>(rows * input), rows};
      s.inner = {carver.take<Scalar>(rows * width), rows};
      return s;
    }
  };

  /// features [tiles * Vit.tokens(), Vit.hidden] with their class rows; y [tiles * tokens_per_tile, Hidden].
  template <class Context, class Scalar>
  void forward(Context& ctx, Rows<Scalar, Vit.hidden> features, const Scratch<Scalar>& scratch,
               Rows<Scalar, Hidden> y) const {
    static_assert(NormOps<Context, Scalar> && LinearOp<Context, Scalar> && RowOps<Context, Scalar>,
                  "Projector: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto shuffled = scratch.shuffled.slice(0, y.count), normed = scratch.normed.slice(0, y.count);
    const auto inner = scratch.inner.slice(0, y.count);
    pixel_shuffle<Vit.side(), C.scale>(ctx, C.order, features, shuffled);
    layer_norm(ctx, shuffled, norm_gain, norm_bias, projector_norm_eps, normed);
    linear(ctx, normed, fc1, Gelu{fc1_bias}, inner);
    linear_reduced<Vit.ranks>(ctx, inner, fc2, Store{fc2_bias}, y);
  }

  /// Calls visit(canonical name, weight, ...) for every weight.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    visit("norm.weight", self.norm_gain);
    visit("norm.bias", self.norm_bias);
    visit("fc1.weight", self.fc1, FileParts{width});
    visit("fc1.bias", self.fc1_bias);
    visit("fc2.weight", self.fc2, FileParts{Hidden});
    visit("fc2.bias", self.fc2_bias);
  }
};

}  // namespace ivl
