// The bodies of response_format.hpp.
#pragma once
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ivl/openai/response_format.hpp"

namespace ivl::openai {

namespace detail {

/// The value at a JSON pointer of a body, as it was sent. The body was read once, within its limits.
inline std::string text_at(std::string_view body, const char* pointer) {
  return nlohmann::ordered_json::parse(body).at(nlohmann::ordered_json::json_pointer(pointer)).dump();
}

/// What a constraint says about the field at `place`.
template <class Make>
std::shared_ptr<const Constraint> naming_field(const std::string& place, const Make& make) {
  try {
    return make();
  } catch (const RequestError& error) {
    throw ApiError(400, place + ": " + error.what(), place);
  }
}

inline std::shared_ptr<const Constraint> of_schema(const std::string& schema, Constraints& constraints) {
  return constraints.find_or_make("json_schema", schema, [&](std::shared_ptr<const TokenTrie> tokens) {
    return Constraint::json_schema(std::move(tokens), schema);
  });
}

inline std::shared_ptr<const Constraint> of_response_format(const BodyFields& format, std::string_view text,
                                                            Constraints& constraints) {
  const auto type = format.word("type", {"text", "json_object", "json_schema"});
  if (!type) refuse(format.place_of("type"), "expected text, json_object or json_schema, found none");
  if (type == "text") return nullptr;
  if (type == "json_object")
    return naming_field(format.place_of("type"),
                        [&] { return constraints.find_or_make("json_object", "", Constraint::json_object); });
  const Json* outer = format.find("json_schema");
  if (!outer) refuse(format.place_of("json_schema"), "expected an object with a schema, found none");
  const BodyFields named(*outer, format.place_of("json_schema"));
  if (!named.find("schema")) refuse(named.place_of("schema"), "expected a JSON schema, found none");
  return naming_field(named.place_of("schema"),
                      [&] { return of_schema(text_at(text, "/response_format/json_schema/schema"), constraints); });
}

inline std::shared_ptr<const Constraint> of_structured_outputs(const BodyFields& outputs, std::string_view text,
                                                               Constraints& constraints) {
  constexpr std::size_t most_choices = 1024, most_choice_bytes = 4096, most_regex_bytes = 64 << 10;
  outputs.refuse_unsupported({"grammar", "json_object", "structural_tag", "whitespace_pattern"});
  const Json* schema = outputs.find("json");
  const auto regex = outputs.text("regex", most_regex_bytes);
  const std::vector<std::string> choice = outputs.texts("choice", most_choices, most_choice_bytes);
  if (int(schema != nullptr) + int(regex.has_value()) + int(!choice.empty()) != 1)
    refuse(outputs.place_of("json"), "expected one of json, regex and choice, found none or several");
  using Tokens = std::shared_ptr<const TokenTrie>;
  if (regex) {
    return naming_field(outputs.place_of("regex"), [&] {
      return constraints.find_or_make("regex", *regex,
                                      [&](Tokens tokens) { return Constraint::regex(std::move(tokens), *regex); });
    });
  }
  if (!choice.empty()) {
    return naming_field(outputs.place_of("choice"), [&] {
      return constraints.find_or_make("choice", Json(choice).dump(),
                                      [&](Tokens tokens) { return Constraint::choice(std::move(tokens), choice); });
    });
  }
  return naming_field(outputs.place_of("json"), [&] {
    return of_schema(schema->is_string() ? schema->get<std::string>() : text_at(text, "/structured_outputs/json"),
                     constraints);
  });
}

}  // namespace detail

IVL_INLINE std::shared_ptr<const Constraint> Constraints::find_or_make(
    std::string_view kind, std::string_view text,
    const std::function<std::shared_ptr<const Constraint>(std::shared_ptr<const TokenTrie>)>& make) {
  const std::string key = std::string(kind) + ' ' + std::string(text);
  const auto find = [&] {
    const auto found = std::ranges::find(last_used_, key, [](const auto& entry) { return entry.first; });
    if (found != last_used_.end()) last_used_.splice(last_used_.begin(), last_used_, found);
    return found != last_used_.end();
  };
  {
    const std::lock_guard lock(mutex_);
    if (find()) return last_used_.front().second;
  }
  auto made = make(tokens_);  // for seconds, perhaps
  const std::lock_guard lock(mutex_);
  if (!find()) last_used_.emplace_front(key, std::move(made));
  if (last_used_.size() > most) last_used_.pop_back();
  return last_used_.front().second;
}

IVL_INLINE std::shared_ptr<const Constraint> read_constraint(const BodyFields& body, std::string_view text,
                                                             Constraints& constraints) {
  const Json *format = body.find("response_format"), *outputs = body.find("structured_outputs");
  std::shared_ptr<const Constraint> constraint;
  if (format) constraint = detail::of_response_format(BodyFields(*format, "response_format"), text, constraints);
  if (!outputs) return constraint;
  if (constraint) refuse("structured_outputs", "expected response_format or structured_outputs, found both");
  return detail::of_structured_outputs(BodyFields(*outputs, "structured_outputs"), text, constraints);
}

}  // namespace ivl::openai
