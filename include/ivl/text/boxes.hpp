// Boxes in answers to grounding questions ("Please provide the bounding box coordinate of the region this sentence
// describes: <ref>the dog</ref>"), as the models are trained to write them:
//
//     <ref>the dog</ref><box>[[120, 64, 508, 930]]</box>
//
// The four numbers are the left, upper, right and lower edge in thousandths of the picture's width and height.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"

namespace ivl {

struct AnswerBox {
  std::string name;  ///< what stood between <ref> and </ref>; empty where nothing did
  int picture = 0;   ///< 3 where "Image-3" was the last such words before it; 0 where there were none
  std::array<double, 4> thousandths{};  ///< left, top, right, bottom, from 0 to 1000; `box_in_pixels` takes them
  bool operator==(const AnswerBox&) const = default;
};

struct GroundedAnswer {
  std::string text;  ///< the answer with names in place of well-formed boxes
  std::vector<AnswerBox> boxes;
};

/// Takes the boxes out of an answer that keeps its special tokens (`SpecialTokens::keep`: <ref> and <box> are such).
/// One <box> may list several, [[...], [...]], or write one without the outer brackets, and one name may have several
/// <box>; spaces between these parts go with them. What is malformed stays in the text as it is: a tag that nothing
/// ends, other than four numbers a box, numbers outside of 0 to 1000, edges that lie crosswise.
GroundedAnswer boxes_of_answer(std::string_view answer);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/boxes.ipp"
#endif
