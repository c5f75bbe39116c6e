// Runs a chat template that was parsed.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_syntax.hpp"
#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

/// Throws RequestError.
std::string interpret(const Template& parsed, const nlohmann::ordered_json& context, const ChatTemplateLimits& limits);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_interpreter.ipp"
#endif
