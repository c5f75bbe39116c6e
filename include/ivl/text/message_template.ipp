// The bodies of message_template.hpp.
#pragma once
#include <array>
#include <cstddef>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/text/channels.hpp"
#include "ivl/text/jinja.hpp"
#include "ivl/text/message_template.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// A noncharacter, in place of a picture's token in words that somebody typed: those place no picture.
inline constexpr std::string_view typed_picture = "\uFDD0";

inline std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at; (at = text.find(from)) != text.npos; text.remove_prefix(at + from.size()))
    result.append(text.substr(0, at)).append(to);
  return result.append(text);
}

/// What somebody typed, as a template may have it: text in which no token of a picture stands.
inline std::string typed(std::string_view words, std::string_view picture_token) {
  return replaced(to_utf8(words), picture_token, typed_picture);
}

/// Contents as a list. A mark's line break is the template's to write.
inline ChatContext parts_of(std::string_view text, bool marks, std::string_view picture_token) {
  ChatContext parts = ChatContext::array();
  const auto add_text = [&](std::string_view words) {
    if (!words.empty()) parts.push_back({{"type", "text"}, {"text", typed(words, picture_token)}});
  };
  for (std::size_t at; marks && (at = text.find(image_mark)) != text.npos;) {
    add_text(text.substr(0, at));
    parts.push_back({{"type", "image"}});
    text.remove_prefix(at + image_mark.size());
    if (text.starts_with('\n')) text.remove_prefix(1);
  }
  add_text(text);
  if (parts.empty()) parts.push_back({{"type", "text"}, {"text", ""}});
  return parts;
}

struct ChannelTexts {
  std::string analysis, final;
};

/// An answer of gpt-oss apart; any other is its final text.
inline ChannelTexts texts_of_channels(std::string_view answer) {
  if (!answer.starts_with("<|channel|>")) return {"", std::string(answer)};
  ChannelTexts texts;
  const auto give = [&](std::string_view channel, std::string_view text) {
    (channel == "analysis" ? texts.analysis : texts.final) += text;
  };
  ChannelReader reader;
  reader.push(answer, give);
  reader.finish(give);
  return texts;
}

/// A template, and the form in which it takes messages.
class MessageWriter {
 public:
  MessageWriter(const std::string& text, const std::map<std::string, std::string>& variables, const std::string& where)
      : template_(ChatTemplate::parse(text, where)), variables_(variables), where_(where) {
    std::string reason = "it leaves out words, or the picture";
    for (const Lists lists : {Lists::all, Lists::of_users, Lists::none}) {
      // Folders of transformers 4.52 write the mark itself.
      for (const std::string_view picture_token : {image_context_token, image_mark}) {
        try {
          if (writes_all(lists, picture_token)) return;
        } catch (const RequestError& error) {
          reason = error.what();
        }
      }
    }
    fail<FileError>(
        where_,
        ": expected a template that writes questions, answers and pictures, of contents as lists or as text; as text: ",
        reason);
  }

  /// What the template writes for a picture.
  std::string_view picture_token() const { return picture_token_; }
  const std::string& where() const { return where_; }

  std::string render(std::optional<std::string_view> system, std::span<const Turn> history, std::string_view question,
                     int pictures) const;

 private:
  /// Which messages have their content as a list of {"type": "text", "text": ...} and {"type": "image"}. Published
  /// templates differ, and those that know one form alone lose the other's text without an error.
  enum class Lists { all, of_users, none };

  bool writes_all(Lists lists, std::string_view picture_token);
  ChatContext message(std::string_view role, std::string_view text, bool marks) const;

  ChatTemplate template_;
  ChatContext variables_;
  std::string where_;
  Lists lists_ = Lists::all;
  std::string_view picture_token_;
};

/// Tries the form on a small conversation. A line break in its texts tells them from a list that is printed.
inline bool MessageWriter::writes_all(Lists lists, std::string_view picture_token) {
  lists_ = lists;
  picture_token_ = picture_token;
  const Turn before{"a first\nquestion", "an\nanswer"};
  const std::string question = "a second\nquestion";
  const std::string prompt = render({}, {&before, 1}, std::string(image_mark) + "\n" + question, 1);
  std::string_view left = prompt;
  for (const std::string_view text : {std::string_view(before.question), std::string_view(before.answer), picture_token,
                                      std::string_view(question)}) {
    const std::size_t at = left.find(text);
    if (at == left.npos) return false;
    left.remove_prefix(at + text.size());
  }
  return left.find(picture_token) == left.npos;
}

inline ChatContext MessageWriter::message(std::string_view role, std::string_view text, bool marks) const {
  ChatContext message{{"role", role}};
  const bool user = role == "user";
  if (lists_ == Lists::all || (lists_ == Lists::of_users && user)) {
    message["content"] = parts_of(text, marks, picture_token_);
    return message;
  }
  std::string content;
  for (std::size_t at; marks && (at = text.find(image_mark)) != text.npos;) {
    content.append(typed(text.substr(0, at), picture_token_)).append(picture_token_);
    text.remove_prefix(at + image_mark.size());
  }
  message["content"] = content.append(typed(text, picture_token_));
  return message;
}

inline std::string MessageWriter::render(std::optional<std::string_view> system, std::span<const Turn> history,
                                         std::string_view question, int pictures) const {
  const bool marks = pictures > 0;  // without any, they are text
  ChatContext messages = ChatContext::array();
  if (system) messages.push_back(message("system", *system, marks));
  for (const Turn& turn : history) {
    messages.push_back(message("user", turn.question, marks));
    const ChannelTexts answer = texts_of_channels(turn.answer);
    messages.push_back(message("assistant", answer.final, false));
    if (answer.analysis.empty()) continue;
    messages.back()["thinking"] = answer.analysis;  // two names of one thing
    messages.back()["reasoning_content"] = answer.analysis;
  }
  messages.push_back(message("user", question, marks));
  ChatContext context = variables_;
  context["messages"] = std::move(messages);
  context["tools"] = context["documents"] = nullptr;
  context["add_generation_prompt"] = true;
  try {
    return template_.render(context);
  } catch (const RequestError& error) {
    const std::string said = error.what();  // without the place where the template itself raises an exception
    fail<RequestError>(said.starts_with(where_) ? "" : where_ + ": the template refuses the conversation: ", said);
  }
}

/// A template of a JSON document's key: its text, or of a list or object of several the one named "default".
inline std::optional<std::string> template_of_key(const Json& document, const std::string& where) {
  const Json* value = find_field(document, "chat_template", where);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  if (const auto named = value->is_object() ? value->find("default") : value->end();
      value->is_object() && named != value->end() && named->is_string())
    return named->get<std::string>();
  for (const Json& entry : value->is_array() ? *value : Json::array()) {
    if (entry.is_object() && entry.value("name", "") == "default" && entry.contains("template"))
      return field<std::string>(entry, "template", where);
  }
  fail<FileError>(where, ": chat_template: expected a text, or several by name with one named default, found ",
                  value->type_name());
}

/// Names and texts of special tokens, as templates read them. A token is a text or an object with its `content`.
inline void add_special_tokens(const Json& document, std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : document.items()) {
    const Json& content = value.is_object() && value.contains("content") ? value["content"] : value;
    if (name.ends_with("_token") && content.is_string()) variables[name] = content.get<std::string>();
  }
}

}  // namespace detail

IVL_INLINE std::optional<FolderTemplate> find_chat_template(const std::filesystem::path& folder) {
  const auto of_key = [&](const char* name) -> std::optional<FolderTemplate> {
    if (!std::filesystem::exists(folder / name)) return std::nullopt;
    const std::string where = (folder / name).string();
    auto text = detail::template_of_key(read_json(folder / name), where);
    if (!text) return std::nullopt;
    return FolderTemplate{*std::move(text), where + ": chat_template"};
  };
  for (const char* name : {"processor_config.json", "chat_template.json"}) {
    if (auto found = of_key(name)) return found;
  }
  if (const auto file = folder / "chat_template.jinja"; std::filesystem::exists(file))
    return FolderTemplate{detail::read_text(file), file.string()};
  return of_key("tokenizer_config.json");
}

IVL_INLINE std::optional<MessageTemplate> MessageTemplate::from_folder(const std::filesystem::path& folder) {
  const auto found = find_chat_template(folder);
  if (!found) return std::nullopt;
  const auto read = [&](const char* name) {
    return std::filesystem::exists(folder / name) ? read_json(folder / name) : Json::object();
  };
  const Json tokenizer = read("tokenizer_config.json");
  std::map<std::string, std::string> variables;
  detail::add_special_tokens(tokenizer, variables);
  for (const char* named : {"extra_special_tokens", "model_specific_special_tokens"}) {
    if (const auto tokens = tokenizer.find(named); tokens != tokenizer.end() && tokens->is_object())
      detail::add_special_tokens(*tokens, variables);
  }
  if (!tokenizer.contains("added_tokens_decoder"))  // older folders; newer ones do not read the file
    detail::add_special_tokens(read("special_tokens_map.json"), variables);
  return MessageTemplate(found->text, variables, found->where);
}

IVL_INLINE MessageTemplate::MessageTemplate(const std::string& text,
                                            const std::map<std::string, std::string>& variables,
                                            const std::string& where)
    : writer_(std::make_shared<detail::MessageWriter>(text, variables, where)) {}

IVL_INLINE std::vector<Segment> MessageTemplate::render_segments(std::optional<std::string_view> system,
                                                                 std::span<const Turn> history,
                                                                 std::string_view question, int pictures) const {
  int marks = count_image_marks(question) + (system ? count_image_marks(*system) : 0);
  for (const Turn& turn : history) marks += count_image_marks(turn.question);
  if (pictures > 0) detail::check_image_marks(marks, pictures);

  const std::string prompt = writer_->render(system, history, question, pictures);
  const std::string_view picture_token = writer_->picture_token();
  std::vector<Segment> segments(1);
  const auto add_text = [&](std::string_view text) {
    segments.back().text += detail::replaced(text, detail::typed_picture, picture_token);
  };
  std::string_view left = prompt;
  int written = 0;
  for (std::size_t at; pictures > 0 && (at = left.find(picture_token)) != left.npos; ++written) {
    add_text(left.substr(0, at));
    segments.back().text += image_start_token;
    segments.push_back({"", written});
    segments.push_back({std::string(image_end_token)});
    left.remove_prefix(at + picture_token.size());
  }
  add_text(left);
  if (written != pictures)
    fail<RequestError>(writer_->where(), ": the template writes ", written, " of the conversation's ", pictures,
                       " pictures");
  return segments;
}

}  // namespace ivl
