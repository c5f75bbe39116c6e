#include "ivl/text/message_template.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ivl/core/sha256.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using test::error_of;
using test::TemporaryFolder;

const std::string messages_folder = IVL_SOURCE_DIR "/tests/golden/messages/";

/// The generator of tests/golden/make_messages.py.
struct GoldenRandom {
  const std::vector<std::string>& words;
  std::uint64_t state;

  int below(int end) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return int((state >> 33) % std::uint64_t(end));
  }
  std::string text(int most) {
    std::string result;
    for (int left = below(most); left > 0; --left) {
      result += words[std::size_t(below(int(words.size())))];
      if (below(2)) result += " ";
    }
    return result;
  }
  /// A question with its marks.
  std::string marked(int& pictures) {
    std::string question;
    for (int left = below(4); left > 0; --left) {
      if (below(3) == 0)
        question += "<image>\n", ++pictures;
      else
        question += text(5);
    }
    return question;
  }
};

std::string golden_prompt(const MessageTemplate& messages, const std::vector<std::string>& words, int seed,
                          bool channels) {
  GoldenRandom random{words, std::uint64_t(seed)};
  std::optional<std::string> system;
  std::vector<Turn> history;
  int pictures = 0;
  if (random.below(3)) system = random.text(6);
  for (int left = random.below(4); left > 0; --left) {
    std::string question = random.marked(pictures);
    const std::string thoughts = random.text(4);
    std::string answer = random.text(6);
    if (channels) {
      answer = "<|channel|>final<|message|>" + answer;
      if (!thoughts.empty())
        answer = "<|channel|>analysis<|message|>" + thoughts + "<|end|><|start|>assistant" + answer;
    }
    history.push_back({std::move(question), std::move(answer)});
  }
  const std::string question = random.marked(pictures);
  const std::vector<int> rows(std::size_t(pictures), 1);
  return text_of(messages.render_segments(system, history, question, pictures), rows);
}

std::string first_digits(const Digest& digest) {
  std::string digits;
  for (int byte = 0; byte < 4; ++byte)
    for (const int half : {digest[std::size_t(byte)] >> 4, digest[std::size_t(byte)] & 15})
      digits += "0123456789abcdef"[half];
  return digits;
}

std::string written(const MessageTemplate& messages, std::string_view question, int pictures,
                    std::vector<Turn> history = {}) {
  return text_of(messages.render_segments({}, history, question, pictures), std::vector<int>(std::size_t(pictures), 1));
}

TEST_CASE("A folder's template writes 1000 conversations as transformers does") {
  const auto golden = nlohmann::json::parse(detail::read_text(messages_folder + "golden.json"));
  const auto words = golden["words"].get<std::vector<std::string>>();
  int templates = 0;
  for (const auto& [name, hashes] : golden["prompts"].items()) {
    CAPTURE(name);
    std::string text;
    if (const auto file = messages_folder + name + ".jinja"; std::filesystem::exists(file)) {
      text = detail::read_text(file);
    } else {
      const auto folder = std::filesystem::path(IVL_SHARED_DIR) / "data/tokenizers" / name;
      if (!std::filesystem::exists(folder)) {
        MESSAGE("skipped: no tokenizer files of ", name);
        continue;
      }
      text = nlohmann::json::parse(detail::read_text(folder / "tokenizer_config.json"))["chat_template"];
    }
    const MessageTemplate messages(text, golden["tokens"].get<std::map<std::string, std::string>>(), name);
    const auto expected = hashes.get<std::string>();
    int different = 0;
    for (int seed = 0; seed < 1000; ++seed) {
      Sha256 hash;
      hash.add(golden_prompt(messages, words, seed, name == "channels"));
      different += first_digits(hash.finish()) != expected.substr(std::size_t(seed) * 8, 8);
    }
    CHECK(different == 0);
    ++templates;
  }
  CHECK(templates >= 5);
}

TEST_CASE("Words that somebody typed place no picture") {
  const MessageTemplate published(detail::read_text(messages_folder + "published.jinja"), {}, "a template");
  CHECK(written(published, "<image>\nWhat is <IMG_CONTEXT>?", 1, {{"Hi", "<image> and <IMG_CONTEXT>"}}) ==
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<image> and <IMG_CONTEXT><|im_end|>\n"
        "<|im_start|>user\n<img><IMG_CONTEXT></img>\nWhat is <IMG_CONTEXT>?<|im_end|>\n<|im_start|>assistant\n");
  const MessageTemplate first(detail::read_text(messages_folder + "first_release.jinja"), {}, "a template");
  CHECK(written(first, "<image>\nAnd?", 1, {{"Hi", "Say <image>."}}) ==
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSay <image>.<|im_end|>\n"
        "<|im_start|>user\n<img><IMG_CONTEXT></img>\nAnd?<|im_end|>\n<|im_start|>assistant\n");
  CHECK(written(published, "a <image> b", 0) == "<|im_start|>user\na <image> b<|im_end|>\n<|im_start|>assistant\n");
  CHECK(written(published, "\xff", 0).find("user\n\uFFFD<|im_end|>") != std::string::npos);
}

TEST_CASE("A template that cannot write a conversation says so") {
  const auto why = [](const std::string& text) {
    return error_of<FileError>([&] { MessageTemplate(text, {}, "folder/chat_template.jinja"); });
  };
  CHECK(why("{% for message in messages %}{{ message.role }}{% endfor %}") ==
        "folder/chat_template.jinja: expected a template that writes questions, answers and pictures, of contents as "
        "lists or as text; as text: it leaves out words, or the picture");
  CHECK(why("{{ raise_exception('not today') }}")
            .ends_with("as text: folder/chat_template.jinja: the template refuses the conversation: not today"));
  CHECK(why("{% for message %}").find("folder/chat_template.jinja") == 0);

  // One that drops what the first message says.
  const MessageTemplate last(
      "{% for m in messages %}{% if loop.index > loop.length - 3 %}{{ m.content }}{% endif %}{% endfor %}", {}, "last");
  CHECK(error_of<RequestError>([&] {
          written(last, "<image>\nC?", 2, {{"<image>\nA?", "a"}, {"B?", "b"}});
        }) == "last: the template writes 1 of the conversation's 2 pictures");
  CHECK(error_of<RequestError>([&] { written(last, "C?", 1); }) ==
        "prompt: 1 images, but 0 <image> marks in the question and its history; expected one mark an image");
  const MessageTemplate strict(
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
      "{% endif %}{{ m.content }}{% endfor %}",
      {}, "strict");
  CHECK(error_of<RequestError>([&] { strict.render_segments("Be brief.", {}, "Hi", 0); }) ==
        "strict: the template refuses the conversation: no system");
}

TEST_CASE("Of a folder's templates the one counts that transformers takes") {
  const TemporaryFolder folder;
  const auto found = [&] {
    const auto messages = MessageTemplate::from_folder(folder.path());
    return messages ? written(*messages, "Q", 0) : "none";
  };
  const auto saying = [](std::string_view name) {
    return "{% for m in messages %}{{ m.content }} {% endfor %}" + std::string(name);
  };
  const auto key = [&](std::string_view name) { return nlohmann::json{{"chat_template", saying(name)}}.dump(); };
  CHECK(found() == "none");
  folder.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  CHECK(found() == "none");
  folder.write("tokenizer_config.json", key("tokenizer"));
  CHECK(found() == "Q tokenizer");
  folder.write("tokenizer_config.json", nlohmann::json{{"chat_template",
                                                        {{{"name", "rag"}, {"template", saying("rag")}},
                                                         {{"name", "default"}, {"template", saying("default")}}}}}
                                            .dump());
  CHECK(found() == "Q default");
  folder.write("chat_template.jinja", saying("jinja"));
  CHECK(found() == "Q jinja");
  folder.write("chat_template.json", key("json"));
  CHECK(found() == "Q json");
  folder.write("processor_config.json", R"({"image_seq_length": 256})");
  CHECK(found() == "Q json");
  folder.write("processor_config.json", key("processor"));
  CHECK(found() == "Q processor");
  folder.write("processor_config.json", R"({"chat_template": 5})");
  CHECK(error_of<FileError>(found) ==
        (folder / "processor_config.json").string() +
            ": chat_template: expected a text, or several by name with one named default, found number");
}

TEST_CASE("A template reads the special tokens by name") {
  const TemporaryFolder folder;
  folder.write("chat_template.jinja",
               "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{{ video_token }}");
  folder.write("special_tokens_map.json", R"({"bos_token": "<map>"})");
  const auto found = [&] { return written(*MessageTemplate::from_folder(folder.path()), "Q", 0); };
  CHECK(found() == "<map>Q");
  folder.write("tokenizer_config.json",
               R"({"bos_token": null, "eos_token": {"content": "</s>", "lstrip": false}, "added_tokens_decoder": {},
                   "extra_special_tokens": {"video_token": "<video>"}})");
  CHECK(found() == "Q</s><video>");
}

}  // namespace
