// How the programs take questions and print answers: as text and as JSON, one and several, from files and lines.
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "tests/programs/run.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const std::string balloons_alone = " --image " + demo + "balloons.png", hill = demo + "hill.png";
const std::string how_many = "How many red circles are there?", describe = "Describe the picture.";

/// What `program` prints with --json: an object a line, each with the keys that scripts rely on.
std::vector<Json> json_of(const std::string& command, const std::string& input = "") {
  const Ran ran = run(command + " --json", input);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  std::vector<Json> answers;
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) {
    const Json& answer = answers.emplace_back(parse_json(line, "answer"));
    CHECK(answer["text"].is_string());
    CHECK(answer["ids"].is_array());
    CHECK(answer["prompt_tokens"].is_number_unsigned());
    CHECK(answer["finish"].is_string());
    for (const char* part : {"queue", "vision", "prefill", "decode"}) CHECK(answer["timings_ms"][part] >= 0);
  }
  return answers;
}

/// A JSON array of what --json prints without what differs from run to run.
Json without_times(std::vector<Json> answers) {
  for (Json& answer : answers) {
    answer.erase("timings_ms");
    answer.erase("cached_tokens");
  }
  return answers;
}

std::string request(const std::string& question, const std::vector<std::string>& images) {
  return Json{{"question", question}, {"images", images}}.dump() + "\n";
}

}  // namespace

TEST_CASE("--json prints an answer as one object on a line") {
  const std::vector<Json> answers = json_of("describe_image" + toy + balloons_alone + " --question '" + how_many + "'");
  REQUIRE(answers.size() == 1);
  const Json& answer = answers[0];
  CHECK(answer["question"] == how_many);
  CHECK(answer["text"] == "3");
  CHECK(answer["ids"].size() == 1);
  CHECK(answer["prompt_tokens"] == 66);
  CHECK(answer["finish"] == "stop_token");
  CHECK(answer["images"] == Json::array({{{"width", 672}, {"height", 336}, {"tiles", 3}, {"grid", {2, 1}}}}));
  CHECK(!answer.contains("thought"));

  const std::vector<Json> cut = json_of("describe_image" + toy + balloons_alone + " --max-new-tokens 2");
  CHECK(cut[0]["finish"] == "length");
  CHECK(cut[0]["ids"].size() == 2);
  // gpt-oss's channels, apart.
  const std::string gpt_oss = "describe_image --checkpoint examples/drawn_scenes_moe/checkpoint --threads 1";
  const Json apart = json_of(gpt_oss + balloons_alone + " --question '" + how_many + "' --separate-thoughts")[0];
  CHECK(apart["text"] == "3");
  CHECK(apart["thought"] == "");
}

TEST_CASE("several questions in one run have the answers of each alone") {
  const std::string about = "describe_image" + toy + balloons_alone;
  const auto file = work_folder().write("question.txt", how_many + "\r\n");
  const std::string flags = " --question '" + describe + "' --question 'What color are they?' --prompt-file ";
  const std::vector<Json> together = json_of(about + flags + file.string());
  REQUIRE(together.size() == 3);
  CHECK(together[2]["question"] == how_many);
  std::vector<Json> alone;
  for (const Json& answer : together)
    alone.push_back(json_of(about + " --prompt-file -", answer["question"].get<std::string>())[0]);
  CHECK(without_times(together) == without_times(alone));
}

TEST_CASE("--quiet leaves nothing on stderr, and errors all the same") {
  const Ran quiet = run("describe_image" + toy + balloons + " --quiet");
  CHECK(quiet.code == 0);
  CHECK(quiet.out == "3\n");
  CHECK(quiet.err.empty());
  CHECK(contains(run("describe_image" + toy + " --quiet --image nowhere.png").err, "nowhere.png"));
  CHECK(contains(run("describe_image" + toy + balloons + " --quiet --stats").err, "prompt 66 tokens"));
}

TEST_CASE("a question that is empty, no UTF-8 or cannot be read is one error") {
  const auto error = [](const std::string& flags) {
    const Ran ran = run("describe_image" + toy + balloons_alone + flags);
    CHECK(ran.code == 1);
    CHECK(ran.out.empty());
    return ran.err.substr(ran.err.find("error: "));
  };
  CHECK(error(" --question ' '") == "error: question: expected a text, found none\n");
  CHECK(error(" --prompt-file /dev/null") == "error: question: expected a text, found none\n");
  CHECK(error(" --question 'caf\xe9?'") == "error: question: expected UTF-8, found 'caf\\xe9?'\n");
  CHECK(error(" --prompt-file nowhere") == "error: nowhere: cannot be read: No such file or directory\n");
  CHECK(error(" --prompt-file examples") == "error: examples: cannot be read: Is a directory\n");
  CHECK(contains(error(" --question '<image> or <image>?'"), "1 images, but 2 <image> marks"));
  CHECK(contains(error(" --image " + hill + " --question '<image>?'"), "2 images, but 1 <image> marks"));
}

TEST_CASE("a batch gives each line the answer of that question alone, in order, however many run at once") {
  const std::vector<std::pair<std::string, std::vector<std::string>>> asked = {
      {describe, {hill}}, {how_many, {}}, {how_many, {demo + "balloons.png"}}, {"Which?", {hill, demo + "cafe.png"}}};
  std::string lines = "\n";
  std::vector<Json> alone;
  for (const auto& [question, images] : asked) {
    lines += request(question, images);
    std::string flags = " --question '" + question + "'";
    for (const std::string& image : images) flags += " --image " + image;
    alone.push_back(json_of("describe_image" + toy + flags)[0]);
  }
  const std::string file = work_folder().write("requests.jsonl", lines).string();
  for (const std::string together : {"1", "3", "8"})
    CHECK(without_times(json_of("batch_chat" + toy + " --requests " + file + " --together " + together)) ==
          without_times(alone));
  const Ran text = run("batch_chat" + toy + " --quiet --requests -", request(describe, {hill}) + request(how_many, {}));
  CHECK(text.code == 0);
  CHECK(text.err.empty());
  CHECK(text.out == "User: " + describe + "\nAssistant: " + alone[0]["text"].get<std::string>() +
                        "\nUser: " + how_many + "\nAssistant: " + alone[1]["text"].get<std::string>() + "\n");
}

TEST_CASE("a batch with a bad line is refused by the line's number before weights are read") {
  const auto error = [](const std::string& line) {
    const Ran ran = run("batch_chat" + toy + " --json --quiet --requests -", request(how_many, {}) + line);
    CHECK(ran.code == 1);
    CHECK(ran.out.empty());
    const std::string begin = "error: standard input: line 2: ";
    REQUIRE(ran.err.starts_with(begin));
    return ran.err.substr(begin.size());
  };
  CHECK(contains(error("{\"question\": \"a\""), "not valid JSON"));
  CHECK(contains(error("[1]"), "expected an object, found an array"));
  CHECK(contains(error("{}"), "question: expected a value, found none"));
  CHECK(contains(error("{\"question\": 3}"), "question: expected a string, found 3"));
  CHECK(contains(error("{\"question\": \"a\", \"images\": \"b\"}"), "images: expected an array"));
  CHECK(contains(error("{\"question\": \"a\", \"image\": \"b\"}"), "the keys question and images, found 'image'"));
  CHECK(contains(error(request("\n", {})), "question: expected a text, found none"));
  CHECK(contains(error("{\"question\": \"\xff\"}"), "UTF-8"));
  CHECK(contains(error(request("a", {"nowhere.png"})), "nowhere.png: cannot read the image"));
  CHECK(contains(error(request("<image>, <image>", {hill})), "1 images, but 2 <image> marks"));
  CHECK(contains(error(request(std::string(9000, 'x'), {})), "there is room for"));
  CHECK(run("batch_chat" + toy + " --requests -", "{}").err.starts_with("error: standard input: line 1: question: "));
  CHECK(contains(run("batch_chat" + toy + " --requests /dev/null").err, "expected a question on a line, found none"));
}

TEST_CASE("a batch goes on past an answer that fails, and says so where it belongs") {
  std::string damaged = text_of(IVL_SOURCE_DIR "/" + hill);
  for (std::size_t at = damaged.size() / 2; at < damaged.size() / 2 + 40; ++at) damaged[at] = char(~damaged[at]);
  const std::string file = work_folder().write("damaged.png", damaged).string();
  const std::string lines = request(how_many, {}) + request(describe, {file}) + request(describe, {hill});
  const Ran ran = run("batch_chat" + toy + " --quiet --json --requests -", lines);
  CHECK(ran.code == 1);
  CHECK(ran.err.starts_with("error: standard input: line 2: " + file + ": cannot decode the picture: "));
  std::vector<Json> answers;
  std::istringstream printed(ran.out);
  for (std::string line; std::getline(printed, line);) answers.push_back(parse_json(line, "answer"));
  REQUIRE(answers.size() == 3);
  CHECK(answers[0]["text"] == "0");
  CHECK(answers[1]["question"] == describe);
  CHECK(contains(answers[1]["error"].get<std::string>(), "cannot decode the picture"));
  CHECK(answers[2]["text"] == "There is one green triangle and one orange circle.");
  CHECK(contains(run("batch_chat" + toy + " --requests - --context 2000000000", lines).err, "--together N"));
}
