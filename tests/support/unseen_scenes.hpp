// The bundled checkpoints answer questions about scenes that they never saw, on any backend.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/runner.hpp"
#include "ivl/serve/chat.hpp"

namespace ivl_test {

using namespace ivl;

/// Case, repeated blanks and a full stop at the end do not matter.
inline std::string normalised(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (!std::isspace(static_cast<unsigned char>(c)))
      result += char(std::tolower(static_cast<unsigned char>(c)));
    else if (!result.empty() && result.back() != ' ')
      result += ' ';
  }
  while (!result.empty() && (result.back() == ' ' || result.back() == '.')) result.pop_back();
  return result;
}

struct Score {
  int right = 0, asked = 0;
  double percent() const { return 100.0 * right / std::max(1, asked); }
};

/// The answer without what GPT-OSS writes before it, `<|channel|>final<|message|>`.
inline std::string without_header(const std::string& text) {
  constexpr std::string_view header_end = "<|message|>";
  const std::size_t at = text.rfind(header_end);
  return at == text.npos ? text : text.substr(at + header_end.size());
}

/// Every dialogue of the unseen scenes whose first picture is number n with n % stride == 0, greedily.
template <VlmConfig C, class Context>
std::map<std::string, Score> ask_all(Context& ctx, const std::filesystem::path& checkpoint_folder, int stride,
                                     const LoadOptions& options = {}) {
  const std::filesystem::path unseen = std::filesystem::path(IVL_SOURCE_DIR) / "examples/drawn_scenes/unseen";
  const auto checkpoint = load<C>(ctx, checkpoint_folder, options);
  Runner runner(ctx, checkpoint.vlm);
  std::ifstream lines(unseen / "scenes.jsonl");
  std::map<std::string, Score> scores;
  for (std::string line; std::getline(lines, line);) {
    const Json dialogue = parse_json(line, "scenes.jsonl");
    const auto files = field<std::vector<std::string>>(dialogue, "images", "scenes.jsonl");
    if (std::stoi(files.at(0)) % stride != 0) continue;
    std::vector<Image> pictures;
    for (const std::string& file : files) pictures.push_back(read_image(unseen / file));
    Chat chat(runner, checkpoint.processor, {.max_tiles = field<int>(dialogue, "max_tiles", "scenes.jsonl")});
    std::span<const Image> fresh = pictures;
    for (const Json& turn : dialogue["turns"]) {
      const std::string answer = chat.ask(field<std::string>(turn, "question", "turn"), fresh, {.max_new_tokens = 48});
      const std::string said = normalised(without_header(answer));
      fresh = {};
      bool right = false;
      for (const auto& accepted : field<std::vector<std::string>>(turn, "answers", "turn"))
        right |= normalised(accepted) == said;
      for (const std::string& kind : {field<std::string>(turn, "kind", "turn"), std::string("all")}) {
        ++scores[kind].asked;
        scores[kind].right += right;
      }
    }
  }
  return scores;
}

/// A tenth of the 500 scenes takes seconds; IVL_ALL_SCENES=1 asks about all of them.
inline bool asks_all_scenes() { return std::getenv("IVL_ALL_SCENES") != nullptr; }

template <VlmConfig C, class Context>
Score check_accuracy(Context& ctx, const std::filesystem::path& checkpoint_folder, double least_percent) {
  const bool all_scenes = asks_all_scenes();
  const auto scores = ask_all<C>(ctx, checkpoint_folder, all_scenes ? 1 : 10);
  for (const auto& [kind, score] : scores)
    MESSAGE(kind << ": " << score.right << " of " << score.asked << ", " << score.percent() << " %");
  const Score& all = scores.at("all");
  REQUIRE(all.asked >= 100);
  // On the smaller sample, who is right so often gets at most three standard deviations less.
  const double share = least_percent / 100;
  const double slack = all_scenes ? 0 : 3 * 100 * std::sqrt(share * (1 - share) / all.asked);
  CHECK(all.percent() >= least_percent - slack);
  return all;
}

}  // namespace ivl_test
