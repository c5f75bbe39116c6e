// Arithmetic of chat templates, as Python's. What would need integers beyond 64 bits fails.
#pragma once
#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_syntax.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

Value arithmetic(Run& run, Op op, const Value& a, const Value& b);
Value negate(Run& run, const Value& value);
bool compares(Run& run, Op op, const Value& a, const Value& b);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_operators.ipp"
#endif
