// From messages to the text that the model reads, as the published checkpoints were trained on it.
// Users mark the place of an image with "<image>" in every style.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

enum class PromptStyle {
  internvl2_5,  ///< InternVL's conversation.py of that name: InternVL3, and InternVL3.5 on Qwen3
  hf,           ///< the published chat_template of folders in transformers' own format, for those that have none
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

/// The prompt as text, up to where the model's answer begins, with marks as they are. Answers of the history stand as
/// they were stored, which for gpt-oss includes "<|channel|>final<|message|>".
std::string render(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                   std::string_view question);

/// The prompt with pictures in the place of the marks, each between <img> and </img>, those of earlier turns included.
/// An answer that says "<image>" stays as it is, and so do all marks where there are no pictures. Other special tokens
/// that a user types are the special tokens that they name, as in the reference's chat(); <IMG_CONTEXT> too is an
/// ordinary token then, since pictures are no text here. Throws RequestError unless there are as many marks as
/// pictures.
std::vector<Segment> render_segments(PromptStyle style, std::optional<std::string_view> system,
                                     std::span<const Turn> history, std::string_view question, int pictures);

/// What a prompt looks like to the reference's tokenizer: <IMG_CONTEXT> for each row of a picture. For people to read.
std::string text_of(std::span<const Segment> segments, std::span<const int> tokens_per_picture);

namespace detail {
/// Throws RequestError unless there are as many marks as pictures.
void check_image_marks(int marks, int pictures);
}  // namespace detail

/// Throws RequestError for a question that is nothing but white space, and for one that is no UTF-8.
void check_question(std::string_view question);

/// How many "<image>" a text holds.
int count_image_marks(std::string_view text);

/// "Image-1: <image>\nImage-2: <image>\n": what goes before a question about several images.
std::string image_marks(int images);

/// The question with a mark for each of its images before it, unless it has marks itself: "<image>\n", and for several
/// what the style's users write: `image_marks`, or in transformers' format "<image>\n" for each. This is the question
/// to keep in the history.
std::string with_image_marks(PromptStyle style, std::string_view question, int images);

/// "Frame1: <image>\nFrame2: <image>\n": what goes before a question about a video.
std::string frame_marks(int frames);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/chat_template.ipp"
#endif
