// int8 products of one row and one output by the formula of cpu/int8_product.hpp: codes and scales as files have them,
// sums of whole numbers, and floats in the order that is promised. It gives the same bits at every level.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl_test {

using namespace ivl;

/// Numbers that share a scale, plainly.
struct Coded {
  std::vector<int> codes;
  std::vector<float> scales;

  Coded(const float* x, int number) : codes(std::size_t(number)) {
    for (int k = 0; k < number; k += 128) {
      float largest = 0;
      for (int i = k; i < std::min(number, k + 128); ++i) largest = std::max(largest, std::abs(x[i]));
      scales.push_back(largest / 127);
      for (int i = k; i < std::min(number, k + 128); ++i)
        codes[std::size_t(i)] = largest > 0 ? int(std::lrint(x[i] * (127 / largest))) : 0;
    }
  }
};

/// One output: codes less what stands for 0; and of each run of `run` inputs a scale and an offset.
struct Output {
  int run = 128;
  std::vector<int> codes;
  std::vector<float> scales, offsets;
};

template <class F, class Block>
Output blocks_of(const SourceMatrix& w, int output, int run, int zero, const Block& each_run) {
  Output result{run, {}, {}, {}};
  for (std::int64_t k = 0; k < w.in; k += F::block) {
    const auto block = ivl::detail::block_at<F>(w.cells<F>(output, k));
    std::uint8_t codes[F::block];
    F::codes(block, codes);
    for (const std::uint8_t code : codes) result.codes.push_back(int(code) - zero);
    for (int r = 0; r < F::block / run; ++r) {
      const auto [scale, offset] = each_run(block, r);
      result.scales.push_back(scale);
      result.offsets.push_back(offset);
    }
  }
  return result;
}

struct ScaleOffset {
  float scale, offset;
};

inline Output output_of(const SourceMatrix& w, int output) {
  const auto of_half = [](const auto& block, int) { return ScaleOffset{to_float(block.d), 0}; };
  const auto with_m = [](const auto& block, int) { return ScaleOffset{to_float(block.d), to_float(block.m)}; };
  const auto k_quant = [](auto tag) {
    return [](const typename decltype(tag)::Block& block, int run) {
      const auto [scale, minimum] = decltype(tag)::scale_and_minimum(block, run);
      return ScaleOffset{to_float(block.d) * float(scale), -to_float(block.dmin) * float(minimum)};
    };
  };
  switch (w.format) {
    case Format::q8_0:
      return blocks_of<Q8_0>(w, output, 32, 128, of_half);
    case Format::q4_0:
      return blocks_of<Q4_0>(w, output, 32, 8, of_half);
    case Format::q5_0:
      return blocks_of<Q5_0>(w, output, 32, 16, of_half);
    case Format::q4_1:
      return blocks_of<Q4_1>(w, output, 32, 0, with_m);
    case Format::q5_1:
      return blocks_of<Q5_1>(w, output, 32, 0, with_m);
    case Format::q2_k:
      return blocks_of<Q2K>(w, output, 16, 0, k_quant(Q2K{}));
    case Format::q4_k:
      return blocks_of<Q4K>(w, output, 32, 0, k_quant(Q4K{}));
    case Format::q5_k:
      return blocks_of<Q5K>(w, output, 32, 0, k_quant(Q5K{}));
    case Format::q6_k:
      return blocks_of<Q6K>(w, output, 16, 32, [](const Q6K::Block& block, int run) {
        return ScaleOffset{to_float(block.d) * float(Q6K::scale_of(block, run)), 0};
      });
    case Format::awq: {
      Output result;
      for (std::int64_t k = 0; k < w.in; k += 128) {
        const BlockCells cells = w.cells<Awq>(output, k);
        std::uint8_t codes[128];
        Awq::codes(cells, codes);
        result.codes.insert(result.codes.end(), codes, codes + 128);
        result.scales.push_back(Awq::scale_of(cells));
        result.offsets.push_back(-float(Awq::zero_of(cells)) * Awq::scale_of(cells));
      }
      return result;
    }
    default: {  // floats
      std::vector<float> row(std::size_t(w.in));
      dequantise_row(w, output, row.data());
      Coded coded(row.data(), int(w.in));
      return {128, std::move(coded.codes), std::move(coded.scales), {}};
    }
  }
}

inline float product(const Coded& x, const Output& w) {
  const bool offsets = std::any_of(w.offsets.begin(), w.offsets.end(), [](float offset) { return offset != 0; });
  float total = 0;
  for (std::size_t k = 0, run = 0; k < w.codes.size(); k += std::size_t(w.run), ++run) {
    int sum = 0, row_sum = 0;
    for (std::size_t i = k; i < std::min(w.codes.size(), k + std::size_t(w.run)); ++i) {
      sum += w.codes[i] * x.codes[i];
      row_sum += x.codes[i];
    }
    const float row_scale = x.scales[k / 128];
    total = std::fma(float(sum) * row_scale, w.scales[run], total);
    if (offsets) total = std::fma(row_scale * float(row_sum), w.offsets[run], total);
  }
  return total;
}

}  // namespace ivl_test
