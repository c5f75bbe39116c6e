// The bundled checkpoints answer questions about scenes that they never saw, through the public API.
#include <doctest/doctest.h>

#include <filesystem>
#include <string_view>

#include "../support/temporary_folder.hpp"
#include "../support/toy_mixtures.hpp"
#include "../support/unseen_scenes.hpp"
#include "ivl/ivl.hpp"

namespace {

using namespace ivl;
namespace fs = std::filesystem;
const fs::path examples = fs::path(IVL_SOURCE_DIR) / "examples";

template <VlmConfig C>
ivl_test::Score check_accuracy(const fs::path& checkpoint_folder, double least_percent) {
  cpu::Context ctx;
  return ivl_test::check_accuracy<C>(ctx, checkpoint_folder, least_percent);
}

/// Loses at most one point against the stored weights, of the same questions. Where `only_told`, an answer in ten.
template <VlmConfig C>
void check_loss(std::string_view format, const ivl_test::Score& stored, const fs::path& path,
                const LoadOptions& options = {}, bool only_told = false, cpu::Numbers numbers = cpu::Numbers::exact) {
  cpu::Context ctx(usable_cpus(), numbers);
  const int stride = ivl_test::asks_all_scenes() ? 1 : 10;
  const ivl_test::Score found = ivl_test::ask_all<C>(ctx, path, stride, options).at("all");
  MESSAGE(format << ": " << found.right << " of " << found.asked << ", stored weights " << stored.right);
  REQUIRE(found.asked == stored.asked);
  CHECK(stored.percent() - found.percent() <= (only_told ? 10 : 1));
}

/// The same of a GGUF pair that was made of a folder.
template <VlmConfig C>
void check_mixture(GgufMixture mixture, const ivl_test::Score& stored, const fs::path& folder, bool only_told = false) {
  const test::TemporaryFolder pair;
  write_gguf_pair(folder, {pair / "model.gguf", pair / "mmproj.gguf"}, mixture);
  check_loss<C>(name_of(mixture), stored, pair.path(), {}, only_told);
}

// docs/accuracy.md: transformers gets 98.2 % and 96.2 %. Any other way of running the weights may lose a few answers.

TEST_CASE(
    "The dense toy answers at least 97 % of the questions about unseen scenes, and little less in other formats") {
  const fs::path folder = examples / "drawn_scenes/checkpoint";
  const ivl_test::Score stored = check_accuracy<drawn_scenes>(folder, 97);
  for (const GgufMixture mixture : ivl_test::close_mixtures) check_mixture<drawn_scenes>(mixture, stored, folder);
  for (const GgufMixture mixture : ivl_test::told_mixtures) check_mixture<drawn_scenes>(mixture, stored, folder, true);
  check_loss<drawn_scenes>("LLM.int8", stored, folder, {.load_as = LoadAs::int8});
  check_loss<drawn_scenes>("int8 products", stored, folder, {}, false, cpu::Numbers::int8);
}

TEST_CASE("The toy on GPT-OSS answers at least 95 % of the questions about unseen scenes, and little less as GGUF") {
  const fs::path folder = examples / "drawn_scenes_moe/checkpoint";
  const ivl_test::Score stored = check_accuracy<drawn_scenes_moe>(folder, 95);
  check_mixture<drawn_scenes_moe>(ivl_test::close_mixture_of_experts, stored, folder);
  check_loss<drawn_scenes_moe>("int8 products", stored, folder, {}, false, cpu::Numbers::int8);
}

}  // namespace
