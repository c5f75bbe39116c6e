#include "ivl/text/boxes.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

using namespace ivl;
using Boxes = std::vector<AnswerBox>;

TEST_CASE("boxes are taken out of an answer, and names stand in their place") {
  const GroundedAnswer one = boxes_of_answer("Here: <ref>the dog</ref><box>[[120, 64, 508, 930]]</box>.");
  CHECK(one.text == "Here: the dog.");
  CHECK(one.boxes == Boxes{{"the dog", 0, {120, 64, 508, 930}}});

  const GroundedAnswer several = boxes_of_answer(
      "<ref>cats</ref><box>[[0,0,10,1000],[ 20 , 30.5 ,40,50 ]]</box> and\n<ref>a mat</ref> <box>[[1, 2, 3, 4]]</box> "
      "<box>[[5, 6, 7, 8]]</box>, <box>[9, 9, 9, 9]</box>");
  CHECK(several.text == "cats and\na mat,");
  CHECK(several.boxes == Boxes{{"cats", 0, {0, 0, 10, 1000}},
                               {"cats", 0, {20, 30.5, 40, 50}},
                               {"a mat", 0, {1, 2, 3, 4}},
                               {"a mat", 0, {5, 6, 7, 8}},
                               {"", 0, {9, 9, 9, 9}}});
  CHECK(boxes_of_answer("").boxes.empty());
}

TEST_CASE("a box is in the picture that the answer has named last") {
  const GroundedAnswer found = boxes_of_answer(
      "<box>[[1, 1, 2, 2]]</box> Image-2: <ref>x</ref><box>[[3, 3, 4, 4]]</box><ref>y</ref><box>[[5, 5, 6, 6]]</box>, "
      "unlike Image-11 <box>[[7, 7, 8, 8]]</box> Image-x Image-0 Image--4 <box>[[9, 9, 9, 9]]</box>");
  std::vector<int> pictures;
  for (const AnswerBox& box : found.boxes) pictures.push_back(box.picture);
  CHECK(pictures == std::vector<int>{0, 2, 2, 11, 11});
  CHECK(found.text == " Image-2: xy, unlike Image-11 Image-x Image-0 Image--4");
}

TEST_CASE("malformed boxes stay in the text as they are, and hide no others") {
  for (const std::string broken : {"<ref>a</ref>",
                                   "<ref>a</ref><box>",
                                   "<ref>a</ref> b <box>[[1, 2, 3]]</box>",
                                   "<ref>a<box>[[1, 2, 3, 4</box>",
                                   "<box>[[1, 2, 3, 4, 5]]</box>",
                                   "<box>[[1, 2, 3, 1001]]</box>",
                                   "<box>[[-1, 2, 3, 4]]</box>",
                                   "<box>[[3, 2, 1, 4]]</box>",
                                   "<box>[[1, 4, 3, 2]]</box>",
                                   "<box>[[1, 2, 3, nan]]</box>",
                                   "<box>[[1, 2, 3, inf]]</box>",
                                   "<box>[[1, 2, 3, 4]</box>",
                                   "<box>[[1, 2, 3, 4]]",
                                   "<box>[[1, 2, 3, 4],]</box>",
                                   "<box>[]</box>",
                                   "<box></box>",
                                   "<box>[[1 2 3 4]]</box>",
                                   "<box>[[1, 2, 3, 1e2]]</box>",
                                   "</ref></box>",
                                   "<ref"}) {
    CAPTURE(broken);
    const GroundedAnswer found = boxes_of_answer(broken + "<ref>z</ref><box>[[1, 2, 3, 4]]</box>");
    CHECK(found.text == broken + "z");
    CHECK(found.boxes == Boxes{{"z", 0, {1, 2, 3, 4}}});
    CHECK(boxes_of_answer(broken).text == broken);
  }
}

}  // namespace
