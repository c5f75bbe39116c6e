// The bundled checkpoint answers questions about scenes that it never saw, through the public API.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "ivl/io/json.hpp"
#include "ivl/ivl.hpp"

namespace {

using namespace ivl;
namespace fs = std::filesystem;
const fs::path folder = fs::path(IVL_SOURCE_DIR) / "examples/drawn_scenes";

/// Case, repeated blanks and a full stop at the end do not matter.
std::string normalised(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (!std::isspace(static_cast<unsigned char>(c))) result += char(std::tolower(static_cast<unsigned char>(c)));
    else if (!result.empty() && result.back() != ' ') result += ' ';
  }
  while (!result.empty() && (result.back() == ' ' || result.back() == '.')) result.pop_back();
  return result;
}

struct Score {
  int right = 0, asked = 0;
  double percent() const { return 100.0 * right / std::max(1, asked); }
};

/// Every dialogue of the unseen scenes whose first picture is number n with n % stride == 0, greedily.
std::map<std::string, Score> ask_all(int stride) {
  cpu::Context ctx;
  const auto checkpoint = load<drawn_scenes>(ctx, folder / "checkpoint");
  std::ifstream lines(folder / "unseen/scenes.jsonl");
  std::map<std::string, Score> scores;
  for (std::string line; std::getline(lines, line);) {
    const Json dialogue = parse_json(line, "scenes.jsonl");
    const auto files = field<std::vector<std::string>>(dialogue, "images", "scenes.jsonl");
    if (std::stoi(files.at(0)) % stride != 0) continue;
    std::vector<Image> pictures;
    for (const std::string& file : files) pictures.push_back(read_image(folder / "unseen" / file));
    Chat<drawn_scenes, cpu::Context> chat(ctx, checkpoint, {.max_tiles = field<int>(dialogue, "max_tiles", "scenes.jsonl")});
    std::span<const Image> fresh = pictures;
    for (const Json& turn : dialogue["turns"]) {
      // Two pictures are numbered, as they were in training.
      const std::string marks = fresh.size() > 1 ? image_marks(int(fresh.size())) : "";
      const std::string said = normalised(chat.ask(marks + field<std::string>(turn, "question", "turn"), fresh, {.max_new_tokens = 48}));
      fresh = {};
      bool right = false;
      for (const auto& answer : field<std::vector<std::string>>(turn, "answers", "turn")) right |= normalised(answer) == said;
      for (const std::string& kind : {field<std::string>(turn, "kind", "turn"), std::string("all")}) {
        ++scores[kind].asked;
        scores[kind].right += right;
      }
    }
  }
  return scores;
}

TEST_CASE("The bundled checkpoint answers at least 94 % of the questions about unseen scenes") {
  // docs/accuracy.md: transformers gets 94.6 % from the same weights. Every other way of running them must get as much.
  constexpr double least = 94;
  // A tenth of the 500 scenes takes seconds; IVL_ALL_SCENES=1 asks about all of them.
  const bool all_scenes = std::getenv("IVL_ALL_SCENES") != nullptr;
  const auto scores = ask_all(all_scenes ? 1 : 10);
  for (const auto& [kind, score] : scores) MESSAGE(kind << ": " << score.right << " of " << score.asked << ", " << score.percent() << " %");
  REQUIRE(scores.at("all").asked >= 100);
  // Who is right 94 times in 100 gets at most three standard deviations less on the smaller sample.
  const double slack = all_scenes ? 0 : 3 * 100 * std::sqrt(0.94 * 0.06 / scores.at("all").asked);
  CHECK(scores.at("all").percent() >= least - slack);
}

}  // namespace
