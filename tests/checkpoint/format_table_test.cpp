// The table of docs/formats.md: which weight formats each family's checkpoints open in, and what the tests compare of
// them. It is made of what those tests read, and IVL_WRITE_DOCS=1 writes it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/config/published.hpp"
#include "ivl/core/ggml_type.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/files/json.hpp"
#include "tests/support/toy_mixtures.hpp"

namespace {

using namespace ivl;
namespace fs = std::filesystem;

const fs::path source_folder = IVL_SOURCE_DIR;
const fs::path golden_folder = source_folder / "tests/golden";

/// A family's tiny checkpoints, those of golden_test.
struct TableFamily {
  Family family;
  std::vector<std::string> models;
};
const TableFamily table_families[] = {{Family::qwen2, {"qwen2_gqa7", "qwen2_dynamic"}},
                                      {Family::qwen3, {"qwen3_tiny", "qwen3_small_stream", "vit6b_qwen3"}},
                                      {Family::qwen3_moe, {"qwen3_moe_tiny"}},
                                      {Family::gpt_oss, {"gpt_oss_tiny"}},
                                      {Family::internlm3, {"internlm3_tiny"}}};

bool any_model_has(const TableFamily& family, std::string_view folder) {
  return std::ranges::any_of(
      family.models, [&](const std::string& model) { return fs::exists(golden_folder / "models" / model / folder); });
}

/// Types of matrices in files that mix them (gguf_model_test).
std::set<std::string> mixed_types(const TableFamily& family) {
  std::set<std::string> types;
  for (const std::string& model : family.models) {
    const fs::path path = golden_folder / "models" / model / "mixed/model.gguf";
    if (!fs::exists(path)) continue;
    const Gguf file(path);
    for (const std::string_view name : file.names()) types.emplace(name_of(file.find(name)->type));
  }
  return types;
}

using Row = std::vector<std::string>;

Row row_of_types(const std::string& type) {
  Row row{"GGUF `" + type + "`"};
  for (const TableFamily& family : table_families) {
    std::string cell = mixed_types(family).contains(type) ? "model" : "bits";
    // The toys' rows are 192 wide: K-quants get other types there.
    const auto is_it = [&](GgufMixture mixture) {
      const GgmlType matrices = detail::row_of(mixture).matrices;
      return name_of(mixture) == type && detail::type_for_rows(matrices, 192) == matrices;
    };
    const bool of_dense_toy = family.family == Family::qwen3 && std::ranges::any_of(ivl_test::close_mixtures, is_it);
    const bool of_other_toy = family.family == Family::gpt_oss && is_it(ivl_test::close_mixture_of_experts);
    if (of_dense_toy || of_other_toy) cell += ", toy";
    row.push_back(cell);
  }
  return row;
}

/// Of the cases that quantised_test goes through.
Row row_of_case(const std::string& name, const Json& one) {
  const Json& config = one["config"];
  Row row{"folder, `" + config["quant_method"].get<std::string>() + "` as in case `" + name + "`"};
  const bool experts = one["matrices"].begin().key().find(".experts.") != std::string::npos;
  for (const TableFamily& family : table_families)
    row.push_back(family.family == (experts ? Family::qwen3_moe : Family::qwen3) ? "model" : "bits");
  return row;
}

std::vector<Row> table_rows() {
  std::vector<Row> rows(1, Row{"weights"});
  Row checkpoints{"published checkpoints"}, folders{"folder in bf16, f16 or f32"}, pairs{"GGUF `bf16`"};
  Row experts{"folder, GPT-OSS's `mxfp4`"}, int8{"folder of floats, `--load-as int8`"};
  const Json golden_int8 = read_json(golden_folder / "quantised/llm_int8.json");
  for (const TableFamily& family : table_families) {
    rows[0].emplace_back(name_of(family.family));
    checkpoints.emplace_back(
        std::to_string(std::ranges::count(published_checkpoints, family.family, &PublishedCheckpoint::family)));
    folders.emplace_back(any_model_has(family, "hf") && any_model_has(family, "github") ? "logits" : "-");
    pairs.emplace_back(any_model_has(family, "gguf") ? "logits" : "-");
    experts.emplace_back(any_model_has(family, "mxfp4") ? "logits" : "refused");
    const bool codes = std::ranges::any_of(
        family.models, [&](const std::string& model) { return golden_int8["folders"].contains(model); });
    int8.emplace_back(std::string(codes ? "codes" : "bits") + (family.family == Family::qwen3 ? ", toy" : ""));
  }
  rows.insert(rows.end(), {checkpoints, folders, pairs});
  const Json blocks = read_json(golden_folder / "ggml/blocks.json");
  for (const auto& [type, hashes] : blocks["hashes"].items()) rows.push_back(row_of_types(type));
  const Json cases = read_json(golden_folder / "quantised/matrices.json");
  for (const auto& [name, one] : cases["cases"].items()) rows.push_back(row_of_case(name, one));
  rows.insert(rows.end(), {experts, int8});
  return rows;
}

std::string table_text() {
  std::string text;
  for (const Row& row : table_rows()) {
    for (const std::string& cell : row) text += "| " + cell + ' ';
    text += "|\n";
    if (row[0] != "weights") continue;
    for (std::size_t i = 0; i < row.size(); ++i) text += "|---";
    text += "|\n";
  }
  return text;
}

TEST_CASE("docs/formats.md says what the tests compare") {
  const fs::path path = source_folder / "docs/formats.md";
  std::ifstream file(path, std::ios::binary);
  std::string page{std::istreambuf_iterator<char>(file), {}};
  const std::string_view begin_mark = "<!-- table: begin -->\n", end_mark = "<!-- table: end -->";
  const std::size_t begin = page.find(begin_mark), end = page.find(end_mark);
  REQUIRE(begin < end);
  REQUIRE(end != page.npos);
  const std::size_t first = begin + begin_mark.size();
  const std::string wanted = table_text();
  if (std::getenv("IVL_WRITE_DOCS") != nullptr) {
    page.replace(first, end - first, wanted);
    std::ofstream(path, std::ios::binary) << page;
    return;
  }
  CHECK_MESSAGE(page.substr(first, end - first) == wanted, "stale: run this test with IVL_WRITE_DOCS=1");
}

}  // namespace
