// How the programs take pictures: which way up, with how much memory, and what they refuse before they decode.
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "ivl/files/json.hpp"
#include "tests/programs/run.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const std::string inspect = "inspect_inputs --checkpoint examples/drawn_scenes/checkpoint --max-tiles 1";
const std::string turned_picture = " --image tests/golden/decoded/exif_ii_6.jpg";

Json first_picture(const std::string& flags) {
  const Ran ran = run(inspect + flags);
  REQUIRE(ran.code == 0);
  return parse_json(ran.out, "inspect_inputs")["images"][0];
}

/// A JPEG of 4000 x 3000 grey pixels, by tables in which a bit is a code: 50 KB.
std::string large_jpeg(const std::string& comment) {
  const auto segment = [](char marker, const std::string& data) {
    const std::size_t bytes = data.size() + 2;
    return std::string{'\xff', marker, char(bytes >> 8), char(bytes & 255)} + data;
  };
  const std::string one_code = '\1' + std::string(15, '\0') + '\0';
  const std::string frame("\x08\x0b\xb8\x0f\xa0\x01\x01\x11\x00", 9), scan("\x01\x01\x00\x00\x3f\x00", 6);
  return "\xff\xd8" + segment('\xfe', comment) + segment('\xdb', '\0' + std::string(64, '\1')) +
         segment('\xc0', frame) + segment('\xc4', '\0' + one_code) + segment('\xc4', '\x10' + one_code) +
         segment('\xda', scan) + std::string(500 * 375 * 2 / 8, '\0') + "\xff\xd9";
}

/// Memory that the program had at its most, in MB. `input` is what it reads.
long peak_mb(const std::string& command, const std::string& input = "") {
  const auto lines = work_folder().write("lines", input);
  const std::string line =
      "cd " IVL_SOURCE_DIR " && exec " IVL_BIN_DIR "/" + command + " <" + lines.string() + " >/dev/null 2>/dev/null";
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  rusage used{};
  REQUIRE(wait4(child, &status, 0, &used) == child);
  CHECK(status == 0);
  return used.ru_maxrss / 1024;
}

}  // namespace

TEST_CASE("the HF format's pictures come upright, the GitHub format's as stored, and a flag decides") {
  const Json upright = first_picture(turned_picture), stored = first_picture(turned_picture + " --orientation stored");
  CHECK(upright["width"] == 16);
  CHECK(upright["height"] == 24);
  CHECK(stored["width"] == 24);
  CHECK(stored["height"] == 16);

  const auto github = work_folder() / "github";
  CHECK(run("convert --from examples/drawn_scenes/checkpoint --to " + github.string() + " --format github").code == 0);
  const std::string folder = "inspect_inputs --checkpoint " + github.string() + turned_picture;
  CHECK(parse_json(run(folder).out, "github")["images"][0]["width"] == 24);
  CHECK(parse_json(run(folder + " --orientation upright").out, "github")["images"][0]["width"] == 16);
  CHECK(run(inspect + turned_picture + " --orientation left").code == 2);
}

TEST_CASE("a flag puts pictures on white") {
  const auto tiles = [](const std::string& flags) {
    const auto file = work_folder() / "tiles.safetensors";
    CHECK(run(inspect + " --image tests/golden/decoded/rgba.png --tiles-out " + file.string() + flags).code == 0);
    return text_of(file);
  };
  const std::string dropped = tiles("");
  CHECK(tiles(" --alpha drop") == dropped);
  CHECK(tiles(" --alpha white") != dropped);
}

TEST_CASE("memory does not grow with the number of pictures") {
  const std::string toy_at_one = toy + " --max-tiles 1 --max-new-tokens 1";
  std::string one, many, lines_of_many;
  for (int i = 0; i < 30; ++i) {
    const auto file = work_folder().write("large_" + std::to_string(i) + ".jpg", large_jpeg(std::to_string(i)));
    many += " --image " + file.string();
    lines_of_many += "/image " + file.string() + "\nWhat?\n";
    if (i == 0) one = many;
  }
  constexpr long decoded_mb = 4000L * 3000 * 3 >> 20;
  const long most = peak_mb("describe_image" + toy_at_one + one) + 2 * decoded_mb;  // what is freed may stay a while
  CHECK(most < 10 * decoded_mb);                                                    // where thirty would not fit
  CHECK(peak_mb("describe_image" + toy_at_one + many) < most);
  CHECK(peak_mb("chat" + toy_at_one, lines_of_many) < most);
  CHECK(peak_mb(inspect + many) < decoded_mb);  // decodes none
}

TEST_CASE("what is wrong with pictures and question is said before weights are read") {
  // A folder without weights: who opens the model says so.
  const auto folder = work_folder() / "no_weights";
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator(IVL_SOURCE_DIR "/examples/drawn_scenes/checkpoint")) {
    if (entry.path().extension() == ".json" && entry.path().filename() != "model.safetensors.index.json")
      std::filesystem::copy_file(entry.path(), folder / entry.path().filename());
  }
  const std::string flags = " --checkpoint " + folder.string() + " --threads 1";
  const std::string balloons_alone = " --image " + demo + "balloons.png";
  CHECK(contains(run("describe_image" + flags + balloons_alone).err, "safetensors"));

  const auto cut = work_folder().write("cut.jpg", large_jpeg("").substr(0, 30000));
  const auto deep = work_folder().write("deep.png", "8BPS");
  for (const std::string program : {"describe_image", "ask_many", "take_logits --out x"}) {
    CAPTURE(program);
    CHECK(contains(run(program + flags + " --image " + cut.string()).err, "cut.jpg: truncated"));
    CHECK(contains(run(program + flags + " --image " + deep.string()).err, "deep.png: this is a Photoshop file"));
    CHECK(contains(run(program + flags + " --image nowhere.png").err, "nowhere.png: cannot read the image"));
  }
  std::string many = "describe_image" + flags;
  for (int i = 0; i < 300; ++i) many += balloons_alone;
  const Ran refused = run(many);
  CHECK(refused.code == 1);
  CHECK(contains(refused.err, "300 pictures"));
  CHECK(contains(refused.err, "the model's context"));
  CHECK(contains(refused.err, "--max-tiles"));
  CHECK(contains(run("describe_image" + flags + balloons_alone + " --context 10").err, "there is room for 10"));
  CHECK(
      contains(run("ask_many" + flags + balloons_alone + " --context 200").err, "and 256 of an answer need room for"));
}

TEST_CASE("in a chat a picture whose file changes before its turn costs that question only") {
  const std::string picture = (work_folder() / "changes.png").string();
  std::filesystem::copy_file(IVL_SOURCE_DIR "/" + demo + "balloons.png", picture);
  // `/save` writes over the picture, as nobody else can between two lines of a pipe.
  const std::string ask = "How many red circles are there?\n";
  const Ran ran = run("chat" + toy, "/image " + picture + "\n/save " + picture + "\n" + ask + "/image " + demo +
                                        "balloons.png\n" + ask);
  CHECK(ran.code == 1);
  CHECK(contains(ran.err, picture + ": expected the picture that was opened, found another"));
  CHECK(contains(ran.out, "3"));
}

TEST_CASE("a model with damaged weights gives an error, not an answer") {
  const auto folder = work_folder() / "damaged";
  std::filesystem::copy(IVL_SOURCE_DIR "/examples/drawn_scenes/checkpoint", folder);
  const std::string weights = text_of(folder / "model.safetensors");
  std::string damaged = weights;
  std::fill(damaged.begin() + std::ptrdiff_t(weights.size() / 2), damaged.end(), '\xff');  // NaN in every format
  std::ofstream(folder / "model.safetensors", std::ios::binary) << damaged;
  for (const std::string sampling : {"", " --temperature 0.7"}) {
    const Ran ran = run("describe_image --checkpoint " + folder.string() + " --threads 1" + balloons + sampling);
    CHECK(ran.code == 1);
    CHECK(ran.out.empty());
    CHECK(contains(ran.err, "error: model: token 1 of the answer"));
    CHECK(contains(ran.err, "weights are damaged"));
  }
}

TEST_CASE("--draw-boxes writes the picture with the boxes of the answer, of which the toy knows none") {
  const auto file = work_folder() / "drawn.png";
  const Ran ran = run("describe_image" + toy + balloons + " --draw-boxes " + file.string());
  CHECK(ran.code == 0);
  CHECK(contains(ran.err, "note: the answer holds no box\n"));
  const Json drawn = first_picture(" --image " + file.string()),
             given = first_picture(" --image " + demo + "balloons.png");
  CHECK(drawn["width"] == given["width"]);
  CHECK(drawn["height"] == given["height"]);
  const Ran without = run("describe_image" + toy + " --question hello --draw-boxes " + file.string());
  CHECK(without.code != 0);
  CHECK(contains(without.err, "--draw-boxes requires --image"));
}
