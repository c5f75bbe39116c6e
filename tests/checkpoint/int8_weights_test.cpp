// The right codes and scales are bitsandbytes' (tests/golden/make_int8.py).
#include "ivl/checkpoint/int8_weights.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/files/json.hpp"
#include "tests/support/hex_sha256.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

TEST_CASE("A folder's weights loaded as int8 are those modules', codes and scales that bitsandbytes makes of them") {
  const Json golden = read_json(std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/quantised/llm_int8.json");
  for (const auto& [name, modules] : golden.at("folders").items()) {
    CAPTURE(name);
    const std::filesystem::path folder = tiny_folder(name, "hf");
    const FolderWeights files(folder);
    const Int8Weights weights(files, read_checkpoint_config(folder).facts, "there");
    std::size_t made = 0;
    for (const std::string& tensor : weights.names()) {
      CAPTURE(tensor);
      const TensorView* view = weights.find(tensor);
      if (!tensor.ends_with(".SCB")) {
        if (view->dtype != Dtype::i8) CHECK(view == files.find(tensor));
        continue;
      }
      ++made;
      const std::string module = tensor.substr(0, tensor.size() - 4);
      REQUIRE(modules.contains(module));
      const TensorView* codes = weights.find(module + ".weight");
      weights.prepare(*codes);
      weights.prepare(*view);
      std::vector<std::byte> both(codes->bytes.begin(), codes->bytes.end());
      both.insert(both.end(), view->bytes.begin(), view->bytes.end());
      CHECK(test::hex_sha256(both) == modules.at(module));
      weights.release(*codes);
      CHECK(view->bytes.data() == nullptr);
    }
    CHECK(made == modules.size());
  }
}

TEST_CASE("Rows of zeros have codes of zero, and what is no float16 has no scale") {
  std::vector<std::int8_t> codes(2, 5);
  const auto scale = [&](float a, float b) {
    const float row[] = {a, b};
    return detail::quantise_int8_row(row, 2, codes.data());
  };
  CHECK(scale(0, -0.0f) == 0);
  CHECK(codes == std::vector<std::int8_t>{0, 0});
  CHECK(scale(65504, -1) == 65504);
  CHECK(codes == std::vector<std::int8_t>{127, 0});
  for (const float none : {65520.0f, -1e30f, std::numeric_limits<float>::quiet_NaN()})
    CHECK(scale(1, none) == std::numeric_limits<float>::infinity());
}

TEST_CASE("Weights that are quantised already, or are no float16, are refused by name") {
  const std::string name = "language_model.model.layers.0.mlp.up_proj.";
  ModelFacts facts;
  facts.format = FolderFormat::hf;
  const auto error = [&](const std::string& suffix, Dtype dtype) {
    const float row[] = {1, 70000};
    const TensorView view{dtype, {1, 2}, std::as_bytes(std::span(row))};
    const TensorMap map{{name + suffix, view}};
    const MapSource source{map};
    return test::error_of<Error>([&] {
      const Int8Weights weights(source, facts, "there");
      weights.prepare(*weights.find(name + suffix));
    });
  };
  CHECK(error("qweight", Dtype::i32) ==
        "there: " + name + "qweight: expected weights in F32, BF16 or F16 to load as int8, found quantised ones");
  CHECK(error("weight", Dtype::f8_e4m3) ==
        "there: " + name + "weight: expected F32, BF16 or F16 to load as int8, found F8_E4M3");
  CHECK(error("weight", Dtype::f32) == "there: " + name +
                                           "weight: expected numbers of F16 to load as int8, found in row 0 one that "
                                           "is none or beyond 65504");
}

}  // namespace
