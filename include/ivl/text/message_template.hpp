// A folder's own chat_template as a prompt: what transformers' apply_chat_template makes of a conversation with
// pictures.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/chat_template.hpp"

namespace ivl {

namespace detail {
class MessageWriter;
}

/// The text of a folder's chat_template, and its place, for errors.
struct FolderTemplate {
  std::string text, where;
};

/// The first of the key `chat_template` in processor_config.json, chat_template.json, chat_template.jinja (in this
/// order in transformers' InternVLProcessor), and the key in tokenizer_config.json. Nothing where a folder has none.
/// Throws FileError.
std::optional<FolderTemplate> find_chat_template(const std::filesystem::path& folder);

/// Const after construction; threads may share it, and copies share what was parsed.
class MessageTemplate {
 public:
  /// The folder's, with the special tokens of its tokenizer. Nothing where it has none. Throws FileError.
  static std::optional<MessageTemplate> from_folder(const std::filesystem::path& folder);

  /// `variables` is what the template may read besides messages, such as the text of "bos_token". Throws FileError for
  /// a template that is broken or not supported, or that shows no form of messages and their pictures.
  MessageTemplate(const std::string& text, const std::map<std::string, std::string>& variables,
                  const std::string& where);

  /// As ivl::render_segments. A mark and the line break behind it are a picture: where the template takes contents as
  /// lists of texts and pictures, it writes that break itself. An answer in gpt-oss's channels is given apart, as
  /// `content` and `thinking`. Throws RequestError where the template refuses the conversation, or where it does not
  /// write every picture once.
  std::vector<Segment> render_segments(std::optional<std::string_view> system, std::span<const Turn> history,
                                       std::string_view question, int pictures) const;

 private:
  std::shared_ptr<const detail::MessageWriter> writer_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/message_template.ipp"
#endif
