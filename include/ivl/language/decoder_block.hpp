// One decoder layer: x += attention(norm1(x)); x += mlp(norm2(x)).
#pragma once
#include <type_traits>

#include "ivl/config/decoder.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/language/dense_mlp.hpp"
#include "ivl/language/sparse_mlp.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/norm_linear.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// What a backend must offer for a decoder layer.
template <class Context, class Scalar>
concept LanguageBackend = NormOps<Context, Scalar> && LinearOp<Context, Scalar> && AttentionOps<Context, Scalar>;

template <DecoderConfig C>
struct DecoderBlock {
  static_assert(checked<C>());
  static constexpr AttentionShape attention_shape{
      .heads = C.rank_heads(), .kv_heads = C.rank_kv_heads(), .head_dim = C.attention.head_dim};
  static constexpr int query_width = attention_shape.query_width(), qkv_width = attention_shape.qkv_width();
  using Mlp = std::conditional_t<C.sparse(), SparseMlp<C.hidden, C.moe, C.ranks>,
                                 DenseMlp<C.hidden, C.rank_mlp_hidden(), C.ranks>>;

  Vector<C.hidden> norm1_gain;
  Weight<qkv_width, C.hidden> qkv;
  Vector<qkv_width> qkv_bias;
  Vector<C.attention.head_dim> query_gain, key_gain;
  Vector<C.rank_heads()> sinks;
  Weight<C.hidden, query_width> out;
  Vector<C.hidden> out_bias;
  Vector<C.hidden> norm2_gain;
  Mlp mlp;

  template <class Scalar>
  struct Scratch {
    Rows<Scalar, C.hidden> normed;
    Rows<Scalar, qkv_width> qkv;
    Rows<Scalar, query_width> attended;
    typename Mlp::template Scratch<Scalar> mlp;

    static Scratch carve(Carver& carver, std::int64_t rows) {
      Scratch s;
      s.normed = {carver.take<Scalar>(rows * C.hidden), rows};
      s.qkv = {carver.take<Scalar>(rows * qkv_width), rows};
      s.attended = {carver.take<Scalar>(rows * query_width), rows};
      s.mlp = decltype(s.mlp)::carve(carver, rows);
      return s;
    }
  };

  /// x [batch.rows, hidden], in place; angles [batch.rows, head_dim] from rope_angles; kv: this layer's pages; window:
  /// tokens that a token sees, 0 for all. It comes at run time, so that layers with and without one are one type.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Batch& batch, const KvView& kv, int window,
               Rows<const float, C.attention.head_dim> angles, float eps, const Scratch<Scalar>& scratch,
               Rows<Scalar, C.hidden> x) const {
    static_assert(LanguageBackend<Context, Scalar>,
                  "DecoderBlock: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto h = scratch.normed.slice(0, x.count);
    const auto qkv_rows = scratch.qkv.slice(0, x.count);
    const auto a = scratch.attended.slice(0, x.count);

    norm_linear(ctx, x, norm1_gain, eps, qkv, Store{qkv_bias}, h, qkv_rows);
    rotate_and_cache<attention_shape>(ctx, HeadNorm{query_gain.data(), key_gain.data(), eps}, angles, qkv_rows, batch,
                                      kv);
    attention<attention_shape>(ctx, Mask::causal, qkv_rows, batch, kv, a, sinks.data(), window);
    linear_reduced<C.ranks>(ctx, a, out, Add{out_bias}, x);
    mlp.forward(ctx, norm2_gain, eps, h, scratch.mlp, x);
  }

  /// Calls visit(canonical name, weight, ...) for every weight of the layer.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    constexpr int q = query_width, kv = attention_shape.kv_width();
    visit("norm1.weight", self.norm1_gain);
    visit("qkv.weight", self.qkv, FileParts{q, kv, kv});
    if constexpr (C.attention.qkv_bias) visit("qkv.bias", self.qkv_bias, FileParts{q, kv, kv});
    if constexpr (C.attention.head_norm) {
      visit("q_norm.weight", self.query_gain);
      visit("k_norm.weight", self.key_gain);
    }
    if constexpr (C.attention.sinks) visit("sinks", self.sinks);
    visit("out.weight", self.out, FileParts{C.hidden});
    if constexpr (C.attention.out_bias) visit("out.bias", self.out_bias);
    visit("norm2.weight", self.norm2_gain);
    Mlp::each_weight(self.mlp, visit);
  }
};

}  // namespace ivl
