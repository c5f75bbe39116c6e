// The grammar of chat templates: jinja2's, without what needs other templates.
#pragma once
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_syntax.hpp"

namespace ivl::detail::jinja {

/// Throws FileError with the line for what is no template or uses what is not supported. Names have no places yet.
Template parse(std::string_view source, const std::string& where);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_parser.ipp"
#endif
