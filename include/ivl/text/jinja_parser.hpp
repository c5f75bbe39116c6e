// The grammar of chat templates: jinja2's, without what needs other templates.
#pragma once
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_syntax.hpp"

namespace ivl::detail::jinja {

/// Throws FileError with the line if the text is not a template or uses something unsupported. Names have no places
/// yet.
Template parse(std::string_view source, const std::string& where);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_parser.ipp"
#endif
