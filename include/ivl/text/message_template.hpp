// A folder's own chat_template as a prompt: what transformers' apply_chat_template makes of a conversation with
// pictures.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/jinja.hpp"

namespace ivl {

/// Const after construction; threads may share it.
class MessageTemplate {
 public:
  /// The folder's: the first of the key `chat_template` in processor_config.json, chat_template.json,
  /// chat_template.jinja (in this order in transformers' InternVLProcessor), and the key in tokenizer_config.json.
  /// Nothing where it has none. Throws FileError.
  static std::optional<MessageTemplate> from_folder(const std::filesystem::path& folder);

  /// `variables` is an object: what the template may read besides messages, such as {"bos_token": "<s>"}. Throws
  /// FileError for a template that is broken or not supported, or that shows no form of messages and their pictures.
  MessageTemplate(const std::string& text, ChatContext variables, std::string where);

  /// As ivl::render_segments. A mark and the line break behind it are a picture: where the template takes contents as
  /// lists of texts and pictures, it writes that break itself. An answer in gpt-oss's channels is given apart, as
  /// `content` and `thinking`. Throws RequestError where the template refuses the conversation, or where it does not
  /// write every picture once.
  std::vector<Segment> render_segments(std::optional<std::string_view> system, std::span<const Turn> history,
                                       std::string_view question, int pictures) const;

 private:
  /// Which messages have their content as a list of {"type": "text", "text": ...} and {"type": "image"}. Published
  /// templates differ, and those that know one form alone lose the other's text without an error.
  enum class Lists { all, of_users, none };

  bool writes_all(Lists lists, std::string_view picture_token);
  std::string render(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                     int pictures) const;
  ChatContext message(std::string_view role, std::string_view text, bool marks) const;

  ChatTemplate template_;
  ChatContext variables_;
  std::string where_;
  Lists lists_ = Lists::all;
  std::string_view picture_token_ = image_context_token;  // what the template writes for a picture
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/message_template.ipp"
#endif
