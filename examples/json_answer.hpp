// One answer as one JSON object, as programs print it with --json.
#pragma once
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/image/picture.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/text/channels.hpp"
#include "program.hpp"

/// Size and tiles of a picture; `grid` is columns and rows, the thumbnail not counted.
inline nlohmann::ordered_json json_picture(const ivl::Picture& picture) {
  return {{"width", picture.size().width},
          {"height", picture.size().height},
          {"tiles", picture.tiles()},
          {"grid", {picture.grid().columns, picture.grid().rows}}};
}

inline nlohmann::ordered_json json_pictures(std::span<const ivl::Picture> pictures) {
  nlohmann::ordered_json images = nlohmann::ordered_json::array();
  for (const ivl::Picture& picture : pictures) images.push_back(json_picture(picture));
  return images;
}

/// What there is to say about an answer.
struct AnswerReport {
  std::string_view question;          ///< as it was asked, before marks were put in front
  std::string_view text;              ///< of the answer
  std::span<const std::int32_t> ids;  ///< of its tokens, the one that ended it not among them
  ivl::Finish finish;
  const ivl::AnswerStatistics& statistics;
  std::span<const ivl::Picture> pictures;  ///< of this question
  bool separate_thoughts = false;          ///< `text` is the final text alone, and `thought` what came before
};

/// The keys of every answer: `question`, `text` (and `thought`), `ids`, `prompt_tokens` (of the whole conversation) and
/// of these `cached_tokens`, `finish`, `timings_ms` and `images`. A program may add its own before it prints.
inline nlohmann::ordered_json json_answer(const AnswerReport& report) {
  nlohmann::ordered_json answer{{"question", report.question}};
  if (report.separate_thoughts) {
    std::string text, thought;
    const auto sort = [&](std::string_view channel, std::string_view part) {
      (channel == "final" || channel.empty() ? text : thought) += part;
    };
    ivl::ChannelReader reader;
    reader.push(report.text, sort);
    reader.finish(sort);
    answer["text"] = text;
    answer["thought"] = thought;
  } else {
    answer["text"] = report.text;
  }
  const ivl::AnswerStatistics& s = report.statistics;
  const auto ms = [](double seconds) { return std::round(seconds * 1e6) / 1e3; };  // to the microsecond
  answer["ids"] = std::vector<std::int32_t>(report.ids.begin(), report.ids.end());
  answer["prompt_tokens"] = s.prompt_tokens;
  answer["cached_tokens"] = s.cached_tokens;
  answer["finish"] = name_of(report.finish);
  answer["timings_ms"] = {
      {"queue", ms(s.queue_s)}, {"vision", ms(s.vision_s)}, {"prefill", ms(s.prefill_s)}, {"decode", ms(s.decode_s)}};
  answer["images"] = json_pictures(report.pictures);
  return answer;
}

/// One line on standard output. Names of files may be no UTF-8, which JSON cannot hold.
inline void print_json(const nlohmann::ordered_json& object) {
  print_text(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}
