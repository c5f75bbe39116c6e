// Weights bound to a source, once: which tensors each weight of a model is made of, and which of them are there.
// Loading, the list of what is missing, converting and random weights all read this binding.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/slots.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl {

/// What a tensor's numbers may be.
enum class TensorKind : std::uint8_t {
  scalar,        ///< F32, BF16 or F16
  bytes,         ///< U8
  words,         ///< I32, eight numbers of 4 bits each
  f8,            ///< F8_E4M3
  i8,            ///< I8
  f8_or_i8,      ///< one of both
  single_float,  ///< F32
  zero,          ///< U8, one that is 0
};

/// One tensor that a weight is made of.
struct BoundTensor {
  std::string name;
  Shape shape;
  TensorKind kind = TensorKind::scalar;
  const TensorView* found = nullptr;
};

namespace detail {
/// Inputs that share a scale where the scales' shape may be one of two; [out, in / 128] where it is neither.
inline int int4_group(std::int64_t in, const TensorView* scales) {
  const bool is_32 = scales != nullptr && scales->shape.rank() == 2 && scales->shape[1] == cells_of(in, 32);
  return is_32 ? 32 : 128;
}

/// GGUF files store no dimensions of 1 in front.
inline Shape without_leading_ones(const Shape& shape) {
  int first = 0;
  while (first + 1 < shape.rank() && shape[first] == 1) ++first;
  Shape rest;
  for (int dimension = first; dimension < shape.rank(); ++dimension) rest.push_back(shape[dimension]);
  return rest;
}
}  // namespace detail

/// What one matrix or vector in files is to a weight: the whole, or one part of it; of all experts, or of one.
struct BoundPiece {
  const PartName* row = nullptr;  ///< its row of the table of names
  StoredForm form{};
  int expert = -1;  ///< -1: no experts, or all of them
  std::int64_t height = 0;
  std::vector<BoundTensor> planes;

  /// Scalars [in, out].
  bool transposed() const { return form.as == StoredAs::scalars && row->transform != Transform::as_is; }
};

struct BoundWeight {
  WeightSlot slot;  ///< with the sizes of the whole weight
  WeightName name;
  Dialect dialect{};
  std::vector<BoundPiece> pieces;  ///< of one expert together, in the order of the parts
  bool borrowed = false;           ///< the tensors are those of another weight: a tied head is the embedding once more
};

struct Binding {
  std::vector<BoundWeight> weights;
  std::vector<std::string> extra;  ///< a line for each tensor of the source that is no weight's and may not be left out
  std::function<void(const TensorView&)> prepare = [](const TensorView&) {};  ///< before a tensor's bytes are read
  std::function<void(const TensorView&)> release = [](const TensorView&) {};  ///< behind it

  /// Calls visit(tensor) for every tensor; those of a tied head only as the embedding's.
  template <class Self, class Visit>
  static void each_tensor(Self& self, const Visit& visit) {
    for (auto& weight : self.weights) {
      if (weight.borrowed) continue;
      for (auto& piece : weight.pieces) {
        for (auto& tensor : piece.planes) visit(tensor);
      }
    }
  }

  /// Of all tensors that were found.
  std::int64_t bytes() const;
};

/// Whose names to look for, and in which form weights are expected.
struct BindOptions {
  std::vector<Dialect> dialects;          ///< empty: the folder format's; of what is missing the first is expected
  StoredAs expected = StoredAs::scalars;  ///< of what is missing, where its part has that form
};

/// Finds the tensors of every weight. What is not there has `found` null; see `binding_differences`.
Binding bind_weights(std::vector<WeightSlot> slots, const ModelFacts& facts, const TensorSource& source,
                     BindOptions options = {});

/// For weights from memory: all dialects, the one first that the source has most tensors of.
std::vector<Dialect> dialects_in(const std::vector<WeightSlot>& slots, const ModelFacts& facts,
                                 const TensorSource& source);

/// A binding to tensors that nobody has read: shapes and sizes, scalars in bf16, and no bytes until someone sets them.
class ShapesAlone {
 public:
  ShapesAlone(std::vector<WeightSlot> slots, const ModelFacts& facts, BindOptions options = {});
  const Binding& binding() const { return binding_; }
  /// Calls visit(tensor, view); the view may be changed.
  template <class Visit>
  void each_tensor(const Visit& visit) {
    Binding::each_tensor(binding_, [&](BoundTensor& tensor) {
      TensorView& view = views_[tensor.name];
      visit(tensor, view);
      tensor.found = &view;
    });
  }

 private:
  Binding binding_;
  std::map<std::string, TensorView> views_;
};

/// Tensors that are no weight's are no error any more. `note`, if any, is told their number and their names.
void leave_out_extra(Binding& binding, const std::function<void(const std::string&)>& note);

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
std::string binding_differences(const Binding& binding);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/bind.ipp"
#endif
