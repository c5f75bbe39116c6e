// What the model sees of a video, and whole conversations about one.
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "tests/programs/run.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const std::string videos = "tests/golden/video/";
const std::string inspect_video = "inspect_inputs --checkpoint examples/drawn_scenes/checkpoint --video ";
const std::string ask_video = "describe_video" + toy + " --video ";

#ifdef IVL_FFMPEG

Json seen_of(const std::string& flags) {
  const Ran ran = run(inspect_video + videos + flags);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return parse_json(ran.out, "inspect_inputs");
}

#endif

}  // namespace

#ifdef IVL_FFMPEG

TEST_CASE("inspect_inputs shows the frames of a video that the flags choose") {
  using Frames = std::vector<int>;
  const Json reference = seen_of("b_frames.mp4 --question What?");
  CHECK(reference["frames"] == Frames{18, 55, 93, 130, 168, 205, 242, 280});
  CHECK(reference["times_s"][0] == doctest::Approx(0.6));
  CHECK(reference["video"]["frames"] == 300);
  CHECK(reference["images"].size() == 8);
  CHECK(reference["images"][7]["tiles"] == 1);
  const std::string prompt = reference["prompt"];
  CHECK(contains(prompt, "user\nFrame1: <img>"));
  CHECK(contains(prompt, "</img>\nFrame8: <img>"));
  CHECK(contains(prompt, "</img>\nWhat?"));
  CHECK(seen_of("b_frames.mp4 --segments 4 --range 2,6")["frames"] == Frames{75, 105, 135, 165});
  CHECK(seen_of("b_frames.mp4 --sampling uniform --segments 3")["frames"] == Frames{0, 149, 299});
  CHECK(seen_of("varying.mp4 --every-s 5")["frames"] == Frames{0, 50, 100});
  CHECK(seen_of("b_frames.mp4 --segments 1 --max-tiles 6")["images"][0]["tiles"] == 7);
  CHECK(seen_of("b_frames.mp4 --segments 1 --question '<image> Why?'")["prompt"].get<std::string>().find("Frame1") ==
        std::string::npos);
  for (const char* wrong : {" --every-s 1 --segments 2", " --every-s 1 --sampling uniform", " --combined", " --range 1",
                            " --image x.png", " --orientation stored", " --sampling other"})
    CHECK(run(inspect_video + videos + "b_frames.mp4" + wrong).code == 2);
  CHECK(run("inspect_inputs --checkpoint examples/drawn_scenes/checkpoint --segments 2").code == 2);
}

TEST_CASE("a conversation about a video is the one that transformers has about its frames") {
  const Json flows = parse_json(text_of(IVL_SOURCE_DIR "/tests/golden/flows.json"), "flows.json");
  const auto flow = std::find_if(flows["toys"].begin(), flows["toys"].end(), [](const Json& one) {
    return one["toy"] == "hf" && one["flow"] == "video multi-round conversation";
  });
  REQUIRE(flow != flows["toys"].end());
  // Its pictures are frames 0 and 2 of the video.
  std::string command = ask_video + videos + "scenes.mp4 --segments 2 --json";
  for (const Json& turn : (*flow)["turns"]) {
    const std::string question = turn["question"];
    const auto marks = question.rfind("<image>\n");
    command += " --question '" + (marks == question.npos ? question : question.substr(marks + 8)) + "'";
  }
  const Ran ran = run(command);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  CHECK(contains(ran.err, "scenes.mp4: 4 frames of 448 x 448, 30 a second; seen: 0 2\n"));
  std::istringstream lines(ran.out);
  std::string line;
  for (const Json& turn : (*flow)["turns"]) {
    REQUIRE(std::getline(lines, line));
    const Json answer = parse_json(line, "answer");
    CHECK(answer["text"] == turn["answer"]);
    CHECK(answer["ids"] == turn["ids"]);
    CHECK(answer["frames"] == std::vector<int>{0, 2});
    int tokens = 0;
    for (const int id : turn["prompt_ids"]) tokens += id < 0 ? -id : 1;
    CHECK(answer["prompt_tokens"] == tokens);
    for (const char* key : {"question", "finish", "timings_ms", "times_s", "images"}) CHECK(answer.contains(key));
  }
  CHECK(!std::getline(lines, line));
}

TEST_CASE("a video that cannot be seen is refused before weights are read, in one line") {
  const auto refused = [](const std::string& command, const std::string& said) {
    const Ran ran = run(command);
    CAPTURE(ran.err);
    CHECK(ran.code == 1);
    CHECK(ran.out.empty());
    CHECK(contains(ran.err, said));
    CHECK(!contains(ran.err, "M parameters"));
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') <= 2);  // the video's own line, and the error
  };
  const std::string too_many = ask_video + videos + "b_frames.mp4 --segments 300";
  refused(too_many, "--segments N takes fewer frames");
  CHECK(!contains(run(too_many).err, "seen:"));
  refused(ask_video + videos + "b_frames.mp4 --range 20,30", "expected a time range inside 10 s, found 20 s to 30 s");
  refused(ask_video + videos + "refused/audio_only.mp4", "expected a video stream among 1, found none");
  refused(ask_video + "none.mp4", "none.mp4: cannot read the video: No such file or directory");
  refused(ask_video + videos + "b_frames.mp4 --segments 2 --question ''", "question");
  CHECK(run(ask_video + videos + "b_frames.mp4 --combined").code == 2);
}

TEST_CASE("of a damaged video the frames that are there are seen, and a note says so") {
  std::string damaged = text_of(IVL_SOURCE_DIR "/" + videos + "mjpeg.avi");
  std::size_t at = damaged.find("movi");
  for (int chunk = 0; chunk <= 5; ++chunk) at = damaged.find("00dc", at + 4);
  const std::size_t next = damaged.find("00dc", at + 4);
  std::fill(damaged.begin() + std::ptrdiff_t(at) + 8, damaged.begin() + std::ptrdiff_t(next), '\0');
  const auto file = work_folder().write("damaged.avi", damaged);
  const Ran ran = run(ask_video + file.string() + " --segments 20 --max-new-tokens 1");
  CHECK(ran.code == 0);
  CHECK(contains(ran.err, "note: the video is damaged: 1 packet could not be decoded"));
}

#else

TEST_CASE("without FFmpeg a video is refused with the way to get it") {
  for (const std::string& program : {ask_video, inspect_video}) {
    const Ran ran = run(program + videos + "b_frames.mp4");
    CHECK(ran.code == 1);
    CHECK(contains(ran.err, "install its libraries (Debian, Ubuntu: libavformat-dev libavcodec-dev libswscale-dev)"));
  }
}

#endif
