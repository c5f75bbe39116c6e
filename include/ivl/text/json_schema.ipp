// The bodies of json_schema.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/json.hpp"
#include "ivl/text/byte_regex.hpp"
#include "ivl/text/json_numbers.hpp"
#include "ivl/text/json_schema.hpp"
#include "ivl/text/schema_document.hpp"

namespace ivl {

/// Every value is read from a state to a state; objects, arrays and strings by rules of their own, whose bodies are
/// made one after the other, so that schemas may refer to themselves.
class JsonSchemaGrammar {
 public:
  explicit JsonSchemaGrammar(std::string_view schema) : document_(schema), grammar_("json_schema") {}

  ByteGrammar make() {
    add_value(document_.root(), grammar_.start(), grammar_.end());
    for (std::size_t done = 0; done < to_do_.size(); ++done) {
      const ToDo next = to_do_[done];
      const ByteGrammar::Rule rule = grammar_.rules()[std::size_t(next.rule)];
      if (next.kind == detail::object_kind) add_object(next.place, rule);
      if (next.kind == detail::array_kind) add_array(next.place, rule);
      if (next.kind == detail::string_kind) add_string(next.place, rule);
    }
    return std::move(grammar_);
  }

 private:
  using Place = detail::SchemaPlace;
  struct ToDo {
    Place place;
    unsigned kind;
    int rule;
  };

  // ---- values -------------------------------------------------------------------------------------------------------
  void add_value(const Place& unresolved, int from, int to) {
    constexpr int most_inside = 100;
    if (++inside_ > most_inside)
      unresolved.refuse("it refers to itself without an object or array between, or nests deeper than ", most_inside);
    const int begin = grammar_.add_state();  // so that whatever grows is noticed
    grammar_.skip(from, begin);
    const Place place = document_.resolved(unresolved);
    if (place.schema->is_boolean()) {
      if (place.schema->get<bool>()) add_kinds(anything(), detail::every_kind, begin, to);
    } else if (place.schema->is_object()) {
      add_schema(place, begin, to);
    } else {
      place.refuse("expected a schema, an object or true or false, found ", detail::describe(*place.schema));
    }
    --inside_;
  }

  void add_schema(const Place& place, int from, int to) {
    const unsigned spoken_of = place.check_keywords();
    for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
      if (!place.has(keyword)) continue;
      place.check_alone(keyword);
      return add_alternatives(place.at(keyword), keyword, from, to);
    }
    unsigned kinds = spoken_of == detail::no_kind ? unsigned(detail::every_kind) : spoken_of;
    if (place.has("type")) kinds = place.at("type").kinds_of_type();
    for (const char* keyword : {"enum", "const"}) {
      if (!place.has(keyword)) continue;
      place.check_alone(keyword, "type");
      return add_choice(place, keyword, place.has("type") ? kinds : unsigned(detail::every_kind), from, to);
    }
    add_kinds(place, kinds, from, to);
  }

  void add_alternatives(const Place& list, std::string_view keyword, int from, int to) {
    if (!list.schema->is_array() || list.schema->empty())
      list.refuse("expected an array of at least one schema, found ", detail::describe(*list.schema));
    const std::size_t number = list.schema->size();
    if (keyword == "allOf" && number > 1) list.refuse("supported with a single schema alone, found ", number);
    if (keyword == "oneOf") {
      unsigned before = detail::no_kind;
      for (std::size_t i = 0; i < number; ++i) {
        const unsigned kinds = document_.kinds_of(list.at(i));
        if (before & kinds)
          list.at(i).refuse(
              "values of it may be valid by an earlier schema of oneOf too; anyOf lets both be, and "
              "schemas of different types exclude each other");
        before |= kinds;
      }
    }
    for (std::size_t i = 0; i < number; ++i) add_value(list.at(i), from, to);
  }

  Place anything() const { return {&anything_, ""}; }

  void add_kinds(const Place& place, unsigned kinds, int from, int to) {
    if (kinds & detail::null_kind) grammar_.read_text(from, "null", to);
    if (kinds & detail::boolean_kind) {
      grammar_.read_text(from, "true", to);
      grammar_.read_text(from, "false", to);
    }
    if (kinds & (detail::number_kind | detail::integer_kind))
      add_number(place, !(kinds & detail::number_kind), from, to);
    if (kinds & detail::string_kind) grammar_.call(from, '"', rule_of(place, detail::string_kind), to);
    if (kinds & detail::array_kind) grammar_.call(from, '[', rule_of(place, detail::array_kind), to);
    if (kinds & detail::object_kind) grammar_.call(from, '{', rule_of(place, detail::object_kind), to);
  }

  /// Of strings without bounds there is one rule: what tokens may follow in it is found once.
  int rule_of(const Place& place, unsigned kind) {
    const bool bounded = place.has("pattern") || place.has("minLength") || place.has("maxLength");
    const Place of = kind == detail::string_kind && !bounded ? anything() : place;
    const auto [at, is_new] = rules_.emplace(std::pair(of.schema, kind), 0);
    if (is_new) {
      at->second = grammar_.add_rule();
      to_do_.push_back({of, kind, at->second});
    }
    return at->second;
  }

  // ---- enum and const -----------------------------------------------------------------------------------------------
  void add_choice(const Place& place, std::string_view keyword, unsigned kinds, int from, int to) {
    const Place at = place.at(keyword);
    if (keyword == "const") {
      if (!fits(*at.schema, kinds)) at.refuse("the value is not of the schema's type");
      return add_constant(at, from, to);
    }
    if (!at.schema->is_array() || at.schema->empty())
      at.refuse("expected an array of at least one value, found ", detail::describe(*at.schema));
    bool any = false;
    int strings = -1;
    for (std::size_t i = 0; i < at.schema->size(); ++i) {
      const Place value = at.at(i);
      if (!fits(*value.schema, kinds)) continue;
      any = true;
      if (!value.schema->is_string()) {
        add_constant(value, from, to);
        continue;
      }
      if (strings < 0) grammar_.call(from, '"', strings = grammar_.add_rule(), to);
      add_string_constant(*value.schema, strings);
    }
    if (!any) at.refuse("none of its values is of the schema's type");
  }

  static bool fits(const Json& value, unsigned kinds) {
    if (detail::kind_of_json(value) & kinds) return true;
    if (!(kinds & detail::integer_kind) || !value.is_number()) return false;
    return value.is_number_integer() || value.get<double>() == std::floor(value.get<double>());
  }

  void add_string_constant(const Json& value, int rule) {
    const std::string text = value.dump();  // between quotes
    const ByteGrammar::Rule states = grammar_.rules()[std::size_t(rule)];
    grammar_.read(grammar_.read_text(states.start, std::string_view(text).substr(1, text.size() - 2)), '"', states.end);
  }

  void add_constant(const Place& place, int from, int to) {
    const Json& value = *place.schema;
    if (value.is_number_float() && std::abs(value.get<double>()) >= 0x1p63)
      place.refuse("numbers of 2^63 or more are not supported here");
    if (!value.is_string() && !value.is_structured()) return grammar_.read_text(from, value.dump(), to);
    const int rule = grammar_.add_rule();
    grammar_.call(from, value.is_string() ? '"' : value.is_array() ? '[' : '{', rule, to);
    if (value.is_string()) return add_string_constant(value, rule);
    const ByteGrammar::Rule states = grammar_.rules()[std::size_t(rule)];
    int at = states.start;
    const auto add_part = [&](const std::string& before, const Place& part) {
      const int begin = grammar_.read_text(at, (at == states.start ? "" : ", ") + before), end = grammar_.add_state();
      add_constant(part, begin, at = end);
    };
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) add_part("", place.at(i));
    } else {
      for (const std::string& key : document_.keys(value)) add_part(Json(key).dump() + ": ", place.at(key));
    }
    grammar_.read(at, value.is_array() ? ']' : '}', states.end);
  }

  // ---- numbers ------------------------------------------------------------------------------------------------------
  void add_number(const Place& place, bool whole, int from, int to) {
    const bool bounded =
        place.has("minimum") || place.has("maximum") || place.has("exclusiveMinimum") || place.has("exclusiveMaximum");
    if (!whole && !bounded) {
      static const ByteRegex number(R"(-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?)", "number");
      return number.add_whole(grammar_, from, to);
    }
    constexpr std::int64_t largest_decimal = 999'999'999'999'999;
    JsonBounds bounds;
    if (!whole) bounds = {.least = -largest_decimal, .most = largest_decimal};
    int digits = 0;
    for (const bool exclusive : {false, true}) {
      if (const auto least = bound(place, exclusive ? "exclusiveMinimum" : "minimum", whole, digits, 1);
          least && (*least > bounds.least || (*least == bounds.least && exclusive)))
        bounds.least = *least, bounds.above_least = exclusive;
      if (const auto most = bound(place, exclusive ? "exclusiveMaximum" : "maximum", whole, digits, -1);
          most && (*most < bounds.most || (*most == bounds.most && exclusive)))
        bounds.most = *most, bounds.below_most = exclusive;
    }
    if (whole)
      add_integers(grammar_, from, to, bounds);
    else
      add_decimals(grammar_, from, to, bounds, 15 - digits);
  }

  /// Of an integer, a bound that is not whole becomes the next that is, inwards: `inwards` 1 for a least. Of other
  /// numbers, what is compared are doubles: 15 digits, those of the bound in front of the point among them, are as many
  /// as a double tells apart.
  static std::optional<std::int64_t> bound(const Place& place, std::string_view keyword, bool whole, int& digits,
                                           int inwards) {
    if (!place.has(keyword)) return std::nullopt;
    const Place at = place.at(keyword);
    if (!at.schema->is_number()) at.refuse("expected a number, found ", detail::describe(*at.schema));
    const bool exclusive = keyword.starts_with("exclusive");
    constexpr double limit = 1e18;
    const double value = at.schema->get<double>();
    if (std::abs(value) >= limit) {
      if (value * inwards > 0) at.refuse("beyond the integers of 18 digits, the longest that are written");
      return std::nullopt;  // all that is written is within
    }
    if (at.schema->is_number_integer() || value == std::floor(value)) {
      const auto number = at.schema->is_number_integer() ? at.schema->get<std::int64_t>() : std::int64_t(value);
      if (whole) return number;
      constexpr int most_digits = 14;
      digits = std::max(digits, int(std::to_string(std::abs(number)).size()));
      if (digits > most_digits) at.refuse("of type number, expected a bound of at most ", most_digits, " digits");
      return number;
    }
    if (!whole) at.refuse("of type number, expected a whole number, found ", value);
    const auto next = std::int64_t(inwards > 0 ? std::ceil(value) : std::floor(value));
    return exclusive ? next - inwards : next;
  }

  // ---- strings ------------------------------------------------------------------------------------------------------
  void add_string(const Place& place, const ByteGrammar::Rule& rule) {
    const int end = grammar_.add_state();
    grammar_.read(end, '"', rule.end);
    const std::int64_t least = place.count("minLength", 0), most = place.count("maxLength", -1);
    const bool has_length = place.has("minLength") || place.has("maxLength");
    if (place.has("pattern")) {
      const Place at = place.at("pattern");
      if (has_length) at.refuse("not supported beside minLength or maxLength; a pattern can count: ^.{1,9}$");
      if (!at.schema->is_string()) at.refuse("expected a string, found ", detail::describe(*at.schema));
      const ByteRegex pattern(at.schema->get_ref<const std::string&>(), "json_schema: #" + at.pointer);
      return pattern.add_search(grammar_, rule.start, end, ByteRegex::Spelling::json);
    }
    if (place.has("maxLength") && most < least) place.at("maxLength").refuse("expected at least minLength");
    static const ByteRegex character(
        R"([^"\\\x00-\x1f]|\\(["\\/bfnrt]|u([0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|)"
        R"([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})))",
        "character");
    add_repeated(grammar_, rule.start, end, int(least), int(most),
                 [&](int before, int after) { character.add_whole(grammar_, before, after); });
  }

  // ---- arrays -------------------------------------------------------------------------------------------------------
  void add_array(const Place& place, const ByteGrammar::Rule& rule) {
    if (place.has("uniqueItems") && *place.at("uniqueItems").schema != false)
      place.at("uniqueItems").refuse("only false is supported");
    std::vector<Place> first;
    if (place.has("prefixItems")) {
      const Place list = place.at("prefixItems");
      if (!list.schema->is_array()) list.refuse("expected an array of schemas, found ", detail::describe(*list.schema));
      for (std::size_t i = 0; i < list.schema->size(); ++i) first.push_back(list.at(i));
    }
    Place items = anything();
    if (place.has("items")) items = place.at("items");
    if (items.schema->is_array()) items.refuse("expected a schema, found an array; prefixItems has one for each place");
    const std::int64_t least = place.count("minItems", 0);
    std::int64_t most = place.count("maxItems", std::numeric_limits<std::int64_t>::max());
    if (*items.schema == false) most = std::min(most, std::int64_t(first.size()));
    if (most < least)
      place.refuse("expected room for minItems, found ", most, " items at most and ", least, " at least");
    int at = rule.start;
    for (std::int64_t written = 0;; ++written) {
      if (written >= least) grammar_.read(at, ']', rule.end);
      if (written == most) return;
      const bool listed = written < std::int64_t(first.size());
      const bool last = !listed && written > 0 && written >= least && most == std::numeric_limits<std::int64_t>::max();
      const int begin = written == 0 ? at : grammar_.read_text(at, ", ");
      const int behind = last ? at : grammar_.add_state();  // the last goes round
      add_value(listed ? first[std::size_t(written)] : items, begin, behind);
      if (last) return;
      at = behind;
    }
  }

  // ---- objects ------------------------------------------------------------------------------------------------------
  void add_object(const Place& place, const ByteGrammar::Rule& rule) {
    const std::set<std::string> required = required_of(place);
    if (place.has("properties") && !place.at("properties").schema->is_object())
      place.at("properties").refuse("expected an object, found ", detail::describe(*place.at("properties").schema));
    if (!place.has("properties") || place.at("properties").schema->empty()) {
      if (!required.empty()) place.at("required").refuse("expected each to be one of properties");
      return add_map(place, rule);
    }
    if (place.has("additionalProperties")) {
      const Json& others = *place.at("additionalProperties").schema;
      if (!others.is_boolean() && !others.is_object())
        place.at("additionalProperties").refuse("expected a schema, found ", detail::describe(others));
      if (others.is_object() && !others.empty())
        place.at("additionalProperties").refuse("a schema is supported where there are no properties alone");
    }
    const Place properties = place.at("properties");
    for (const std::string& name : required)
      if (!properties.schema->contains(name))
        place.at("required").refuse("expected each to be one of properties, found ", in_quotes(name));
    int first = rule.start, next = grammar_.add_state();  // nothing is written yet; something is
    for (const std::string& name : document_.keys(*properties.schema)) {
      const int key = grammar_.add_state(), after = grammar_.add_state();
      if (first >= 0) grammar_.skip(first, key);
      grammar_.read_text(next, ", ", key);
      add_value(properties.at(name), grammar_.read_text(key, Json(name).dump() + ": "), after);
      const bool optional = !required.contains(name);
      if (optional) grammar_.skip(next, after);
      if (!optional) first = -1;
      next = after;
    }
    if (first >= 0) grammar_.read(first, '}', rule.end);
    grammar_.read(next, '}', rule.end);
  }

  static std::set<std::string> required_of(const Place& place) {
    std::set<std::string> names;
    if (!place.has("required")) return names;
    const Place list = place.at("required");
    if (!list.schema->is_array()) list.refuse("expected an array of strings, found ", detail::describe(*list.schema));
    for (std::size_t i = 0; i < list.schema->size(); ++i) {
      const Place name = list.at(i);
      if (!name.schema->is_string()) name.refuse("expected a string, found ", detail::describe(*name.schema));
      names.insert(name.schema->get<std::string>());
    }
    return names;
  }

  /// Any names, all values by one schema.
  void add_map(const Place& place, const ByteGrammar::Rule& rule) {
    grammar_.read(rule.start, '}', rule.end);
    Place values = anything();
    if (place.has("additionalProperties")) values = place.at("additionalProperties");
    if (!values.schema->is_boolean() && !values.schema->is_object())
      values.refuse("expected a schema, found ", detail::describe(*values.schema));
    if (*values.schema == false) return;
    const int key = grammar_.add_state(), name = grammar_.add_state(), after = grammar_.add_state();
    grammar_.skip(rule.start, key);
    grammar_.read(key, '"', name);
    read_spelled(grammar_, name, CodePoints::all(), name, ByteRegex::Spelling::json);
    add_value(values, grammar_.read_text(name, "\": "), after);
    grammar_.read_text(after, ", ", key);
    grammar_.read(after, '}', rule.end);
  }

  const detail::SchemaDocument document_;
  const Json anything_ = Json::object();
  ByteGrammar grammar_;
  std::map<std::pair<const Json*, unsigned>, int> rules_;
  std::vector<ToDo> to_do_;
  int inside_ = 0;
};

IVL_INLINE ByteGrammar json_schema_grammar(std::string_view schema) {
  try {
    return JsonSchemaGrammar(schema).make();
  } catch (const FileError& error) {
    throw RequestError(error.what());
  }
}

}  // namespace ivl
