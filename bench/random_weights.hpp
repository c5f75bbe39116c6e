// Random contents: memory, and the weights of a model in any mixture of types.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/formats/quantise.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::bench {

/// Uniform in +-1/32, so that rows stay finite whatever the width.
inline void fill_random(ThreadPool& pool, std::byte* memory, std::size_t bytes) {
  constexpr std::int64_t part = 1 << 16;
  auto* values = reinterpret_cast<bf16*>(memory);
  const auto number = std::int64_t(bytes / sizeof(bf16));
  pool.run(ceil_div(number, part), [&](std::int64_t task) {
    auto state = std::uint32_t(task);
    for (std::int64_t i = task * part; i < std::min(number, (task + 1) * part); ++i) {
      state = state * 1664525 + 1013904223;
      values[i] = round_to<bf16>(float(std::int32_t(state)) * 0x1p-36f);
    }
  });
}

/// A backend's context whose memory is written before the engine uses it. Keys and values that nobody has computed then
/// cost what real ones do; on the CPU untouched pages would all be the one page of zeros, read out of the first cache.
template <class Context>
struct Filled : Context {
  using Context::Context;
  bool filling = true;  ///< false once the engine has its memory: what comes later is allocated while time is taken
};

template <class Context>
Memory allocate(Filled<Context>& ctx, std::size_t bytes) {
  const Memory memory = allocate(static_cast<Context&>(ctx), bytes);
  if (!ctx.filling) return memory;
  const std::size_t block = std::min(bytes, std::size_t(64) << 20);
  const Buffer random(block);
  fill_random(host_pool(ctx), random.data(), block);
  for (std::size_t done = 0; done < bytes; done += block)
    upload(ctx, memory.data + done, random.data(), std::min(block, bytes - done));
  return memory;
}

inline constexpr std::size_t random_bytes = std::size_t(1) << 17;

/// The first random_bytes of random bf16 in a type of ggml, over and over.
inline Buffer random_codes(GgmlType type, const std::byte* random_bf16, std::size_t bytes) {
  std::vector<float> floats(random_bytes / sizeof(bf16));
  for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = to_float(reinterpret_cast<const bf16*>(random_bf16)[i]);
  const std::vector<std::byte> codes = quantise_rows(type, floats);
  Buffer all(bytes);
  for (std::size_t done = 0; done < bytes; done += codes.size())
    std::memcpy(all.data() + done, codes.data(), std::min(codes.size(), bytes - done));
  return all;
}

/// Every tensor is the beginning of one block: once placed, each has memory of its own. `bf16`: of a folder; experts
/// that its files may hold as MXFP4 are that, with scales of 2^-5. Any other mixture: of GGUF files.
class RandomWeights {
 public:
  RandomWeights(ThreadPool& pool, std::vector<WeightSlot> slots, const ModelFacts& facts, int layers,
                GgufMixture mixture)
      : shapes_(std::move(slots), facts, bind_options(mixture)) {
    if (mixture != GgufMixture::bf16) set_types(mixture, facts, layers);
    std::map<GgmlType, std::size_t> largest;
    std::size_t largest_scalars = random_bytes;
    shapes_.each_tensor([&](const BoundTensor& tensor, const TensorView& view) {
      const auto type = types_.find(tensor.name);
      std::size_t& size = type != types_.end() ? largest[type->second] : largest_scalars;
      size = std::max(size, view.bytes.size());
    });
    block_ = Buffer(largest_scalars);
    scales_ = Buffer(largest_scalars / 16);  // a byte for each 16 of codes
    fill_random(pool, block_.data(), largest_scalars);
    std::fill_n(scales_.data(), scales_.size(), std::byte(127 - 5));
    for (const auto& [type, size] : largest) codes_[type] = random_codes(type, block_.data(), size);
    shapes_.each_tensor([&](const BoundTensor& tensor, TensorView& view) {
      const auto type = types_.find(tensor.name);
      const Buffer& from = type != types_.end()               ? codes_[type->second]
                           : tensor.name.ends_with("_scales") ? scales_
                                                              : block_;
      view.bytes = {from.data(), view.bytes.size()};
    });
  }
  const Binding& binding() const { return shapes_.binding(); }

 private:
  static BindOptions bind_options(GgufMixture mixture) {
    BindOptions options{.dialects = {}, .expected = StoredAs::mxfp4};
    if (mixture != GgufMixture::bf16) options.dialects = {Dialect::gguf};
    return options;
  }

  /// What write_gguf gives matrices; scalars stay bf16.
  void set_types(GgufMixture mixture, const ModelFacts& facts, int layers) {
    std::map<std::string, MixtureMatrix> matrices;
    for (const BoundWeight& weight : shapes_.binding().weights) {
      if (weight.slot.vector != nullptr || weight.slot.in == 0 || weight.slot.shape) continue;
      for (const BoundPiece& piece : weight.pieces) {
        const std::string& name = piece.planes[0].name;
        if (name.ends_with("ffn_gate_inp.weight")) continue;  // the router
        matrices[name] = {.name = name,
                          .layer = weight.slot.layer,
                          .layers = layers,
                          .in = weight.slot.in,
                          .experts = weight.slot.experts > 0,
                          .tied_head = facts.tied_head,
                          .vision = name.starts_with("v.") || name.starts_with("mm.")};
      }
    }
    shapes_.each_tensor([&](const BoundTensor& tensor, TensorView& view) {
      const auto matrix = matrices.find(tensor.name);
      if (matrix == matrices.end()) return;
      const GgmlType type = type_in(mixture, matrix->second);
      types_[tensor.name] = type;
      const auto bytes = std::size_t(*ivl::bytes_of(type, *elements_of(view.shape)));
      view = {type == GgmlType::f16 ? Dtype::f16 : Dtype::blocks,
              view.shape,
              {static_cast<const std::byte*>(nullptr), bytes},
              type};
    });
  }

  ShapesAlone shapes_;
  Buffer block_, scales_;
  std::map<std::string, GgmlType> types_;  ///< of tensors that a mixture is about
  std::map<GgmlType, Buffer> codes_;
};

}  // namespace ivl::bench
