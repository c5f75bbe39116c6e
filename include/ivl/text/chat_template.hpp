// From messages to the text that the model reads, as the published checkpoints were trained on it.
// Users mark the place of an image with "<image>" in every style.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"

namespace ivl {

enum class PromptStyle {
  internvl2_5,          ///< InternVL's conversation.py of that name: InternVL3, and InternVL3.5 on Qwen3
  hf,                   ///< the chat_template of the folders in transformers' own format: no default system message
  internvl3_5_gpt_oss,  ///< InternVL's conversation.py of that name: InternVL3.5 on gpt-oss
};

/// A question of the user and the model's answer, both as they stood in the prompt and the reply.
struct Turn {
  std::string question, answer;
};

/// Where an image belongs in a message, and what an image becomes.
inline constexpr std::string_view image_mark = "<image>";
inline constexpr std::string_view image_start_token = "<img>";
inline constexpr std::string_view image_context_token = "<IMG_CONTEXT>";
inline constexpr std::string_view image_end_token = "</img>";

/// "You are InternVL (shusheng wanxiang), a multimodal model developed by Shanghai AI Laboratory, Tsinghua and
/// partners."
inline constexpr std::string_view default_system_internvl2_5 =
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

inline constexpr std::string_view
    default_system_internvl3_5_gpt_oss =  // the dates are part of what it was trained with
    "You are InternVL, a large language model trained by Shanghai AI Laboratory.\nKnowledge cutoff: 2024-06\n"
    "Current date: 2025-08-06\n\nReasoning: low\n\n"
    "# Valid channels: final. Channel must be included for every message.";

/// The system message that makes InternVL3.5 think aloud, within <think> and </think>, before it answers.
/// Sample with temperature 0.6 (InternVL3.5's model card).
inline constexpr std::string_view thinking_system =
    "You are an AI assistant that rigorously follows this response protocol:\n\n"
    "1. First, conduct a detailed analysis of the question. Consider different angles, potential solutions, and reason "
    "through the problem step-by-step. Enclose this entire thinking process within <think> and </think> tags.\n\n"
    "2. After the thinking section, provide a clear, concise, and direct answer to the user's question. Separate the "
    "answer from the think section with a newline.\n\n"
    "Ensure that the thinking process is thorough but remains focused on the query. The final answer should be "
    "standalone "
    "and not reference the thinking section.";

/// What a style writes where the caller gives no system message; nothing: no system block.
constexpr std::optional<std::string_view> default_system(PromptStyle style) {
  switch (style) {
    case PromptStyle::internvl2_5:
      return default_system_internvl2_5;
    case PromptStyle::internvl3_5_gpt_oss:
      return default_system_internvl3_5_gpt_oss;
    case PromptStyle::hf:
      break;
  }
  return std::nullopt;
}

/// The token that ends the model's answer: the one stop token of the reference's chat().
constexpr std::string_view end_token(PromptStyle style) {
  return style == PromptStyle::internvl3_5_gpt_oss ? "<|return|>" : "<|im_end|>";
}

/// A part of a prompt: text, or the place of a picture.
struct Segment {
  std::string text;
  int picture = -1;  ///< number of the picture that stands here, in place of text; -1: none does
  bool operator==(const Segment&) const = default;
};

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

}  // namespace detail

/// The prompt as text, up to where the model's answer begins, with marks as they are. Answers of the history stand as
/// they were stored, which for gpt-oss includes "<|channel|>final<|message|>".
inline std::string render(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                          std::string_view question) {
  std::string prompt;
  detail::render_pieces(style, system, history, question, [&](std::string_view text, bool) { prompt += text; });
  return prompt;
}

/// The prompt with pictures in the place of the marks, each between <img> and </img>, those of earlier turns included.
/// An answer that says "<image>" stays as it is, and so do all marks where there are no pictures. Other special tokens
/// that a user types are the special tokens that they name, as in the reference's chat(); <IMG_CONTEXT> too is an
/// ordinary token then, since pictures are no text here. Throws RequestError unless there are as many marks as
/// pictures.
inline std::vector<Segment> render_segments(PromptStyle style, std::optional<std::string_view> system,
                                            std::span<const Turn> history, std::string_view question, int pictures) {
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
  if (marks != pictures)
    fail<RequestError>("prompt: ", pictures, " images, but ", marks,
                       " <image> marks in the question and its history; expected one mark an image");
  return segments;
}

/// What a prompt looks like to the reference's tokenizer: <IMG_CONTEXT> for each row of a picture. For people to read.
inline std::string text_of(std::span<const Segment> segments, std::span<const int> tokens_per_picture) {
  std::string text;
  for (const Segment& segment : segments) {
    text += segment.text;
    if (segment.picture < 0) continue;
    for (int token = 0; token < tokens_per_picture[std::size_t(segment.picture)]; ++token) text += image_context_token;
  }
  return text;
}

/// "Image-1: <image>\nImage-2: <image>\n": what goes before a question about several images.
inline std::string image_marks(int images) {
  std::string marks;
  for (int image = 1; image <= images; ++image) marks += "Image-" + std::to_string(image) + ": <image>\n";
  return marks;
}

/// The question with a mark for each of its images before it, unless it has marks itself: "<image>\n", and for several
/// what the style's users write: `image_marks`, or in transformers' format "<image>\n" for each. This is the question
/// to keep in the history.
inline std::string with_image_marks(PromptStyle style, std::string_view question, int images) {
  if (images == 0 || question.find(image_mark) != question.npos) return std::string(question);
  if (images > 1 && style != PromptStyle::hf) return image_marks(images).append(question);
  std::string marked;
  for (int image = 0; image < images; ++image) marked += "<image>\n";
  return marked.append(question);
}

/// "Frame1: <image>\nFrame2: <image>\n": what goes before a question about a video.
inline std::string frame_marks(int frames) {
  std::string marks;
  for (int frame = 1; frame <= frames; ++frame) marks += "Frame" + std::to_string(frame) + ": <image>\n";
  return marks;
}

}  // namespace ivl
