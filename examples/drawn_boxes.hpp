// The boxes of an answer, drawn into pictures.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/image/boxes.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/image/write_png.hpp"
#include "ivl/text/boxes.hpp"

/// "out.png" of one picture, "out-2.png" of the second of several.
inline std::filesystem::path drawn_file(const std::filesystem::path& path, std::size_t number, std::size_t pictures) {
  if (pictures == 1) return path;
  return path.parent_path() / (path.stem().string() + "-" + std::to_string(number) + path.extension().string());
}

/// Writes every picture with its boxes to a PNG, and says on stderr where they are. Of several pictures a box is in the
/// one that the answer has named last, as Image-1 or Image-2; one before which it names none is not drawn.
inline void draw_boxes(std::string_view answer, const std::vector<ivl::Picture>& pictures,
                       const std::filesystem::path& path) {
  constexpr std::pair<const char*, std::array<std::uint8_t, 3>> colours[] = {
      {"red", {230, 25, 40}},     {"green", {40, 170, 60}},    {"blue", {30, 90, 230}},
      {"yellow", {250, 210, 20}}, {"magenta", {220, 40, 220}}, {"cyan", {30, 200, 220}}};
  const std::vector<ivl::AnswerBox> boxes = ivl::boxes_of_answer(answer).boxes;
  if (boxes.empty()) std::fprintf(stderr, "note: the answer holds no box\n");
  for (std::size_t number = 1; number <= pictures.size(); ++number) {
    ivl::Image drawn = *pictures[number - 1].image();
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      if (pictures.size() > 1 && boxes[i].picture != int(number)) continue;
      const auto& [colour_name, colour] = colours[i % std::size(colours)];
      const ivl::PixelBox box = ivl::box_in_pixels(boxes[i].thousandths, {drawn.width, drawn.height});
      ivl::draw_box(drawn, box, colour);
      std::fprintf(stderr, "%s: %s at %.0f, %.0f to %.0f, %.0f (%s)\n",
                   drawn_file(path, number, pictures.size()).c_str(),
                   boxes[i].name.empty() ? "a box" : boxes[i].name.c_str(), box.left, box.top, box.right, box.bottom,
                   colour_name);
    }
    ivl::write_png(drawn_file(path, number, pictures.size()), drawn);
  }
  for (const ivl::AnswerBox& box : boxes) {
    if (pictures.size() > 1 && (box.picture < 1 || box.picture > int(pictures.size()))) {
      std::fprintf(stderr, "note: not drawn: %s, before which the answer names no picture (Image-1 to Image-%zu)\n",
                   box.name.empty() ? "a box" : box.name.c_str(), pictures.size());
    }
  }
}
