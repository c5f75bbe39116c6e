// The language model: embedding with the rows of pictures merged in, decoder layers, norm, head.
#pragma once
#include <array>
#include <cassert>
#include <span>

#include "ivl/language/decoder_block.hpp"
#include "ivl/ops/move.hpp"
#include "ivl/ops/norm_linear.hpp"
#include "ivl/ops/reduce.hpp"
#include "ivl/ops/rope.hpp"

namespace ivl {

template <DecoderConfig C>
struct Decoder {
  static_assert(checked<C>());
  static constexpr DecoderConfig config = C;

  Table<C.hidden> embedding;
  std::array<DecoderBlock<C>, std::size_t(C.layers)> blocks;
  Vector<C.hidden> norm_gain;
  Weight<dynamic, C.hidden> head;

  template <class Scalar>
  struct Scratch {
    Rows<float, C.attention.head_dim> angles;
    Rows<Scalar, C.hidden> x;
    Rows<Scalar, C.hidden> last;
    typename DecoderBlock<C>::template Scratch<Scalar> block;

    static Scratch carve(Carver& carver, std::int64_t rows) {
      Scratch s;
      s.angles = {carver.take<float>(rows * C.attention.head_dim), rows};
      s.x = {carver.take<Scalar>(rows * C.hidden), rows};
      s.last = {carver.take<Scalar>(rows * C.hidden), rows};
      s.block = decltype(s.block)::carve(carver, rows);
      return s;
    }
  };

  /// x[r] = the embedding of sources[r], or row -1 - sources[r] of `images` (the projector's output for a picture).
  template <class Context, class Scalar>
  void embed_rows(Context& ctx, const std::int32_t* sources, Rows<const Scalar, C.hidden> images,
                  Rows<Scalar, C.hidden> x) const {
    static_assert(RowOps<Context, Scalar>,
                  "Decoder: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    embed(ctx, sources, embedding, images, x);
  }

  /// All layers, on scratch.x in place, whose first batch.rows rows are embedded.
  /// kv: one view a layer; rope_lengths [rows]: see ops/rope.hpp, in the context's memory.
  template <class Context, class Scalar>
  void forward(Context& ctx, const Batch& batch, std::span<const KvView> kv, const RopeFacts& rope,
               const std::int32_t* rope_lengths, float eps, const Scratch<Scalar>& scratch) const {
    static_assert(RopeOp<Context>, "Decoder: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    assert(kv.size() == blocks.size());
    const auto x = scratch.x.slice(0, batch.rows);
    const auto angles = scratch.angles.slice(0, batch.rows);
    rope_angles(ctx, rope, batch.positions, rope_lengths, Rows<float>(angles));
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      blocks[layer].forward(ctx, batch, kv[layer], C.attention.window_of(int(layer)), angles, eps, scratch.block, x);
  }

  /// Logits of chosen rows of scratch.x: logits [count, vocabulary rows]; ranks that share the model fill
  /// their own columns each (ops/reduce.hpp: gather_vocabulary, argmax_reduced).
  template <class Context, class Scalar>
  void head_logits(Context& ctx, const std::int32_t* rows, float eps, const Scratch<Scalar>& scratch,
                   Rows<float> logits) const {
    static_assert(LinearOp<Context, Scalar, float>,
                  "Decoder: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
    const auto last = scratch.last.slice(0, logits.count);
    gather_rows(ctx, rows, scratch.x, last);
    norm_linear(ctx, last, norm_gain, eps, head, last, own_columns<C.ranks>(ctx, logits));
  }

  /// Calls visit(canonical name, weight, ...) for every weight outside the layers, the head apart.
  template <class Self, class Visit>
  static void each_weight(Self& self, const Visit& visit) {
    visit("embedding.weight", self.embedding);
    visit("norm.weight", self.norm_gain);
  }
};

}  // namespace ivl
