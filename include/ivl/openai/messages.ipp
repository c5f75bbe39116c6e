// The bodies of messages.hpp.
#pragma once
#include <cstddef>
#include <string_view>
#include <utility>

#include "ivl/openai/messages.hpp"
#include "ivl/text/strip.hpp"

namespace ivl::openai {

namespace detail {

/// A message's parts in order: texts, and pictures.
struct Part {
  std::string text;
  std::optional<Picture> picture;
};

/// How many tiles a picture may have at most: `max_dynamic_patch`, or by `detail`.
inline std::optional<int> tiles_of(const BodyFields& image, const PictureLimits& limits) {
  const auto fineness = image.word("detail", {"auto", "low", "high", "original"});
  const auto most = image.integer("max_dynamic_patch", 1, limits.tiles);
  image.refuse_unsupported({"min_dynamic_patch"});
  if (fineness != "low") return most;
  if (most.value_or(1) != 1)
    refuse(image.place_of("max_dynamic_patch"), "expected 1 where detail is low, found ", *most);
  return 1;
}

inline Picture read_picture(const BodyFields& part, const Processor& processor, PictureReader& reader) {
  const Json* image = part.find("image_url");
  if (!image) refuse(part.place_of("image_url"), "expected an object with a url, found none");
  if (image->is_string())
    return {reader.read(image->get_ref<const std::string&>(), part.place_of("image_url")), processor.tile_rules()};
  const BodyFields fields(*image, part.place_of("image_url"));
  const Json* url = fields.find("url");  // megabytes: not copied
  if (!url || !url->is_string())
    refuse(fields.place_of("url"), "expected a string, found ", url ? ivl::detail::describe(*url) : "none");
  const TileRules rules = processor.tile_rules(tiles_of(fields, reader.limits()));
  return {reader.read(url->get_ref<const std::string&>(), fields.place_of("url")), rules};
}

inline Part read_part(const Json& value, const std::string& place, bool pictures, const Processor& processor,
                      PictureReader& reader) {
  const BodyFields part(value, place);
  const std::string type = part.text("type", 64).value_or("");
  if (type == "text") {
    const Json* text = part.find("text");
    if (!text) refuse(part.place_of("text"), "expected a string, found none");
    return {text_of(*text, part.place_of("text"), max_json_bytes), {}};
  }
  if (type == "image_url" && pictures) return {"", read_picture(part, processor, reader)};
  if (type == "image_url") refuse(place, "expected pictures in messages of the user alone");
  if (type == "video_url" || type == "input_audio" || type == "file")
    refuse_unsupported(place, type + "; parts are text and image_url");
  refuse(part.place_of("type"), "expected text or image_url, found ", in_quotes(type));
}

inline std::vector<Part> read_content(const BodyFields& message, bool pictures, const Processor& processor,
                                      PictureReader& reader) {
  const Json* content = message.find("content");
  const std::string place = message.place_of("content");
  if (!content) refuse(place, "expected a string or an array of parts, found none");
  if (content->is_string()) return {{content->get<std::string>(), {}}};
  if (!content->is_array())
    refuse(place, "expected a string or an array of parts, found ", ivl::detail::describe(*content));
  std::vector<Part> parts;
  for (const Json& part : *content)
    parts.push_back(read_part(part, element_place(place, parts.size()), pictures, processor, reader));
  return parts;
}

/// The parts as one text with a mark for each picture; the pictures are appended in the order of their marks.
inline std::string marked_text(std::vector<Part> parts, std::vector<Picture>& pictures) {
  std::vector<Picture> at_literal_marks;
  std::size_t literal_marks = 0;
  for (const Part& part : parts) literal_marks += std::size_t(count_image_marks(part.text));
  for (Part& part : parts) {
    if (!part.picture || at_literal_marks.size() == literal_marks) continue;
    at_literal_marks.push_back(*std::move(part.picture));
    part.picture.reset();
  }
  std::string text;
  auto next = at_literal_marks.begin();
  for (Part& part : parts) {
    if (part.picture) {
      text.append(image_mark).append("\n");
      pictures.push_back(*std::move(part.picture));
    }
    for (int marks = count_image_marks(part.text); marks > 0 && next != at_literal_marks.end(); --marks)
      pictures.push_back(std::move(*next++));
    text += part.text;
  }
  return text;
}

/// As the reference's history holds it.
inline std::string answer_in_history(std::string answer, PromptStyle style, const std::string& place) {
  // conversation.py takes an empty message for a turn that is still open.
  if (answer.empty() && style != PromptStyle::hf) refuse(place, "expected a text, found none");
  constexpr std::string_view final_channel = "<|channel|>final<|message|>";
  if (style == PromptStyle::internvl3_5_gpt_oss && !answer.starts_with("<|channel|>"))
    return std::string(final_channel) + answer;
  return answer;
}

}  // namespace detail

IVL_INLINE Conversation read_messages(const BodyFields& body, const Processor& processor, PictureReader& reader) {
  const Json* messages = body.find("messages");
  const std::string all = body.place_of("messages");
  if (!messages || !messages->is_array() || messages->empty())
    refuse(all, "expected an array of at least one message, found ",
           messages ? ivl::detail::describe(*messages) : "none");
  Conversation conversation;
  bool open_turn = false;  // a question without its answer
  for (std::size_t n = 0; n < messages->size(); ++n) {
    const BodyFields message((*messages)[n], element_place(all, n));
    const std::string role = message.text("role", 64).value_or("");
    const bool of_system = role == "system" || role == "developer", of_user = role == "user";
    if (role == "tool" || role == "function") refuse_unsupported(message.place_of("role"), "there are no tools");
    if (!of_system && !of_user && role != "assistant")
      refuse(message.place_of("role"), "expected system, developer, user or assistant, found ", in_quotes(role));
    message.refuse_unsupported({"tool_calls", "function_call", "audio"});
    if (of_system ? n > 0 : of_user == open_turn) {
      refuse(message.place_of("role"),
             "expected at most one message of the system in front, then the user and the assistant in turns, found ",
             in_quotes(role));
    }
    std::string text =
        detail::marked_text(detail::read_content(message, of_user, processor, reader), conversation.pictures);
    if (of_system) {
      conversation.system = std::move(text);
      continue;
    }
    if (of_user) {
      if (strip(text).empty()) refuse(message.place_of("content"), "expected a text or a picture, found none");
      conversation.question = std::move(text);
    } else {
      conversation.history.push_back(
          {std::move(conversation.question),
           detail::answer_in_history(std::move(text), processor.style(), message.place_of("content"))});
    }
    open_turn = of_user;
  }
  if (!open_turn) refuse(all, "expected the user's message at the end");
  return conversation;
}

IVL_INLINE Prompt prompt_of(const Conversation& conversation, const Processor& processor) {
  try {
    return processor.prompt(conversation.system, conversation.history, conversation.question, conversation.pictures);
  } catch (const RequestError& error) {
    // The words of a checkpoint's template begin with its path, which is not the client's business.
    const std::string text = error.what();
    const std::size_t at = text.find(": the template ");
    const std::string reason = text.starts_with("prompt: ") ? text
                               : at != text.npos            ? text.substr(at + 2)
                                                            : "the checkpoint's chat template refuses them";
    throw ApiError(400, "messages: " + reason, "messages");
  }
}

}  // namespace ivl::openai
