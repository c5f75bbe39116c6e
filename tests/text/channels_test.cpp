#include "ivl/text/channels.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <string_view>

using namespace ivl;

namespace {

/// Channel -> its text, of an answer that comes in pieces of `step` bytes.
std::map<std::string, std::string> channels_of(std::string_view answer, std::size_t step) {
  std::map<std::string, std::string> channels;
  const auto give = [&](std::string_view channel, std::string_view text) {
    CHECK(!text.empty());
    channels[std::string(channel)] += text;
  };
  ChannelReader reader;
  for (; !answer.empty(); answer.remove_prefix(std::min(step, answer.size())))
    reader.push(answer.substr(0, step), give);
  reader.finish(give);
  return channels;
}

}  // namespace

TEST_CASE("a gpt-oss answer is taken apart into its channels, however it is cut") {
  const std::string_view answer =
      "<|channel|>analysis<|message|>Two < three.<|end|><|start|>assistant<|channel|>final<|message|>A cat.<|return|>";
  for (const std::size_t step : {1, 2, 3, 7, 1000}) {
    CAPTURE(step);
    const auto channels = channels_of(answer, step);
    CHECK(channels == std::map<std::string, std::string>{{"analysis", "Two < three."}, {"final", "A cat."}});
  }
}

TEST_CASE("text without markers, and what only begins like one, stays text") {
  for (const std::size_t step : {1, 1000}) {
    CHECK(channels_of("a <|chan b<|", step) == std::map<std::string, std::string>{{"", "a <|chan b<|"}});
    CHECK(channels_of("<|channel|>final<|message|>x <|en", step) ==
          std::map<std::string, std::string>{{"final", "x <|en"}});
    CHECK(channels_of("", step).empty());
  }
}

TEST_CASE("a thought between tags is taken apart, however it is cut, also where it never ends") {
  for (const std::size_t step : {1, 2, 3, 5, 7, 1000}) {
    CAPTURE(step);
    CHECK(channels_of("<think>\nTwo < three, </thin or so.\n</think>\n\nA cat.\n\nYes.", step) ==
          std::map<std::string, std::string>{{"analysis", "\nTwo < three, </thin or so.\n"}, {"", "A cat.\n\nYes."}});
    CHECK(channels_of("<think>And then", step) == std::map<std::string, std::string>{{"analysis", "And then"}});
    CHECK(channels_of("No thought </think> here", step) ==
          std::map<std::string, std::string>{{"", "No thought </think> here"}});
    CHECK(channels_of("<|channel|>final<|message|>Tags: <think> and </think>.", step) ==
          std::map<std::string, std::string>{{"final", "Tags: <think> and </think>."}});
  }
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
  for (const std::size_t step : {1, 1000}) {
    CHECK(channels_of("<|channel|>final<|message|>A<|end|>B<|return|>C", step) ==
          std::map<std::string, std::string>{{"final", "A"}, {"", "BC"}});
  }
}
