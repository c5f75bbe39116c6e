#include "ivl/image/video_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/video.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

const std::filesystem::path video_folder = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/video";

#ifdef IVL_FFMPEG

/// The number that tests/golden/make_video.py drew along the foot of a frame.
int number_of(const Image& image) {
  int number = 0;
  for (int bit = 0; bit < 10; ++bit) {
    const int x = image.width * bit / 10 + image.width / 20, y = image.height - 7;
    number |= int(image.rgb[std::size_t((y * image.width + x) * 3 + 1)] > 128) << bit;
  }
  return number;
}

template <class Check>
void for_each_video(const Check& check) {
  const Json golden = read_json(video_folder / "video.json");
  CHECK(golden["videos"].size() > 20);
  for (const Json& facts : golden["videos"]) {
    const auto name = field<std::string>(facts, "file", "video.json");
    CAPTURE(name);
    check(facts, name, std::make_shared<VideoFile>(video_folder / name));
  }
}

TEST_CASE("counts, rates, sizes and indices of videos are decord's") {
  for_each_video([](const Json& facts, const std::string&, const std::shared_ptr<VideoFile>& video) {
    CHECK(video->frames() == facts["frames"]);
    CHECK(video->frames_per_s() == facts["frames_per_s"]);
    CHECK(video->size().width == facts["width"]);
    CHECK(video->size().height == facts["height"]);
    using Indices = std::vector<std::int64_t>;
    CHECK(frame_indices(video->frames(), video->frames_per_s(), 8) == facts["indices"].get<Indices>());
    CHECK(uniform_frame_indices(video->frames(), video->frames_per_s(), 7) == facts["uniform"].get<Indices>());
    if (!facts.contains("range_s")) return;
    const TimeRange range{facts["range_s"][0], facts["range_s"][1]};
    CHECK(frame_indices(video->frames(), video->frames_per_s(), 4, range) == facts["indices_of_range"].get<Indices>());
  });
}

/// decord seeks to the wrong place in these, and gives frames that it was not asked for. All their frames are shown.
bool is_lost_by_decord(const std::string& name) { return name == "mpeg4_b_frames.avi" || name == "mpeg2.ts"; }

std::vector<int> numbers_of(const std::vector<Picture>& pictures) {
  std::vector<int> numbers;
  for (const Picture& picture : pictures) numbers.push_back(number_of(*picture.image()));
  return numbers;
}

TEST_CASE("the frames that are chosen of a video are those that decord gives for them") {
  for_each_video([](const Json& facts, const std::string& name, const std::shared_ptr<VideoFile>& video) {
    const auto indices = facts["indices"].get<std::vector<std::int64_t>>();
    const auto pictures = pictures_of(video, indices, {.max_tiles = 1});
    if (is_lost_by_decord(name)) {
      CHECK(numbers_of(pictures) == std::vector<int>(indices.begin(), indices.end()));
      return;
    }
    if (facts.contains("seen")) CHECK(numbers_of(pictures) == facts["seen"].get<std::vector<int>>());

    const Image golden = read_image(video_folder / (name + ".png"));
    std::vector<std::uint8_t> ours;
    for (const std::size_t i : {std::size_t(1), pictures.size() - 2}) {
      const auto image = pictures[i].image();
      CHECK(image->width == pictures[i].size().width);
      ours.insert(ours.end(), image->rgb.begin(), image->rgb.end());
    }
    REQUIRE(ours.size() == golden.rgb.size());
    int largest = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) largest = std::max(largest, std::abs(ours[i] - golden.rgb[i]));
    CHECK(largest <= 2);  // 0 with FFmpeg 5.1
  });
}

TEST_CASE("every frame of a video is found, forwards and backwards") {
  for_each_video([](const Json& facts, const std::string& name, const std::shared_ptr<VideoFile>& video) {
    if (!facts.contains("numbers")) return;
    auto numbers = facts["numbers"].get<std::vector<int>>();
    if (is_lost_by_decord(name)) std::iota(numbers.begin(), numbers.end(), 0);
    if (name == "edit_list_groups.mp4") {  // from the second key frame on decord counts the frames that are hidden too
      std::iota(numbers.begin() + 30, numbers.end(), 30);
    }
    std::vector<int> forwards, backwards;
    for (std::int64_t i = 0; i < video->frames(); ++i) forwards.push_back(number_of(video->frame(i)));
    CHECK(forwards == numbers);
    for (std::int64_t i = video->frames() - 1; i >= 0; i -= 3) {
      backwards.push_back(number_of(video->frame(i)));
      CHECK(backwards.back() == numbers[std::size_t(i)]);
    }
    CHECK(video->damaged() == 0);
  });
}

TEST_CASE("only the groups of frames that hold what is wanted are decoded") {
  VideoFile video(video_folder / "b_frames.mp4");  // a key frame each 50
  constexpr int ahead = 6;                         // that B-frames make the decoder hold
  CHECK(number_of(video.frame(255)) == 255);
  CHECK(video.decoded() <= 6 + ahead);
  CHECK(number_of(video.frame(10)) == 10);
  CHECK(video.decoded() <= 6 + 11 + 2 * ahead);
  CHECK(number_of(video.frame(30)) == 30);  // goes on
  CHECK(video.decoded() <= 6 + 31 + 2 * ahead);
  CHECK(number_of(video.frame(30)) == 30);  // is at hand
  CHECK(video.decoded() <= 6 + 31 + 2 * ahead);
}

TEST_CASE("times of frames begin at 0, whatever the file's begin at") {
  CHECK(VideoFile(video_folder / "starts_at_5.mp4").time_s(0) == 0);
  CHECK(VideoFile(video_folder / "starts_at_5.mp4").time_s(30) == doctest::Approx(1));
  CHECK(VideoFile(video_folder / "varying.mkv").time_s(150) == doctest::Approx(11));
  CHECK(VideoFile(video_folder / "edit_list.mp4").time_s(6) == doctest::Approx(0.2));
  CHECK(VideoFile(video_folder / "mpeg4_b_frames.avi").time_s(15) == doctest::Approx(0.5));
}

TEST_CASE("frames by seconds are those that are shown then, whatever the rate") {
  using Indices = std::vector<std::int64_t>;
  const VideoFile varying(video_folder / "varying.mp4");  // 100 frames at 10 a second, then 100 at 50
  CHECK(frames_by_time(varying, 2.5) == Indices{0, 25, 50, 75, 100});
  CHECK(frames_by_time(varying, 0.625, TimeRange{9.75, 11.5}) == Indices{97, 118, 150});
  CHECK(frames_by_time(varying, 100) == Indices{0});
  // The first 20 frames are hidden, and decord counts them from the second key frame on.
  CHECK(frames_by_time(VideoFile(video_folder / "edit_list_groups.mp4"), 1) == Indices{0, 50, 80});
  CHECK(frames_by_time(varying, 5, TimeRange{-3, 1e9}) == Indices{0, 50, 100});
  CHECK(test::error_of<RequestError>([&] { frames_by_time(varying, 1e-9); }) ==
        "video: expected seconds between frames that take each of its 200 at most once, found 1e-09");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double every_s : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(frames_by_time(varying, every_s), RequestError);
  CHECK_THROWS_AS(frames_by_time(varying, 1, TimeRange{12, 13}), RequestError);
  CHECK_THROWS_AS(frames_by_time(varying, 1, TimeRange{nan, 1}), RequestError);
  CHECK_THROWS_AS(frames_by_time(varying, 1, TimeRange{3, 2}), RequestError);
}

TEST_CASE("keys of frames tell frames and videos apart, and hidden frames are the one before") {
  const auto video = std::make_shared<VideoFile>(video_folder / "edit_list.mp4");
  const std::int64_t frames[] = {3, 70, 3, 85, 99};
  const auto pictures = pictures_of(video, frames, {.max_tiles = 1});
  CHECK(key_of(pictures[0]) == key_of(pictures[2]));
  CHECK(key_of(pictures[0]) != key_of(pictures[1]));
  CHECK(key_of(pictures[3]) == key_of(pictures[0]));
  CHECK(key_of(pictures[4]) == key_of(pictures[0]));
  const auto again = std::make_shared<VideoFile>(video_folder / "edit_list.mp4");
  CHECK(key_of(pictures_of(again, frames, {.max_tiles = 1})[0]) != key_of(pictures[0]));
  CHECK(pictures[0].tiles() == 1);
  CHECK_THROWS_AS(pictures_of(video, std::vector<std::int64_t>{100}, {}), RequestError);
  CHECK(test::error_of<RequestError>([&] {
          video->frame(-1);
        }).ends_with("edit_list.mp4: expected a frame from 0 to 99, found -1"));
}

std::string text_of(const std::filesystem::path& path) {
  const auto bytes = test::bytes_of_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Exception>
std::string refusal(const std::filesystem::path& path, const VideoOptions& options = {}) {
  const std::string whole = test::error_of<Exception>([&] { VideoFile(path, options); });
  REQUIRE(whole.starts_with(path.string() + ": "));
  return whole.substr(path.string().size() + 2);
}

TEST_CASE("what is no video that we read is refused by its name") {
  const test::TemporaryFolder folder;
  CHECK(refusal<FileError>(folder / "none.mp4") == "cannot read the video: No such file or directory");
  CHECK(refusal<FileError>(folder.path()) ==
        "cannot read the video: expected a file, found a folder, a pipe or a device");
  const std::string nothing = "expected a video, found no container that FFmpeg knows";
  CHECK(refusal<ImageError>(folder.write("empty.mp4", "")) == nothing);
  CHECK(refusal<ImageError>(folder.write("text.mp4", "This is no video.\n")) == nothing);
  const std::string containers = "expected MP4, QuickTime, Matroska, WebM, AVI or MPEG-TS, found ";
  const std::string convert = ": convert it first, such as with ffmpeg -i FILE video.mp4";
  // What names other files and addresses.
  const auto live = folder.write("live.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost/a.ts\n");
  CHECK(refusal<ImageError>(live) == containers + "Apple HTTP Live Streaming (hls)" + convert);
  const auto parts = folder.write("parts.mp4", "ffconcat version 1.0\nfile /etc/passwd\n");
  CHECK(refusal<ImageError>(parts) == containers + "Virtual concatenation script (concat)" + convert);
  const auto refused = video_folder / "refused";
  CHECK(refusal<ImageError>(refused / "one.gif").starts_with(containers + "CompuServe"));
  CHECK(refusal<ImageError>(refused / "still.mjpeg").starts_with(containers));
  CHECK(refusal<ImageError>(refused / "ffv1.mkv") ==
        "expected H.264, HEVC, VP8, VP9, AV1, MPEG-1, -2 or -4 or Motion JPEG, found ffv1" + convert);
  CHECK(refusal<ImageError>(refused / "audio_only.mp4") == "expected a video stream among 1, found none");
  CHECK(refusal<ImageError>(refused / "no_frames.mp4") == "expected a video stream among 0, found none");
  CHECK(refusal<ImageError>(refused / "cover.m4a") == "expected a video stream, found none but a cover picture");
}

TEST_CASE("a video that is cut is refused, or gives what is there") {
  const test::TemporaryFolder folder;
  const auto half = [&](const char* name, std::size_t bytes) {
    return folder.write(name, text_of(video_folder / name).substr(0, bytes));
  };
  CHECK(refusal<ImageError>(half("b_frames.mp4", 15'000)) ==
        "cannot open QuickTime / MOV: Invalid data found when processing input (an MP4 that was cut has often lost its "
        "index, which lies at the end)");
  CHECK(refusal<ImageError>(half("mjpeg.avi", text_of(video_folder / "mjpeg.avi").find("movi") + 4)) ==
        "expected at least one frame of video, found none");
  VideoFile cut(half("mpeg4.avi", 9000));
  CHECK(cut.frames() > 20);
  CHECK(number_of(cut.frame(20)) == 20);
}

TEST_CASE("frames that are too large and packets that are too many are refused before one is decoded") {
  const test::TemporaryFolder folder;
  std::string lie = text_of(video_folder / "mjpeg.avi");
  const std::string sides("\x00\x30\x00\x50", 4);  // 48 x 80, in the JPEGs
  for (auto at = lie.find(sides); at != lie.npos; at = lie.find(sides, at + 4)) lie.replace(at, 4, 4, '\xff');
  const std::string stored("\x50\x00\x00\x00\x30\x00\x00\x00", 8);  // in the header
  for (auto at = lie.find(stored); at != lie.npos; at = lie.find(stored, at + 8))
    lie.replace(at, 8, std::string("\xff\xff\x00\x00\xff\xff\x00\x00", 8));
  CHECK(refusal<ImageError>(folder.write("lie.avi", lie)) ==
        "expected frames of 1 to 16384 pixels a side and of at most 67108864 in all, found a size that FFmpeg cannot "
        "tell, or refuses");
  const auto video = video_folder / "b_frames.mp4";
  CHECK(refusal<ImageError>(video, {.limits = {.pixels = 80 * 48 - 1}}).ends_with("found 80 x 48"));
  CHECK(refusal<ImageError>(video, {.limits = {.packets = 299}}) ==
        "expected at most 299 packets of video, found more");
  CHECK(VideoFile(video, {.limits = {.side_px = 80, .pixels = 80 * 48, .packets = 300}}).frames() == 300);
}

TEST_CASE("a frame that is damaged is the one before it, and is counted") {
  const test::TemporaryFolder folder;
  for (const char* name : {"mjpeg.avi", "mpeg4.avi"}) {  // key frames alone, and a key frame each 20
    std::string damaged = text_of(video_folder / name);
    std::size_t at = damaged.find("movi");
    for (int chunk = 0; chunk <= 4; ++chunk) at = damaged.find("00dc", at + 4);
    const auto bytes = std::size_t(std::uint8_t(damaged[at + 4])) + (std::size_t(std::uint8_t(damaged[at + 5])) << 8);
    damaged.replace(at + 8, bytes, bytes, '\0');
    VideoFile video(folder.write(name, damaged));
    CHECK(number_of(video.frame(3)) == 3);
    CHECK(number_of(video.frame(4)) == 3);
    CHECK(video.damaged() == 1);
    CHECK(number_of(video.frame(20 - 1)) == 19);
    CHECK(video.damaged() == 1);
    CHECK(number_of(VideoFile(folder / name).frame(4)) == 3);  // even where decoding begins there
  }
}

#else

TEST_CASE("without FFmpeg a video is refused with the way to get it") {
  const auto path = video_folder / "one_frame.mp4";
  CHECK(test::error_of<ImageError>([&] { VideoFile{path}; }) ==
        path.string() +
            ": ivl was built without FFmpeg, which decodes video: install its libraries (Debian, Ubuntu: "
            "libavformat-dev libavcodec-dev libswscale-dev) and build again");
}

#endif

}  // namespace
