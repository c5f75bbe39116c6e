// The messages of a chat request as a conversation: a system message, turns, a question, and the pictures of its marks.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/openai/fields.hpp"
#include "ivl/openai/pictures.hpp"
#include "ivl/text/chat_template.hpp"

namespace ivl::openai {

struct Conversation {
  std::optional<std::string> system = {};
  std::vector<Turn> history = {};
  std::string question = {};
  std::vector<Picture> pictures = {};  ///< of the marks, in order
};

/// `body`'s field "messages": at most one message of the system (or developer), then the user and the assistant in
/// turns, the user last. A picture stands where its part stands among the texts, as "<image>\n"; literal "<image>" in
/// the texts of its message are filled first, from left to right. Throws ApiError.
Conversation read_messages(const BodyFields& body, const Processor& processor, PictureReader& reader);

/// The conversation's ids and pictures. Throws ApiError where marks and pictures do not match, and where the
/// checkpoint's own template refuses it.
Prompt prompt_of(const Conversation& conversation, const Processor& processor);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/messages.ipp"
#endif
