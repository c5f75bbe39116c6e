#include "ivl/text/channels.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace ivl;

namespace {

/// Channels and their texts, in order; what follows in the same channel is one part with it.
using Parts = std::vector<std::pair<std::string, std::string>>;

Parts parts_of(const std::vector<std::string_view>& pieces) {
  Parts parts;
  const auto give = [&](std::string_view channel, std::string_view text) {
    REQUIRE(!text.empty());
    if (parts.empty() || parts.back().first != channel) parts.emplace_back(channel, "");
    parts.back().second += text;
  };
  ChannelReader reader;
  for (const std::string_view piece : pieces) reader.push(piece, give);
  reader.finish(give);
  return parts;
}

/// In three pieces, whatever their borders, and in single bytes.
void check_cut_anywhere(std::string_view answer, const Parts& expected) {
  CAPTURE(answer);
  std::vector<std::string_view> bytes;
  for (std::size_t at = 0; at < answer.size(); ++at) bytes.push_back(answer.substr(at, 1));
  CHECK(parts_of(bytes) == expected);
  std::size_t wrong = 0;
  for (std::size_t first = 0; first <= answer.size(); ++first) {
    for (std::size_t second = first; second <= answer.size(); ++second)
      wrong +=
          parts_of({answer.substr(0, first), answer.substr(first, second - first), answer.substr(second)}) != expected;
  }
  CHECK(wrong == 0);
}

constexpr std::string_view channels =
    "<|channel|>analysis<|message|>Two < three.<|end|><|start|>assistant<|channel|>final<|message|>A cat.<|return|>";
constexpr std::string_view thought = "<think>\nTwo < three, </thin or so.\n</think>\n\nA cat.\n\nYes.";

}  // namespace

TEST_CASE("a gpt-oss answer is taken apart into its channels, wherever it is cut") {
  check_cut_anywhere(channels, {{"analysis", "Two < three."}, {"final", "A cat."}});
  check_cut_anywhere("<|channel|>final<|message|>A cat.<|return|>", {{"final", "A cat."}});
}

TEST_CASE("thoughts and answers are told apart in the same way, with channels and with tags") {
  for (const std::string_view whole : {channels, thought}) {
    std::string answer, thoughts;
    for (const auto& [channel, text] : parts_of({whole})) (is_answer(channel) ? answer : thoughts) += text;
    CHECK(answer.starts_with("A cat."));
    CHECK(thoughts.find("Two < three") != thoughts.npos);
  }
}

TEST_CASE("text without markers, and what only begins like one, stays text") {
  check_cut_anywhere("a <|chan b<|", {{"", "a <|chan b<|"}});
  check_cut_anywhere("<|channel|>final<|message|>x <|en", {{"final", "x <|en"}});
  check_cut_anywhere("<<think>x<</think>y<", {{"", "<"}, {"analysis", "x<"}, {"", "y<"}});
  check_cut_anywhere("", {});
}

TEST_CASE("a thought between tags is taken apart, wherever it is cut") {
  check_cut_anywhere(thought, {{"analysis", "\nTwo < three, </thin or so.\n"}, {"", "A cat.\n\nYes."}});
  check_cut_anywhere("No thought </think> here", {{"", "No thought </think> here"}});
  check_cut_anywhere("<|channel|>final<|message|>Tags: <think> and </think>.",
                     {{"final", "Tags: <think> and </think>."}});
}

TEST_CASE("a thought that never ends is one to its last byte, and an answer may end anywhere") {
  for (std::size_t length = 0; length <= thought.size(); ++length) {
    const std::string_view prefix = thought.substr(0, length);
    constexpr std::string_view open = "<think>", close = "</think>";
    Parts expected;
    if (length < open.size()) {
      if (length > 0) expected = {{"", std::string(prefix)}};
    } else {
      const std::size_t end = prefix.find(close);
      const std::string_view inside = prefix.substr(open.size(), end - open.size());
      if (!inside.empty()) expected.emplace_back("analysis", inside);
      const std::size_t answer = end == prefix.npos ? end : prefix.find_first_not_of('\n', end + close.size());
      if (answer != prefix.npos) expected.emplace_back("", prefix.substr(answer));
    }
    check_cut_anywhere(prefix, expected);
  }
}

TEST_CASE("a gpt-oss answer that ends early gives what there is of each channel") {
  check_cut_anywhere("<|channel|>", {});
  check_cut_anywhere("<|channel|>analysis", {});
  check_cut_anywhere("<|channel|>analysis<|message|>", {});
  check_cut_anywhere("<|channel|>analysis<|message|>Two <", {{"analysis", "Two <"}});
  check_cut_anywhere(channels.substr(0, channels.find("assistant") + 4), {{"analysis", "Two < three."}});
  check_cut_anywhere(channels.substr(0, channels.find("final") + 4), {{"analysis", "Two < three."}});
  check_cut_anywhere(channels.substr(0, channels.find(" cat")), {{"analysis", "Two < three."}, {"final", "A"}});
}

TEST_CASE("text is given as soon as it cannot be part of a marker") {
  ChannelReader reader;
  std::string given;
  const auto give = [&](std::string_view, std::string_view text) { given += text; };
  reader.push("<|channel|>final<|message|>A", give);
  CHECK(given == "A");
  reader.push(" c<", give);
  CHECK(given == "A c");
  reader.push("at", give);
  CHECK(given == "A c<at");
}

TEST_CASE("what stands behind <|end|> belongs to no channel") {
  check_cut_anywhere("<|channel|>final<|message|>A<|end|>B<|return|>C", {{"final", "A"}, {"", "BC"}});
}
