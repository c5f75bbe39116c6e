// A copy of a checkpoint folder that a test may change.
#pragma once
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace ivl_test {

using namespace ivl;

struct OwnedTensor {
  Dtype dtype;
  Shape shape;
  std::vector<std::byte> bytes;
};

class CheckpointCopy {
 public:
  explicit CheckpointCopy(const std::filesystem::path& from) {
    std::filesystem::copy(from, folder_.path());
    const Safetensors files(from);
    for (const std::string& name : files.names()) {
      const TensorView& view = *files.find(name);
      tensors[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    }
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  /// edit(Json&) changes one of the JSON files.
  template <class Edit>
  void edit_json(std::string_view name, const Edit& edit) const {
    Json document = read_json(folder_ / name);
    edit(document);
    std::ofstream(folder_ / name) << document.dump(1);
  }

  /// Writes `tensors` as one file, in place of all that there were.
  void write_tensors() const {
    for (const auto& entry : std::filesystem::directory_iterator(path())) {
      if (entry.path().string().find(".safetensors") != std::string::npos) std::filesystem::remove(entry.path());
    }
    std::vector<NamedTensor> named;
    for (const auto& [name, tensor] : tensors) named.push_back({name, {tensor.dtype, tensor.shape, tensor.bytes}});
    write_safetensors(folder_ / "model.safetensors", named);
  }

  /// A bf16 tensor becomes the same numbers as floats.
  void widen(const std::string& name) {
    OwnedTensor& tensor = tensors.at(name);
    std::vector<std::byte> wide;
    for (std::size_t i = 0; i < tensor.bytes.size(); i += 2) {
      wide.insert(wide.end(), {std::byte{}, std::byte{}, tensor.bytes[i], tensor.bytes[i + 1]});
    }
    tensor = {Dtype::f32, tensor.shape, std::move(wide)};
  }

  std::map<std::string, OwnedTensor> tensors;

 private:
  test::TemporaryFolder folder_;
};

}  // namespace ivl_test
