// Every flow of the model cards as a whole conversation with the toys: what transformers says
// (tests/golden/make_flows.py). tests/model/flows_test.cpp looks at their prompts.
#include <algorithm>
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

const Json& golden_flows() {
  static const Json golden = parse_json(text_of(IVL_SOURCE_DIR "/tests/golden/flows.json"), "flows.json");
  return golden;
}

/// The toy's folder. The one with the template of the Qwen3 kind is made of the other.
std::string folder_of(const std::string& toy_name) {
  if (toy_name == "hf") return "examples/drawn_scenes/checkpoint";
  if (toy_name == "internvl3_5_gpt_oss") return "examples/drawn_scenes_moe/checkpoint";
  const auto folder = work_folder() / "flows_github";
  if (!std::filesystem::exists(folder))
    REQUIRE(run("convert --from examples/drawn_scenes/checkpoint --to " + folder.string() + " --format github").code ==
            0);
  return folder.string();
}

std::vector<std::string> files_of(const Json& flow) {
  std::vector<std::string> files;
  for (const std::string name : flow["images"]) files.push_back(demo + name + ".png");
  return files;
}

std::string flags_of(const Json& flow) {
  std::string flags = " --threads 1 --checkpoint " + folder_of(flow["toy"]) + " --max-tiles " +
                      flow["max_tiles"].dump() + " --max-new-tokens " + golden_flows()["longest"].dump();
  if (!flow["system"].is_null()) flags += " --system '" + flow["system"].get<std::string>() + "'";
  if (flow["combined"]) flags += " --combined";
  return flags;
}

/// What is typed for a flow: its pictures, then its questions, which may have several lines.
std::string lines_of(const Json& flow) {
  std::string lines = "/clear\n";
  for (const std::string& file : files_of(flow)) lines += "/image " + file + "\n";
  for (const Json& turn : flow["turns"]) {
    std::string question = turn["question"];
    for (std::size_t at = 0; (at = question.find('\n', at)) != question.npos; at += 2) question.insert(at, "\\");
    lines += question + "\n";
  }
  return lines;
}

std::vector<Json> lines_of_json(const std::string& text) {
  std::vector<Json> objects;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) objects.push_back(parse_json(line, "answers"));
  return objects;
}

int rows_of(const std::vector<int>& ids) {
  int rows = 0;
  for (const int id : ids) rows += id < 0 ? -id : 1;
  return rows;
}

void check_answer(const Json& found, const Json& turn) {
  CAPTURE(found.dump());
  CHECK(found["question"] == turn["question"]);
  CHECK(found["text"] == turn["answer"]);
  CHECK(found["ids"] == turn["ids"]);
  CHECK(found["prompt_tokens"] == rows_of(turn["prompt_ids"]));
  CHECK(found["finish"] == "stop_token");
}

struct Command {
  std::string line, input;
};

/// The commands of docs/flows.md, "$" before each and ">" before what is typed into it, about the toy and its pictures.
std::vector<Command> documented_commands() {
  const auto requests =
      work_folder().write("documented.jsonl", R"({"question": "<image>\nDescribe the image in detail.", "images": [")" +
                                                  demo + "hill.png\"]}");
  const std::pair<std::string, std::string> ours[] = {{"InternVL3_5-8B", "examples/drawn_scenes/checkpoint"},
                                                      {"image1.jpg", demo + "shelf_one.png"},
                                                      {"image2.jpg", demo + "shelf_two.png"},
                                                      {"red-panda.mp4", "tests/golden/video/scenes.mp4"},
                                                      {"requests.jsonl", requests.string()}};
  std::vector<Command> commands;
  std::istringstream page(text_of(IVL_SOURCE_DIR "/docs/flows.md"));
  for (std::string line; std::getline(page, line);) {
    for (const auto& [name, our_name] : ours)
      for (std::size_t at = 0; (at = line.find(name, at)) != line.npos; at += our_name.size())
        line.replace(at, name.size(), our_name);
    if (line.starts_with("    $ ")) commands.push_back({line.substr(6), ""});
    if (line.starts_with("    > ")) commands.back().input += line.substr(6) + "\n";
  }
  return commands;
}

}  // namespace

TEST_CASE("conversations of every flow with the toys are those of transformers, to the last token") {
  // Those with the same flags are one run of chat.
  std::vector<std::pair<std::string, std::vector<Json>>> runs;
  for (const Json& flow : golden_flows()["toys"]) {
    const std::string flags = flags_of(flow);
    auto same = std::find_if(runs.begin(), runs.end(), [&](const auto& run) { return run.first == flags; });
    if (same == runs.end()) same = runs.insert(same, {flags, {}});
    same->second.push_back(flow);
  }
  CHECK(runs.size() == 8);
  int turns = 0;
  for (const auto& [flags, flows] : runs) {
    CAPTURE(flags);
    std::string lines;
    for (const Json& flow : flows) lines += lines_of(flow);
    const Ran ran = run("chat --json --quiet" + flags, lines);
    REQUIRE(ran.code == 0);
    CHECK(ran.err.empty());
    const std::vector<Json> answers = lines_of_json(ran.out);
    std::size_t answer = 0;
    for (const Json& flow : flows) {
      CAPTURE(flow["flow"]);
      for (const Json& turn : flow["turns"]) {
        REQUIRE(answer < answers.size());
        check_answer(answers[answer++], turn);
        ++turns;
      }
    }
    CHECK(answer == answers.size());
  }
  CHECK(turns == 37);
}

TEST_CASE("the flows' first questions in one batch have the answers of each alone") {
  for (const std::string toy_name : {"hf", "internvl2_5", "internvl3_5_gpt_oss"}) {
    CAPTURE(toy_name);
    std::string requests, flags;
    std::vector<Json> turns;
    for (const Json& flow : golden_flows()["toys"]) {
      if (flow["toy"] != toy_name || flow["combined"] || flow["max_tiles"] != 4) continue;
      flags = flags_of(flow);
      turns.push_back(flow["turns"][0]);
      requests += Json{{"question", turns.back()["question"]}, {"images", files_of(flow)}}.dump() + "\n";
    }
    REQUIRE(turns.size() == 6);
    for (const std::string together : {"8", "2"}) {
      const Ran ran = run("batch_chat --json --quiet --requests - --together " + together + flags, requests);
      REQUIRE(ran.code == 0);
      const std::vector<Json> answers = lines_of_json(ran.out);
      REQUIRE(answers.size() == turns.size());
      for (std::size_t n = 0; n < turns.size(); ++n) check_answer(answers[n], turns[n]);
    }
  }
}

TEST_CASE("the commands of docs/flows.md run") {
  int ran = 0;
  for (const Command& command : documented_commands()) {
    ++ran;
#ifndef IVL_FFMPEG
    if (command.line.starts_with("describe_video")) continue;
#endif
    CAPTURE(command.line);
    const Ran result = run(command.line + " --threads 1", command.input);
    CAPTURE(result.err);
    CHECK(result.code == 0);
    CHECK(!contains(result.err, "error"));
    CHECK(!result.out.empty());
  }
  CHECK(ran == 11);
}

TEST_CASE("LMDeploy's pipelines answer as the other programs do") {
  const std::string one = " --image " + demo + "shelf_one.png", two = " --image " + demo + "shelf_two.png";
  const auto described = [&](const std::string& flags) { return run("describe_image" + toy + flags).out; };
  const std::string first = described(one + " --question 'describe this image'");
  CHECK(first != "\n");
  CHECK(run("hello_world" + toy + one).out == first);
  CHECK(run("batch_of_prompts" + toy + one + two).out == first + described(two + " --question 'describe this image'"));
  CHECK(run("several_pictures" + toy + one + two).out ==
        described(one + two + " --question 'Image-1: <image>\nImage-2: <image>\ndescribe these two images'"));
  CHECK(run("several_pictures" + toy + one).code == 2);
  CHECK(run("sessions" + toy + one + " --question 'And how many circles?'").out ==
        run("chat" + toy, "/image " + demo + "shelf_one.png\ndescribe this image\nAnd how many circles?\n").out);
}
