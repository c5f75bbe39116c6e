// The filters of chat templates: jinja2's, and transformers' tojson.
#pragma once
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

bool is_filter(std::string_view name);

/// value | name(args)
Value apply_filter(Run& run, std::string_view name, const Value& value, Args args);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_filters.ipp"
#endif
