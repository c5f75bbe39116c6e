// The tensors of GGUF files as floats, dequantised by what tests/formats compares with the gguf package: a source of
// weights.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/ggml.hpp"

namespace ivl_test {

using namespace ivl;

struct GgufFloats {
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> views;
  std::set<std::string_view> types;  ///< that the files have

  explicit GgufFloats(const GgufFiles& files) {
    for (const std::filesystem::path& path : {files.model, files.mmproj}) {
      const Gguf file(path);
      for (const std::string_view name : file.names()) {
        const GgufTensor& tensor = *file.find(name);
        types.insert(name_of(tensor.type));
        const std::int64_t in = tensor.shape[tensor.shape.rank() - 1], all = *elements_of(tensor.shape);
        std::vector<float>& floats = values[std::string(name)];
        floats.resize(std::size_t(all));
        dequantise_rows(tensor.type, tensor.bytes, all / in, in, floats.data());
        views[std::string(name)] = {Dtype::f32, tensor.shape, std::as_bytes(std::span(floats))};
      }
    }
  }
  const TensorView* find(const std::string& name) const {
    const auto view = views.find(name);
    return view == views.end() ? nullptr : &view->second;
  }
};

}  // namespace ivl_test
