// Which variable each name of a chat template means: jinja2.idtracking, whose rules decide what a template reads where
// a name is set in one branch only, or after it was read.
#pragma once
#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_syntax.hpp"

namespace ivl::detail::jinja {

/// Gives every scope its variables and every name its place. Throws FileError for unsupported statements.
void resolve_names(Template& parsed);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_scopes.ipp"
#endif
