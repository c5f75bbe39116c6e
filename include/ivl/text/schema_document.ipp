// The bodies of schema_document.hpp.
#pragma once
#include <algorithm>
#include <cmath>

#include "ivl/text/schema_document.hpp"

namespace ivl::detail {

inline constexpr std::pair<std::string_view, JsonKind> json_kinds[] = {
    {"null", null_kind},   {"boolean", boolean_kind}, {"number", number_kind},  {"string", string_kind},
    {"array", array_kind}, {"object", object_kind},   {"integer", integer_kind}};

/// Keywords that hold for values of one kind alone.
inline constexpr std::pair<std::string_view, JsonKind> json_keywords[] = {
    {"minimum", number_kind},          {"maximum", number_kind},  {"exclusiveMinimum", number_kind},
    {"exclusiveMaximum", number_kind}, {"pattern", string_kind},  {"minLength", string_kind},
    {"maxLength", string_kind},        {"items", array_kind},     {"prefixItems", array_kind},
    {"minItems", array_kind},          {"maxItems", array_kind},  {"uniqueItems", array_kind},
    {"properties", object_kind},       {"required", object_kind}, {"additionalProperties", object_kind}};

/// Keywords that hold whatever the value is.
inline constexpr std::string_view json_general_keywords[] = {"type",  "enum",  "const", "anyOf",
                                                             "oneOf", "allOf", "$ref"};

/// Keywords that ask nothing of a value.
inline constexpr std::string_view json_annotations[] = {"title",      "description", "default",    "examples",
                                                        "$schema",    "$comment",    "readOnly",   "writeOnly",
                                                        "deprecated", "$defs",       "definitions"};

template <class List>
bool is_among(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != std::ranges::end(list);
}

IVL_INLINE unsigned kind_of_json(const Json& value) {
  if (value.is_null()) return null_kind;
  if (value.is_boolean()) return boolean_kind;
  if (value.is_number()) return number_kind;
  if (value.is_string()) return string_kind;
  return value.is_array() ? array_kind : object_kind;
}

// ---- places ---------------------------------------------------------------------------------------------------------

IVL_INLINE std::string SchemaPlace::below(std::string_view name) const {
  std::string escaped = pointer + "/";
  for (const char letter : name) escaped += letter == '~' ? "~0" : letter == '/' ? "~1" : std::string(1, letter);
  return escaped;
}

IVL_INLINE unsigned SchemaPlace::check_keywords() const {
  unsigned kinds = no_kind;
  for (const auto& [keyword, value] : schema->items()) {
    const auto found = std::ranges::find_if(json_keywords, [&](const auto& known) { return known.first == keyword; });
    if (found != std::ranges::end(json_keywords))
      kinds |= found->second;
    else if (!is_among(json_general_keywords, keyword) && !is_among(json_annotations, keyword) &&
             !(keyword == "$id" && pointer.empty()))
      at(keyword).refuse("this keyword is not supported");
  }
  return kinds;
}

IVL_INLINE void SchemaPlace::check_alone(std::string_view keyword, std::string_view also) const {
  for (const auto& [other, value] : schema->items()) {
    if (other != keyword && other != also && other != "$id" && !is_among(json_annotations, other))
      at(other).refuse("not supported beside ", keyword);
  }
}

IVL_INLINE unsigned SchemaPlace::kinds_of_type() const {
  const auto one = [](const SchemaPlace& name) {
    if (name.schema->is_string()) {
      for (const auto& [text, kind] : json_kinds)
        if (*name.schema == text) return unsigned(kind);
    }
    name.refuse("expected null, boolean, integer, number, string, array or object, found ", describe(*name.schema));
  };
  if (!schema->is_array()) return one(*this);
  if (schema->empty()) refuse("expected at least one type, found none");
  unsigned kinds = no_kind;
  for (std::size_t i = 0; i < schema->size(); ++i) kinds |= one(at(i));
  return kinds & number_kind ? kinds & ~unsigned(integer_kind) : kinds;
}

IVL_INLINE std::int64_t SchemaPlace::count(std::string_view keyword, std::int64_t otherwise) const {
  if (!has(keyword)) return otherwise;
  const SchemaPlace place = at(keyword);
  const double value = place.schema->is_number() ? place.schema->get<double>() : -1;
  if (value < 0 || value != std::floor(value))
    place.refuse("expected a whole number of 0 or more, found ", describe(*place.schema));
  return std::int64_t(std::min(value, 1e9));
}

// ---- documents ------------------------------------------------------------------------------------------------------

IVL_INLINE SchemaDocument::SchemaDocument(std::string_view text) : JsonBuilder("json_schema") {
  constexpr std::size_t most_bytes = 1 << 18;
  parse(text, most_bytes);
  root_ = take();
}

IVL_INLINE std::vector<std::string> SchemaDocument::keys(const Json& object) const {
  const auto found = keys_.find(object.get_ptr<const Json::object_t*>());
  return found == keys_.end() ? std::vector<std::string>() : found->second;
}

IVL_INLINE bool SchemaDocument::key(string_t& name) {
  keys_[open_.back()->get_ptr<Json::object_t*>()].push_back(name);
  return JsonBuilder::key(name);
}

IVL_INLINE SchemaPlace SchemaDocument::resolved(SchemaPlace place) const {
  constexpr int most = 100;
  for (int hops = 0; place.schema->is_object() && place.has("$ref"); ++hops) {
    if (hops == most) place.refuse("$ref leads in a circle, or to more than ", most, " others");
    place.check_keywords();
    place.check_alone("$ref");
    place = target_of(place.at("$ref"));
  }
  return place;
}

IVL_INLINE SchemaPlace SchemaDocument::target_of(const SchemaPlace& reference) const {
  if (!reference.schema->is_string()) reference.refuse("expected a string, found ", describe(*reference.schema));
  const auto& text = reference.schema->get_ref<const std::string&>();
  const bool local = text == "#" || text.starts_with("#/");
  if (!local || text.find('%') != text.npos)
    reference.refuse("expected # or #/ and a JSON pointer without %, within the schema itself, found ",
                     in_quotes(text));
  try {
    return {&root_.at(Json::json_pointer(text.substr(1))), text.substr(1)};
  } catch (const Json::exception&) {
    reference.refuse("the schema has no ", in_quotes(text));
  }
}

IVL_INLINE unsigned SchemaDocument::kinds_of(const SchemaPlace& unresolved, int nested) const {
  constexpr int most = 20;
  const SchemaPlace place = resolved(unresolved);
  if (*place.schema == false) return no_kind;
  if (!place.schema->is_object() || nested > most) return every_kind;
  unsigned kinds = every_kind;
  if (place.has("type")) {
    kinds = place.at("type").kinds_of_type();
    if (kinds & integer_kind) kinds = (kinds & every_kind) | number_kind;
  }
  const auto keep_those_of = [&](const SchemaPlace& list, const auto& kinds_at) {
    if (!list.schema->is_array()) return;  // refused when its turn comes
    unsigned all = no_kind;
    for (std::size_t i = 0; i < list.schema->size(); ++i) all |= kinds_at(list.at(i));
    kinds &= all;
  };
  if (place.has("const")) kinds &= kind_of_json(place.schema->at("const"));
  if (place.has("enum"))
    keep_those_of(place.at("enum"), [](const SchemaPlace& value) { return kind_of_json(*value.schema); });
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (place.has(keyword))
      keep_those_of(place.at(keyword), [&](const SchemaPlace& schema) { return kinds_of(schema, nested + 1); });
  }
  return kinds;
}

}  // namespace ivl::detail
