// Values of chat templates as text: what Python's str, repr and json.dumps write.
#pragma once
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

/// str(value) and repr(value).
std::string str(Run& run, const Value& value);
std::string repr(Run& run, const Value& value);
std::string repr(double value);

struct JsonFormat {
  bool ascii = false, sort_keys = false, lines = false;
  std::string indent, comma = ", ", colon = ": ";
};
/// json.dumps(value).
std::string to_json(Run& run, const Value& value, const JsonFormat& format);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_print.ipp"
#endif
