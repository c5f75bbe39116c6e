// Tensors of the tiny checkpoints under canonical names, in memory as a user's own.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "checkpoint_copy.hpp"
#include "ivl/checkpoint/bind.hpp"
#include "ivl/model/load.hpp"

namespace ivl_test {

using namespace ivl;

/// A user's own tensors.
struct OwnTensors {
  std::map<std::string, OwnedTensor> tensors;
  std::map<std::string, TensorView> views;

  void add(const std::string& name, const TensorView& view) {
    tensors[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    refresh();
  }
  void refresh() {
    views.clear();
    for (const auto& [name, tensor] : tensors) views[name] = {tensor.dtype, tensor.shape, tensor.bytes};
  }
  const TensorView* find(const std::string& name) const {
    const auto found = views.find(name);
    return found == views.end() ? nullptr : &found->second;
  }
};

/// The tensors of a folder under canonical names: experts that lie one by one become one tensor, and so do q, k and v
/// where `whole`.
template <VlmConfig C>
OwnTensors canonical_tensors(const std::filesystem::path& folder, const ModelFacts& facts, bool whole) {
  const FolderWeights files(folder);
  static Vlm<C> vlm;
  const Binding binding = bind_weights(weight_slots(vlm), facts, files);
  OwnTensors own;
  for (const BoundWeight& weight : binding.weights) {
    for (const BoundPiece& piece : weight.pieces) {
      const bool join = whole && weight.slot.canonical.find("qkv") != std::string::npos;
      const WeightName name{join ? weight.name.part : piece.row, weight.name.bias};
      OwnedTensor& tensor = own.tensors[with_numbers(canonical_name(name), weight.slot.layer, -1)];
      const TensorView& view = *piece.planes.at(0).found;
      tensor.dtype = view.dtype;
      tensor.bytes.insert(tensor.bytes.end(), view.bytes.begin(), view.bytes.end());
      if (piece.expert >= 0)
        tensor.shape = {piece.expert + 1, view.shape[0], view.shape[1]};
      else if (join && tensor.shape.rank() == 2)
        tensor.shape = {tensor.shape[0] + view.shape[0], view.shape[1]};
      else if (join && tensor.shape.rank() == 1)
        tensor.shape = {tensor.shape[0] + view.shape[0]};
      else
        tensor.shape = view.shape;
    }
  }
  own.refresh();
  return own;
}

}  // namespace ivl_test
