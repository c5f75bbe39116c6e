// The bodies of chat_template.hpp.
#pragma once
#include <cstddef>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/strip.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// Calls append(text, may hold marks) for the pieces of a prompt. The system message and questions may place pictures,
/// answers may not.
template <class Append>
void render_pieces(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                   std::string_view question, const Append& append) {
  const bool harmony = style == PromptStyle::internvl3_5_gpt_oss;
  const std::string_view system_role = harmony ? "<|start|>system<|message|>" : "<|im_start|>system\n";
  const std::string_view user_role = harmony ? "<|start|>user<|message|>" : "<|im_start|>user\n";
  const std::string_view assistant_role = harmony ? "<|start|>assistant" : "<|im_start|>assistant\n";
  const std::string_view end = harmony ? "<|end|>" : "<|im_end|>\n";
  const auto turn = [&](std::string_view role, std::string_view message, bool marks) {
    append(role, false);
    // conversation.py takes an empty message for a turn that is still open.
    if (style != PromptStyle::hf && message.empty()) return;
    append(message, marks);
    append(end, false);
  };
  if (!system) system = default_system(style);
  if (system) {
    append(system_role, false);
    append(*system, true);
    append(end, false);
  }
  for (const Turn& past : history) {
    turn(user_role, past.question, true);
    turn(assistant_role, past.answer, false);
  }
  turn(user_role, question, true);
  append(assistant_role, false);
}

IVL_INLINE void check_image_marks(int marks, int pictures) {
  if (marks != pictures)
    fail<RequestError>("prompt: ", pictures, " images, but ", marks,
                       " <image> marks in the question and its history; expected one mark an image");
}

}  // namespace detail

IVL_INLINE std::string render(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                              std::string_view question) {
  std::string prompt;
  detail::render_pieces(style, system, history, question, [&](std::string_view text, bool) { prompt += text; });
  return prompt;
}

IVL_INLINE std::vector<Segment> render_segments(PromptStyle style, std::optional<std::string_view> system,
                                                std::span<const Turn> history, std::string_view question,
                                                int pictures) {
  std::vector<Segment> segments(1);
  int marks = 0;
  detail::render_pieces(style, system, history, question, [&](std::string_view text, bool may_hold_marks) {
    for (std::size_t at; may_hold_marks && pictures > 0 && (at = text.find(image_mark)) != text.npos;) {
      segments.back().text.append(text.substr(0, at)).append(image_start_token);
      segments.push_back({"", marks++});
      segments.push_back({std::string(image_end_token)});
      text.remove_prefix(at + image_mark.size());
    }
    segments.back().text += text;
  });
  detail::check_image_marks(marks, pictures);
  return segments;
}

IVL_INLINE std::string text_of(std::span<const Segment> segments, std::span<const int> tokens_per_picture) {
  std::string text;
  for (const Segment& segment : segments) {
    text += segment.text;
    if (segment.picture < 0) continue;
    for (int token = 0; token < tokens_per_picture[std::size_t(segment.picture)]; ++token) text += image_context_token;
  }
  return text;
}

IVL_INLINE void check_question(std::string_view question) {
  if (!is_utf8(question)) fail<RequestError>("question: expected UTF-8, found ", in_quotes(question));
  if (strip(question).empty()) fail<RequestError>("question: expected a text, found none");
}

IVL_INLINE int count_image_marks(std::string_view text) {
  int marks = 0;
  for (std::size_t at; (at = text.find(image_mark)) != text.npos; ++marks) text.remove_prefix(at + image_mark.size());
  return marks;
}

IVL_INLINE std::string image_marks(int images) {
  std::string marks;
  for (int image = 1; image <= images; ++image) marks += "Image-" + std::to_string(image) + ": <image>\n";
  return marks;
}

IVL_INLINE std::string with_image_marks(PromptStyle style, std::string_view question, int images) {
  if (images == 0 || question.find(image_mark) != question.npos) return std::string(question);
  if (images > 1 && style != PromptStyle::hf) return image_marks(images).append(question);
  std::string marked;
  for (int image = 0; image < images; ++image) marked += "<image>\n";
  return marked.append(question);
}

IVL_INLINE std::string frame_marks(int frames) {
  std::string marks;
  for (int frame = 1; frame <= frames; ++frame) marks += "Frame" + std::to_string(frame) + ": <image>\n";
  return marks;
}

}  // namespace ivl
