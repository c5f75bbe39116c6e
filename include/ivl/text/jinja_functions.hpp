// The functions that every chat template has: jinja2's, as transformers' sandbox limits them, and its own.
#pragma once
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

/// The function that every template knows by this name, or `missing`.
Value global(std::string_view name);
Value call_function(Run& run, std::string_view name, Args args);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_functions.ipp"
#endif
