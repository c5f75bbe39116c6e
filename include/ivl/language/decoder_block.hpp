// One decoder layer: x += attention(norm1(x)); x += mlp(norm2(x)).
#pragma once
#include "ivl/config/decoder.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm.hpp"

namespace ivl {

/// What a backend must offer for a decoder layer.
template <class Context, class Scalar>
concept LanguageBackend = NormOps<Context, Scalar> && LinearOp<Context, Scalar> && AttentionOps<Context, Scalar>;

template <DecoderConfig C>
struct DecoderBlock {
  static_assert(checked<C>());
  static constexpr AttentionShape attention_shape{
      .heads = C.attention.heads, .kv_heads = C.attention.kv_heads, .head_dim = C.attention.head_dim};
  static constexpr int query_width = attention_shape.query_width(), qkv_width = attention_shape.qkv_width();

  Vector<C.hidden> norm1_gain;
  Weight<qkv_width, C.hidden> qkv;
  Vector<qkv_width> qkv_bias;
  Vector<C.attention.head_dim> query_gain, key_gain;
  Weight<C.hidden, query_width> out;
  Vector<C.hidden> norm2_gain;
  Weight<2 * C.mlp_hidden, C.hidden> gate_up;
  Weight<C.hidden, C.mlp_hidden> down;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, C.hidden> normed;
    Rows<Scalar, qkv_width> qkv;
    Rows<Scalar, query_width> attended;
    Rows<Scalar, C.mlp_hidden> mlp;

    static Scratch carve(Carver& carver, std::int64_t rows) {
      Scratch s;
      s.normed = {carver.take<Scalar>(rows * C.hidden), rows};
      s.qkv = {carver.take<Scalar>(rows * qkv_width), rows};
      s.attended = {carver.take<Scalar>(rows * query_width), rows};
      s.mlp = {carver.take<Scalar>(rows * C.mlp_hidden), rows};
      return s;
    }
  };

  /// x [batch.rows, hidden], in place; angles [batch.rows, head_dim] from rope_angles; kv: this layer's pages.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Batch& batch, const KvView& kv, Rows<const float, C.attention.head_dim> angles, float eps,
               const Scratch<Scalar>& scratch, Rows<Scalar, C.hidden> x) const {
    static_assert(LanguageBackend<Context, Scalar>, "DecoderBlock: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto h = scratch.normed.slice(0, x.count);
    const auto qkv_rows = scratch.qkv.slice(0, x.count);
    const auto a = scratch.attended.slice(0, x.count);
    const auto m = scratch.mlp.slice(0, x.count);

    rms_norm(ctx, x, norm1_gain, eps, h);
    linear(ctx, h, qkv, Store{qkv_bias}, qkv_rows);
    rotate_and_cache<attention_shape>(ctx, HeadNorm{query_gain.data(), key_gain.data(), eps}, angles, qkv_rows, batch, kv);
    attention<attention_shape>(ctx, Mask::causal, qkv_rows, batch, kv, a);
    linear(ctx, a, out, Add<C.hidden>{}, x);

    rms_norm(ctx, x, norm2_gain, eps, h);
    linear(ctx, h, gate_up, SwiGlu{}, m);
    linear(ctx, m, down, Add<C.hidden>{}, x);
  }

  /// Calls visit(canonical name, weight, ...) for every weight of the layer.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    constexpr int q = query_width, kv = attention_shape.kv_width(), m = C.mlp_hidden;
    visit("norm1.weight", self.norm1_gain);
    visit("qkv.weight", self.qkv, FileParts{q, kv, kv});
    if constexpr (C.attention.qkv_bias) visit("qkv.bias", self.qkv_bias, FileParts{q, kv, kv});
    if constexpr (C.attention.head_norm) {
      visit("q_norm.weight", self.query_gain);
      visit("k_norm.weight", self.key_gain);
    }
    visit("out.weight", self.out, FileParts{C.hidden});
    visit("norm2.weight", self.norm2_gain);
    visit("gate_up.weight", self.gate_up, FileParts{m, m}, Fusion::interleaved);
    visit("down.weight", self.down, FileParts{C.hidden});
  }
};

}  // namespace ivl
