// The tests of chat templates, `value is test`: jinja2's.
#pragma once
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

bool is_test(std::string_view name);
/// value is name(args)
bool apply_test(Run& run, std::string_view name, const Value& value, Args args);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_tests.ipp"
#endif
