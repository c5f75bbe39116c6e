// A folder's weights as LLM.int8 has them: bitsandbytes quantises while it loads (load_in_8bit), and so does this.
#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// The weights of another source, those of every torch.nn.Linear but the head as codes `.weight` and scales `.SCB`: the
/// tower's, the projector's and the language model's. Routers and experts are none in transformers 5, and stay floats.
/// Of row n of W in float16, SCB[n] = max |W[n]| and the codes are W[n] (1 / SCB[n] 127) in float, rounded to even:
/// bitsandbytes 0.50 on a CPU, to the bit. A row of zeros has codes of 0.
///
/// Its threshold says which inputs of a product are not rounded to 8 bits (the outliers). Here none is rounded, so that
/// all are treated as outliers are there.
class Int8Weights {
 public:
  /// Looks at everything but the numbers. Throws ConfigError, which starts with `where`, for weights that are quantised
  /// already.
  Int8Weights(const TensorSource& base, const ModelFacts& facts, const std::string& where);
  Int8Weights(const Int8Weights&) = delete;
  Int8Weights& operator=(const Int8Weights&) = delete;

  std::vector<std::string> names() const;
  /// Codes and scales have types and shapes, and their bytes from `prepare` on until one of them is released. `prepare`
  /// throws FileError for numbers that float16 does not have.
  const TensorView* find(const std::string& name) const;
  void prepare(const TensorView& view) const;
  void release(const TensorView& view) const;

 private:
  struct Quantised {
    std::string name;
    const TensorView* base = nullptr;
    TensorView codes, scales;
    std::vector<std::byte> code_bytes = {}, scale_bytes = {};
  };

  TensorSource base_;
  std::string where_;
  std::vector<std::unique_ptr<Quantised>> quantised_;
  std::map<std::string, const TensorView*> views_;
  std::unordered_map<const TensorView*, Quantised*> by_view_;
};

namespace detail {
/// One row of a weight: codes to codes[in]; returns the scale, or infinity, and no codes, where a number is none of
/// float16.
float quantise_int8_row(const float* row, std::int64_t in, std::int8_t* codes);
}  // namespace detail

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/int8_weights.ipp"
#endif
