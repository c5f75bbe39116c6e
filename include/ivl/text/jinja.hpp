// A folder's own chat_template: the Jinja that transformers' apply_chat_template renders, without an interpreter of
// Python. Text, white space, order of keys, undefined names and errors are those of jinja2 3.1 in transformers'
// sandbox; what is not supported is refused by name, mostly before anything is rendered.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl {

namespace detail::jinja {
struct Template;
}

/// What a template is rendered from: JSON whose objects keep the order of their members, which shows where a template
/// prints them. ivl::Json converts, but has them sorted by name.
using ChatContext = nlohmann::ordered_json;

inline constexpr std::size_t max_chat_template_bytes = 1 << 20;

/// Copies share what they were parsed into. `render` may be called from several threads.
class ChatTemplate {
 public:
  /// `text` is the template, `where` starts every error. Throws FileError for what is no template, and for a filter,
  /// test, method, function or tag that is not supported, with the line.
  static ChatTemplate parse(const std::string& text, const std::string& where = "chat_template");

  /// `context` is an object: messages, add_generation_prompt, bos_token, eos_token, tools and what else the template
  /// reads. A member that is missing is undefined; transformers passes tools and documents as null where there are
  /// none. Throws RequestError with the template's own text where it calls raise_exception, and with `where` and a line
  /// where the context does not fit the template or the limits are passed.
  std::string render(const ChatContext& context, const ChatTemplateLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const detail::jinja::Template> parsed) : parsed_(std::move(parsed)) {}

  std::shared_ptr<const detail::jinja::Template> parsed_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/jinja.ipp"
#endif
