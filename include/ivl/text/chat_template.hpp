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

/// The prompt, up to where the model's answer begins. Answers of the history stand as they were stored, which for
/// gpt-oss includes "<|channel|>final<|message|>".
inline std::string render(PromptStyle style, std::optional<std::string_view> system, std::span<const Turn> history,
                          std::string_view question) {
  const bool harmony = style == PromptStyle::internvl3_5_gpt_oss;
  const std::string_view system_role = harmony ? "<|start|>system<|message|>" : "<|im_start|>system\n";
  const std::string_view user_role = harmony ? "<|start|>user<|message|>" : "<|im_start|>user\n";
  const std::string_view assistant_role = harmony ? "<|start|>assistant" : "<|im_start|>assistant\n";
  const std::string_view end = harmony ? "<|end|>" : "<|im_end|>\n";
  std::string prompt;
  const auto turn = [&](std::string_view role, std::string_view message) {
    prompt += role;
    // conversation.py takes an empty message for a turn that is still open.
    if (style != PromptStyle::hf && message.empty()) return;
    prompt.append(message).append(end);
  };
  if (!system) system = default_system(style);
  if (system) prompt.append(system_role).append(*system).append(end);
  for (const Turn& past : history) {
    turn(user_role, past.question);
    turn(assistant_role, past.answer);
  }
  turn(user_role, question);
  return prompt.append(assistant_role);
}

/// "<image>" marks of a text.
inline std::size_t count_marks(std::string_view text) {
  std::size_t marks = 0;
  for (std::size_t at = 0; (at = text.find(image_mark, at)) != text.npos; at += image_mark.size()) ++marks;
  return marks;
}

namespace detail {
/// Puts <img>, tokens_per_image[i] times <IMG_CONTEXT>, </img> in the place of the i-th of the text's marks.
inline std::string expand_marks(std::string_view text, std::span<const int> tokens_per_image) {
  std::string expanded;
  for (const int tokens : tokens_per_image) {
    const std::size_t mark = text.find(image_mark);
    expanded.append(text.substr(0, mark)).append(image_start_token);
    for (int token = 0; token < tokens; ++token) expanded += image_context_token;
    expanded += image_end_token;
    text.remove_prefix(mark + image_mark.size());
  }
  return expanded.append(text);
}
}  // namespace detail

/// `render` with images in the place of the marks, earlier turns included. The system message and questions place
/// images: an answer that says "<image>" stays as it is, and so do all marks where there are no images. Throws
/// RequestError unless there are as many marks as images.
inline std::string render_with_images(PromptStyle style, std::optional<std::string_view> system,
                                      std::span<const Turn> history, std::string_view question,
                                      std::span<const int> tokens_per_image) {
  if (tokens_per_image.empty()) return render(style, system, history, question);
  std::string own_system(system.value_or(""));
  std::vector<Turn> turns(history.begin(), history.end());
  turns.push_back({std::string(question), {}});
  std::size_t marks = count_marks(own_system);
  for (const Turn& turn : turns) marks += count_marks(turn.question);
  if (marks != tokens_per_image.size())
    fail<RequestError>("prompt: ", tokens_per_image.size(), " images, but ", marks,
                       " <image> marks in the question and its history; expected one mark an image");
  const auto expand = [&](std::string& text) {
    const std::size_t images = count_marks(text);
    text = detail::expand_marks(text, tokens_per_image.first(images));
    tokens_per_image = tokens_per_image.subspan(images);
  };
  expand(own_system);
  for (Turn& turn : turns) expand(turn.question);
  if (system) system = own_system;
  return render(style, system, std::span(turns).first(history.size()), turns.back().question);
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
