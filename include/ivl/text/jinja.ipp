#pragma once
#include "ivl/text/jinja.hpp"
#include "ivl/text/jinja_interpreter.hpp"
#include "ivl/text/jinja_parser.hpp"
#include "ivl/text/jinja_scopes.hpp"
#include "ivl/text/jinja_syntax.hpp"

namespace ivl {

IVL_INLINE ChatTemplate ChatTemplate::parse(const std::string& text, const std::string& where) {
  if (text.size() > max_chat_template_bytes) {
    fail<FileError>(where, ": expected a template of at most ", max_chat_template_bytes, " bytes, found ", text.size());
  }
  auto parsed = std::make_shared<detail::jinja::Template>(detail::jinja::parse(text, where));
  detail::jinja::resolve_names(*parsed);
  return ChatTemplate(std::move(parsed));
}

IVL_INLINE std::string ChatTemplate::render(const ChatContext& context, const ChatTemplateLimits& limits) const {
  return detail::jinja::interpret(*parsed_, context, limits);
}

}  // namespace ivl
