#include "ivl/text/chat_template.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "ivl/text/tokenizer_file.hpp"
#include "tests/support/hex_sha256.hpp"

using namespace ivl;

namespace {

using Json = nlohmann::json;
constexpr int tokens_per_tile = 256;

std::string repeated(std::string_view text, int times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

/// Golden prompts write a run of n context tokens as U+27E8, n, U+27E9.
std::string unfolded(std::string text) {
  const std::string open = "\u27e8", close = "\u27e9";
  for (std::size_t at; (at = text.find(open)) != std::string::npos;) {
    const std::size_t end = text.find(close, at);
    const int count = std::stoi(text.substr(at + open.size(), end - at - open.size()));
    text.replace(at, end + close.size() - at, repeated(image_context_token, count));
  }
  return text;
}

std::vector<Turn> turns_of(const Json& history) {
  std::vector<Turn> turns;
  if (history.is_array())
    for (const Json& turn : history) turns.push_back({turn[0], turn[1]});
  return turns;
}

}  // namespace

/// A whole prompt as the reference's text has it.
std::string render_with_images(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                               std::string_view question, std::span<const int> tokens) {
  return text_of(render_segments(style, system, history, question, int(tokens.size())), tokens);
}

TEST_CASE("prompts are those of InternVL's conversation.py and of transformers' chat template") {
  const Json prompts = Json::parse(detail::read_text(IVL_SOURCE_DIR "/tests/golden/prompts.json"));
  int same = 0, refused = 0;
  for (const Json& entry : prompts) {
    CAPTURE(entry.dump());
    std::optional<std::string> system;
    if (entry["system"].is_string()) system = entry["system"];
    std::vector<Turn> history = turns_of(entry["history"]);
    std::vector<int> tokens;
    for (const int tiles : entry["tiles"]) tokens.push_back(tiles * tokens_per_tile);
    std::string question = entry["question"];
    PromptStyle style = PromptStyle::internvl2_5;
    if (entry["format"] == "hf") {
      style = PromptStyle::hf;
      const auto images = entry["images_before_turn"].get<std::vector<int>>();
      for (std::size_t turn = 0; turn < history.size(); ++turn)
        history[turn].question = with_image_marks(style, history[turn].question, images[turn]);
      question = with_image_marks(style, question, images.back());
    } else {
      if (entry["template"] == "internvl3_5_gpt_oss") style = PromptStyle::internvl3_5_gpt_oss;
      if (entry["history"].is_null() && tokens.size() == 1)  // where the reference's chat() adds a mark
        question = with_image_marks(style, question, 1);
    }
    const auto prompt = [&] { return render_with_images(style, system, history, question, tokens); };
    if (!tokens.empty() && count_image_marks(render(style, system, history, question)) != int(tokens.size())) {
      CHECK_THROWS_AS(prompt(), RequestError);  // the reference lets surplus marks stand as text
      ++refused;
      continue;
    }
    CHECK(prompt() == unfolded(entry["expected"]));
    ++same;
  }
  CHECK(same >= 60);
  CHECK(refused >= 1);
}

TEST_CASE("the system message of thinking is the published one to the byte") {
  CHECK(test::hex_sha256(std::as_bytes(std::span(thinking_system))) ==
        "a2cb9e8de918a3e379ee49845f6ebc851d6f449b4d88f6523d2b49edae502101");
}

TEST_CASE("the gpt-oss prompt ends after the word assistant and has no newlines between turns") {
  const std::string head = "<|start|>system<|message|>" + std::string(default_system_internvl3_5_gpt_oss) + "<|end|>";
  const auto prompt = [](std::vector<Turn> history, std::string_view question, std::vector<int> images) {
    return render_with_images(PromptStyle::internvl3_5_gpt_oss, std::nullopt, history, question, images);
  };
  const std::string image = "<img>" + repeated("<IMG_CONTEXT>", 256) + "</img>\n";
  CHECK(prompt({}, "<image>\nDescribe.", {256}) ==
        head + "<|start|>user<|message|>" + image + "Describe.<|end|><|start|>assistant");
  CHECK(prompt({{"<image>\nDescribe.", "<|channel|>final<|message|>A cat."}}, "And now?", {256}) ==
        head + "<|start|>user<|message|>" + image +
            "Describe.<|end|><|start|>assistant<|channel|>final<|message|>A cat.<|end|><|start|>user<|message|>And "
            "now?<|end|>"
            "<|start|>assistant");
  CHECK(end_token(PromptStyle::internvl3_5_gpt_oss) == "<|return|>");
  CHECK(end_token(PromptStyle::internvl2_5) == "<|im_end|>");
}

TEST_CASE("a question without words and one that is no UTF-8 are refused") {
  const auto said = [](std::string_view question) {
    try {
      check_question(question);
    } catch (const RequestError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(said("") == "question: expected a text, found none");
  CHECK(said(" \n\t\u3000") == "question: expected a text, found none");
  CHECK(said("caf\xe9?") == "question: expected UTF-8, found 'caf\\xe9?'");
  CHECK(said("\xe2\x82") == "question: expected UTF-8, found '\\xe2\\x82'");  // a character that is cut
  CHECK(said("<image>") == "");
  CHECK(said("\u4f60\u597d") == "");
}

TEST_CASE("images and marks must be as many, and without images a mark is text") {
  const auto question = [](std::string_view text, std::vector<int> images) {
    const std::string prompt = render_with_images(PromptStyle::hf, std::nullopt, {}, text, images);
    const std::string_view head = "<|im_start|>user\n", tail = "<|im_end|>\n<|im_start|>assistant\n";
    return prompt.substr(head.size(), prompt.size() - head.size() - tail.size());
  };
  CHECK(question("a <image> b", {}) == "a <image> b");
  CHECK(question("a <image> b <image>", {2, 1}) ==
        "a <img><IMG_CONTEXT><IMG_CONTEXT></img> b <img><IMG_CONTEXT></img>");
  const auto message = [&](const char* text, std::vector<int> images) -> std::string {
    try {
      return question(text, images);
    } catch (const RequestError& error) {
      return error.what();
    }
  };
  CHECK(message("<image>", {1, 1, 1}).find("3 images, but 1 <image>") != std::string::npos);
  CHECK(message("<image><image>", {1}).find("1 images, but 2 <image>") != std::string::npos);
  CHECK(message("none", {1}).find("1 images, but 0 <image>") != std::string::npos);
}

TEST_CASE("an answer that says <image> places none and is none to count") {
  const std::vector<Turn> history{{"<image>\nWhat stands there?", "It says <image>."}};
  const std::string prompt =
      render_with_images(PromptStyle::hf, std::nullopt, history, "And in <image>?", std::vector<int>{1, 2});
  CHECK(prompt.find("user\n<img><IMG_CONTEXT></img>\nWhat stands there?") != std::string::npos);
  CHECK(prompt.find("assistant\nIt says <image>.") != std::string::npos);
  CHECK(prompt.find("And in <img><IMG_CONTEXT><IMG_CONTEXT></img>?") != std::string::npos);
}

TEST_CASE("marks are put before a question only where there are none") {
  for (const PromptStyle style : {PromptStyle::internvl2_5, PromptStyle::hf}) {
    CHECK(with_image_marks(style, "What?", 1) == "<image>\nWhat?");
    CHECK(with_image_marks(style, "What?", 0) == "What?");
    CHECK(with_image_marks(style, "What is <image>?", 1) == "What is <image>?");
  }
  CHECK(with_image_marks(PromptStyle::internvl2_5, "What?", 2) == "Image-1: <image>\nImage-2: <image>\nWhat?");
  CHECK(with_image_marks(PromptStyle::hf, "What?", 2) == "<image>\n<image>\nWhat?");
}

TEST_CASE("several images and video frames are numbered from one") {
  CHECK(image_marks(2) + "Compare." == "Image-1: <image>\nImage-2: <image>\nCompare.");
  CHECK(frame_marks(2) + "What happens?" == "Frame1: <image>\nFrame2: <image>\nWhat happens?");
  CHECK(frame_marks(0) == "");
}
