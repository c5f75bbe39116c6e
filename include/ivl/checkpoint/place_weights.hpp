// The tensors of a checkpoint into a backend's memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

namespace detail {

/// What the tensors of one weight hold, matrix by matrix; all of expert 0, then of expert 1, ...
inline std::vector<SourceMatrix> matrices_of(const WeightSlot& slot, const std::vector<TensorView>& views) {
  std::vector<SourceMatrix> matrices;
  if (slot.mixture == nullptr || slot.layout == ExpertLayout::separate) {
    for (const TensorView& view : views) {  // whatever its shape in the file
      matrices.push_back(source_matrix({view.dtype, {*elements_of(view.shape) / slot.in, slot.in}, view.bytes}));
    }
    return matrices;
  }
  for (const TensorView& view : views) {
    if (slot.layout == ExpertLayout::mxfp4 && view.dtype != Dtype::u8)
      fail<FileError>("blocks and scales of MXFP4 must be of type U8, found ", name_of(view.dtype));
  }
  const std::int64_t out = slot.heights[0], in = slot.in;
  for (int expert = 0; expert < slot.experts; ++expert) {
    const auto bytes_of = [&](const TensorView& view) {
      const std::size_t bytes = view.bytes.size() / std::size_t(slot.experts);
      return view.bytes.subspan(std::size_t(expert) * bytes, bytes);
    };
    const SourceMatrix matrix =
        slot.layout == ExpertLayout::mxfp4
            ? source_matrix(Format::mxfp4, out, in, {bytes_of(views[0]), bytes_of(views[1])})
            : source_matrix({views[0].dtype, {in, out}, bytes_of(views[0])}, SourceOrder::transposed);
    if (slot.fusion == Fusion::interleaved) {
      matrices.push_back(matrix.every_other(0));
      matrices.push_back(matrix.every_other(1));
    } else {
      matrices.push_back(matrix);
    }
  }
  return matrices;
}

/// Places one weight from the views of its tensors.
template <PlaceOps Context>
void place(Context& ctx, const WeightSlot& slot, std::vector<TensorView> views) {
  if (slot.vector != nullptr) {
    for (TensorView& view : views) view.shape = Shape{*elements_of(view.shape)};
    *slot.vector = place_vector(ctx, std::span<const TensorView>(views));
    return;
  }
  const std::vector<SourceMatrix> matrices = matrices_of(slot, views);
  if (slot.mixture != nullptr)
    *slot.mixture = place_experts(ctx, slot.experts, slot.fusion, std::span<const SourceMatrix>(matrices));
  if (slot.matrix != nullptr) *slot.matrix = place_matrix(ctx, std::span<const SourceMatrix>(matrices), slot.fusion);
  if (slot.table != nullptr) *slot.table = place_table(ctx, matrices.front());
}

/// Source: find(name) gives a tensor that is known to be there, release(view) lets it go.
template <PlaceOps Context, class Source>
void place_all(Context& ctx, const std::vector<WeightSlot>& slots, const ModelFacts& facts, const Source& source,
               std::int64_t bytes_total, const ProgressCallback& progress) {
  std::int64_t bytes_done = 0;
  std::vector<TensorView> views;
  for (const WeightSlot& slot : slots) {
    views.clear();
    for (const ExpectedTensor& expected : expected_tensors(slot, facts)) {
      if (progress) progress({bytes_done, bytes_total, expected.name});
      const TensorView* view = source.find(expected.name);
      if (view == nullptr) view = source.find(std::string(find_tensor_name("language.embedding.weight")->github[0]));
      views.push_back(*view);
    }
    place(ctx, slot, views);
    for (const TensorView& view : views) {
      source.release(view);
      bytes_done += std::int64_t(view.bytes.size());
    }
  }
  if (progress) progress({bytes_total, bytes_total, {}});
}

}  // namespace detail

}  // namespace ivl
