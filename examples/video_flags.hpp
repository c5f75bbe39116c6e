// Flags about a video and the frames of it that are seen.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/image/video.hpp"
#include "ivl/image/video_file.hpp"
#include "ivl/text/chat_template.hpp"

/// Frames of one video that are seen, as numbers and as pictures.
struct ChosenFrames {
  std::shared_ptr<ivl::VideoFile> video;
  std::vector<std::int64_t> numbers;
  std::vector<ivl::Picture> pictures;

  /// What JSON says of them.
  nlohmann::ordered_json json() const {
    std::vector<double> times_s;
    for (const std::int64_t frame : numbers) times_s.push_back(video->time_s(frame));
    return {{"frames", numbers},
            {"times_s", times_s},
            {"video",
             {{"frames", video->frames()},
              {"frames_per_s", video->frames_per_s()},
              {"width", video->size().width},
              {"height", video->size().height}}}};
  }

  /// What goes before a question about them: a mark for each, unless the question has marks itself.
  std::string marks(std::string_view question) const {
    return question.find(ivl::image_mark) == question.npos ? ivl::frame_marks(int(numbers.size())) : "";
  }
};

struct VideoFlags {
  std::string file, sampling = "reference";
  int segments = 8;
  std::vector<double> range_s;
  std::optional<double> every_s;

  /// Returns the option that names the file.
  CLI::Option* add_to(CLI::App& app) {
    CLI::Option* video = app.add_option("--video", file, "MP4, QuickTime, Matroska, WebM, AVI or MPEG-TS");
    const auto add = [&](CLI::Option* option) { return option->needs(video); };
    CLI::Option* number = add(app.add_option("--segments", segments, "how many frames are seen"))
                              ->capture_default_str()
                              ->check(CLI::Range(1, 100'000));
    add(app.add_option("--range", range_s, "only from second A to second B of the video, given as A,B"))
        ->delimiter(',')
        ->expected(2);
    CLI::Option* how = add(app.add_option("--sampling", sampling,
                                          "reference: the middles of equal segments, as the model cards do; uniform: "
                                          "from the first to the last at equal distances, as vLLM and SGLang do"))
                           ->capture_default_str()
                           ->check(CLI::IsMember({"reference", "uniform"}));
    add(app.add_option("--every-s", every_s, "instead: the frames that are shown each so many seconds"))
        ->excludes(number)
        ->excludes(how);
    return video;
  }

  /// Reads the file and decodes none of these frames yet.
  ChosenFrames choose(const ivl::TileRules& rules, const ivl::VideoOptions& options = {}) const {
    ChosenFrames chosen{.video = std::make_shared<ivl::VideoFile>(file, options), .numbers = {}, .pictures = {}};
    const ivl::VideoFile& video = *chosen.video;
    std::optional<ivl::TimeRange> range;
    if (!range_s.empty()) range = {range_s[0], range_s[1]};
    const auto by_number = sampling == "uniform" ? ivl::uniform_frame_indices : ivl::frame_indices;
    chosen.numbers = every_s ? ivl::frames_by_time(video, *every_s, range)
                             : by_number(video.frames(), video.frames_per_s(), segments, range);
    chosen.pictures = ivl::pictures_of(chosen.video, chosen.numbers, rules);
    return chosen;
  }
};
