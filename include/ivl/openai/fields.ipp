// The bodies of fields.hpp.
#pragma once
#include <algorithm>
#include <cctype>
#include <utility>

#include "ivl/openai/fields.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::openai {

namespace detail {

/// A body's own limits are tighter than a file's, and the parser's words are not told.
class BodyBuilder final : public ivl::detail::JsonBuilder {
 public:
  BodyBuilder() : JsonBuilder("body") {}

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    refuse("not valid JSON at byte ", position);
  }
  bool start_object(std::size_t size) override { return check_depth(), JsonBuilder::start_object(size); }
  bool start_array(std::size_t size) override { return check_depth(), JsonBuilder::start_array(size); }

 private:
  bool value(Json value) override {
    if (++values_ > max_body_values) refuse("more than ", max_body_values, " values");
    return JsonBuilder::value(std::move(value));
  }
  void check_depth() const {
    if (open_.size() == max_body_depth) refuse("nested deeper than ", max_body_depth, " levels");
  }
  std::size_t values_ = 0;
};

/// "application/json", whatever parameters follow.
inline bool is_json(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  type.erase(type.find_last_not_of(" \t") + 1);
  return type == "application/json";
}

}  // namespace detail

IVL_INLINE Json read_body(const http::Request& request) {
  if (const std::string_view type = request.field("content-type"); !detail::is_json(type))
    throw ApiError(415, "Content-Type: expected application/json, found " + in_quotes(type));
  Json body;
  try {
    detail::BodyBuilder builder;
    builder.parse(request.body);
    body = builder.take();
  } catch (const FileError& error) {
    throw ApiError(400, error.what());
  }
  if (!body.is_object()) throw ApiError(400, "body: expected an object, found " + ivl::detail::describe(body));
  return body;
}

IVL_INLINE BodyFields::BodyFields(const Json& object, std::string place) : object_(&object), place_(std::move(place)) {
  if (!object.is_object()) refuse(place_, "expected an object, found ", ivl::detail::describe(object));
}

IVL_INLINE const Json* BodyFields::find(std::string_view name) const {
  const auto field = object_->find(name);
  return field == object_->end() || field->is_null() ? nullptr : &*field;
}

IVL_INLINE std::string BodyFields::place_of(std::string_view name) const {
  return place_.empty() ? std::string(name) : (place_ + ".").append(name);
}

IVL_INLINE std::optional<bool> BodyFields::flag(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) refuse(place_of(name), "expected true or false, found ", ivl::detail::describe(*value));
  return value->get<bool>();
}

IVL_INLINE std::optional<std::int64_t> BodyFields::integer(std::string_view name, std::int64_t low,
                                                           std::int64_t high) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_number_unsigned()) {
    if (const auto number = value->get<std::uint64_t>();
        std::cmp_less_equal(low, number) && std::cmp_less_equal(number, high))
      return std::int64_t(number);
  } else if (value->is_number_integer()) {
    if (const auto number = value->get<std::int64_t>(); low <= number && number <= high) return number;
  }
  refuse(place_of(name), "expected an integer from ", low, " to ", high, ", found ", ivl::detail::describe(*value));
}

IVL_INLINE std::optional<double> BodyFields::number(std::string_view name, const Bounds& bounds) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : bounds.high + 1;
  if (number > bounds.high || number < bounds.low || (bounds.above_low && number == bounds.low))
    refuse(place_of(name), "expected a number ", bounds.above_low ? "above " : "from ", bounds.low, " to ", bounds.high,
           ", found ", ivl::detail::describe(*value));
  return number;
}

IVL_INLINE std::optional<std::string> BodyFields::text(std::string_view name, std::size_t most_bytes) const {
  const Json* value = find(name);
  return value ? std::optional(text_of(*value, place_of(name), most_bytes)) : std::nullopt;
}

IVL_INLINE std::optional<std::string> BodyFields::word(std::string_view name,
                                                       std::initializer_list<std::string_view> words) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_string() && std::ranges::find(words, value->get_ref<const std::string&>()) != words.end())
    return value->get<std::string>();
  std::string expected;
  for (const std::string_view word : words) expected.append(expected.empty() ? "" : ", ").append(word);
  refuse(place_of(name), "expected one of ", expected, ", found ", ivl::detail::describe(*value));
}

IVL_INLINE std::vector<std::string> BodyFields::texts(std::string_view name, std::size_t most_texts,
                                                      std::size_t most_bytes) const {
  const Json* value = find(name);
  if (!value) return {};
  const std::string place = place_of(name);
  std::vector<std::string> texts;
  if (value->is_string()) {
    texts.push_back(text_of(*value, place, most_bytes));
  } else {
    if (!value->is_array() || value->size() > most_texts)
      refuse(place, "expected a string, or an array of at most ", most_texts, ", found ",
             ivl::detail::describe(*value));
    for (const Json& text : *value) texts.push_back(text_of(text, element_place(place, texts.size()), most_bytes));
  }
  for (std::size_t n = 0; n < texts.size(); ++n) {
    if (texts[n].empty()) refuse(value->is_string() ? place : element_place(place, n), "expected a text, found none");
  }
  return texts;
}

IVL_INLINE std::vector<int> BodyFields::ids(std::string_view name, std::size_t most, int ids) const {
  const Json* value = find(name);
  if (!value) return {};
  const std::string place = place_of(name);
  if (!value->is_array() || value->size() > most)
    refuse(place, "expected an array of at most ", most, " token ids, found ", ivl::detail::describe(*value));
  std::vector<int> found;
  for (const Json& id : *value) found.push_back(id_of(id, element_place(place, found.size()), ids));
  return found;
}

IVL_INLINE void BodyFields::refuse_unsupported(std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names) {
    const Json* value = find(name);
    if (!value || (value->is_structured() && value->empty()) || *value == false) continue;
    openai::refuse_unsupported(place_of(name));
  }
}

IVL_INLINE std::string text_of(const Json& value, const std::string& place, std::size_t most_bytes) {
  if (!value.is_string()) refuse(place, "expected a string, found ", ivl::detail::describe(value));
  const std::string& text = value.get_ref<const std::string&>();
  if (text.size() > most_bytes) refuse(place, "expected at most ", most_bytes, " bytes, found ", text.size());
  return text;
}

IVL_INLINE int id_of(const Json& value, const std::string& place, int ids) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() < std::uint64_t(ids)) return value.get<int>();
  refuse(place, "expected a token id from 0 to ", ids - 1, ", found ", ivl::detail::describe(value));
}

IVL_INLINE std::string element_place(const std::string& place, std::size_t index) {
  return place + "[" + std::to_string(index) + "]";
}

}  // namespace ivl::openai
