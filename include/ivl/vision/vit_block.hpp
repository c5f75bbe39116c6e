// One block of InternViT: x += ls1 * attention(norm1(x)); x += ls2 * mlp(norm2(x)).
#pragma once
#include "ivl/config/vit.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// What a backend must offer for a vision block.
template <class Context, class Scalar>
concept VisionBackend = NormOps<Context, Scalar> && LinearOp<Context, Scalar> && AttentionOps<Context, Scalar>;

template <VitConfig C>
struct VitBlock {
  static_assert(checked<C>());
  static constexpr AttentionShape attention_shape{
      .heads = C.rank_heads(), .kv_heads = C.rank_heads(), .head_dim = C.head_dim()};
  static constexpr int width = C.rank_width(), mlp_width = C.rank_mlp_hidden();  ///< here, of ranks that share it

  Vector<C.hidden> norm1_gain, norm1_bias;
  Weight<3 * width, C.hidden> qkv;
  Vector<3 * width> qkv_bias;
  Vector<width> query_gain, key_gain;
  Weight<C.hidden, width> proj;
  Vector<C.hidden> proj_bias, layer_scale1;
  Vector<C.hidden> norm2_gain, norm2_bias;
  Weight<mlp_width, C.hidden> fc1;
  Vector<mlp_width> fc1_bias;
  Weight<C.hidden, mlp_width> fc2;
  Vector<C.hidden> fc2_bias, layer_scale2;

  /// Room for the rows of one step.
  template <class Scalar>
  struct Scratch {
    Rows<Scalar, C.hidden> normed;
    Rows<Scalar, width> attended;
    Rows<Scalar, 3 * width> qkv;
    Rows<Scalar, mlp_width> mlp;

    static Scratch carve(Carver& carver, std::int64_t rows) {
      Scratch s;
      s.normed = {carver.take<Scalar>(rows * C.hidden), rows};
      s.attended = {carver.take<Scalar>(rows * width), rows};
      s.qkv = {carver.take<Scalar>(rows * 3 * width), rows};
      s.mlp = {carver.take<Scalar>(rows * mlp_width), rows};
      return s;
    }
  };

  /// x [tiles * C.tokens(), hidden], in place. `tiles` says one sequence a tile, `kv` one page a tile.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Batch& tiles, const KvView& kv, float eps, const Scratch<Scalar>& scratch,
               Rows<Scalar, C.hidden> x) const {
    static_assert(VisionBackend<Context, Scalar>,
                  "VitBlock: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto h = scratch.normed.slice(0, x.count);
    const auto a = scratch.attended.slice(0, x.count);
    const auto qkv_rows = scratch.qkv.slice(0, x.count);
    const auto m = scratch.mlp.slice(0, x.count);

    norm(ctx, x, norm1_gain, norm1_bias, eps, h);
    linear(ctx, h, qkv, Store{qkv_bias}, qkv_rows);
    if constexpr (C.qk_norm) {
      const auto q = qkv_rows.template columns<0, width>(), k = qkv_rows.template columns<width, width>();
      rms_norm(ctx, q, query_gain, eps, q);
      rms_norm(ctx, k, key_gain, eps, k);
    }
    cache_keys<attention_shape>(ctx, qkv_rows, tiles, kv);
    attention<attention_shape>(ctx, Mask::full, qkv_rows, tiles, kv, a);
    linear_reduced<C.ranks>(ctx, a, proj, ScaledAdd{proj_bias, layer_scale1}, x);

    norm(ctx, x, norm2_gain, norm2_bias, eps, h);
    linear(ctx, h, fc1, Gelu{fc1_bias}, m);
    linear_reduced<C.ranks>(ctx, m, fc2, ScaledAdd{fc2_bias, layer_scale2}, x);
  }

  /// Calls visit(canonical name, weight, shape in files) for every weight of the block.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    constexpr int d = C.hidden, m = mlp_width;
    constexpr bool biased_norm = C.norm == NormKind::layer_norm;
    visit("norm1.weight", self.norm1_gain);
    if constexpr (biased_norm) visit("norm1.bias", self.norm1_bias);
    visit("qkv.weight", self.qkv, FileParts{width, width, width});
    if constexpr (C.qkv_bias) visit("qkv.bias", self.qkv_bias, FileParts{width, width, width});
    if constexpr (C.qk_norm) {
      visit("q_norm.weight", self.query_gain);
      visit("k_norm.weight", self.key_gain);
    }
    visit("proj.weight", self.proj, FileParts{d});
    visit("proj.bias", self.proj_bias);
    visit("layer_scale1", self.layer_scale1);
    visit("norm2.weight", self.norm2_gain);
    if constexpr (biased_norm) visit("norm2.bias", self.norm2_bias);
    visit("fc1.weight", self.fc1, FileParts{m});
    visit("fc1.bias", self.fc1_bias);
    visit("fc2.weight", self.fc2, FileParts{d});
    visit("fc2.bias", self.fc2_bias);
    visit("layer_scale2", self.layer_scale2);
  }

 private:
  template <class Context, class Scalar>
  static void norm(Context& ctx, Rows<Scalar, C.hidden> x, const Vector<C.hidden>& gain, const Vector<C.hidden>& bias,
                   float eps, Rows<Scalar, C.hidden> y) {
    if constexpr (C.norm == NormKind::rms_norm)
      rms_norm(ctx, x, gain, eps, y);
    else
      layer_norm(ctx, x, gain, bias, eps, y);
  }
};

}  // namespace ivl
