// Random weights for a block or a layer that one wants to run or to time.
#pragma once
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/place_part.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/testing/random.hpp"

namespace ivl {

/// bf16 weights of a block or layer for `place<Part>`: vectors named as a norm's gain or a layer scale are around 1,
/// all else around 0, so small that activations stay of order 1.
template <class Part>
class RandomTensors {
 public:
  explicit RandomTensors(std::uint32_t seed) {
    for (const WantedTensor& wanted : tensors_of<Part>()) {
      const bool is_gain = wanted.shape.rank() == 1 && wanted.name.find("bias") == std::string::npos;
      const auto& values =
          kept_.emplace_back(random_values<bf16>(*elements_of(wanted.shape), is_gain ? 1.0f : 0.0f, 0.03f, seed++));
      tensors_[wanted.name] = {Dtype::bf16, wanted.shape, std::as_bytes(std::span(values))};
    }
  }
  operator const TensorMap&() const { return tensors_; }

 private:
  std::list<std::vector<bf16>> kept_;
  TensorMap tensors_;
};

}  // namespace ivl
