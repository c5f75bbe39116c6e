// The filters and tests of chat templates: jinja2's, and transformers' tojson.
#pragma once
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

bool is_filter(std::string_view name);
bool is_test(std::string_view name);

/// value | name(args)
Value apply_filter(Run& run, std::string_view name, const Value& value, Args args);
/// value is name(args)
bool apply_test(Run& run, std::string_view name, const Value& value, Args args);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_filters.ipp"
#endif
