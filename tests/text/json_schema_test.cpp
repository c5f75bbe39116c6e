// Each keyword of a schema with what it takes and what it does not, every refusal by name, and answers that Python's
// jsonschema and re have judged (tests/golden/check_constraints.py).
#include "ivl/text/json_schema.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "constraint_checks.hpp"
#include "ivl/files/json.hpp"

namespace {

namespace schemas {

using namespace ivl;
using json_tokens::check_texts, json_tokens::refused, json_tokens::takes, json_tokens::schema;
using json_tokens::Texts;

struct SchemaCase {
  const char* schema;
  Texts taken, not_taken;
};

TEST_CASE("Each keyword of a schema takes what it allows, written in the one way that we write") {
  const SchemaCase cases[] = {
      {R"({"type": "null"})", {"null"}, {"", "nul", "null ", "true"}},
      {R"({"type": ["boolean", "null"]})", {"true", "false", "null"}, {"1", "\"true\""}},
      {R"({"type": "string"})",
       {R"("")", R"("a\"\\\/\b\f\n\r\t\u00e9\ud7ffé日😀")", R"("\ud83d\ude00")", "\"\x7f\""},
       {"\"", "\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00\ud83d")", R"("\ud83d\u0041")", "\"\xFF\"", "a",
        R"("a"b)"}},
      {R"({"minLength": 1, "maxLength": 2})",
       {R"("a")", R"("日😀")", R"("\n\ud83d\ude00")"},
       {R"("")", R"("abc")", "1"}},
      {R"({"pattern": "^[^b]\"?$"})",
       {R"("a")", R"("a\"")", R"("\n")", R"("\\")", R"("\u0001")"},
       {R"("b")", R"("\u0061")", R"("\u0062")", R"("")", R"("\u000a")", "\"\n\"", "\"\"\""}},
      {R"({"type": "string", "pattern": "b+|^c|d$"})",
       {R"("abbc")", R"("cx")", R"("xd")"},
       {R"("a")", R"("xc")", R"("dx")"}},
      {R"({"type": "integer"})",
       {"0", "-1", "999999999999999999"},
       {"-0", "01", "1.0", "1000000000000000000", "1e3", "+1", ""}},
      {R"({"type": "number"})",
       {"0", "-0", "1.50", "-0.001e-10", "1E5", "999999999999999.999999999999999"},
       {"01", "1.", ".5", "1e", "1e100", "NaN", "1000000000000000", "0.1234567890123456"}},
      {R"({"type": "integer", "minimum": -2.5, "exclusiveMaximum": 3, "maximum": 7})",
       {"-2", "-1", "0", "2"},
       {"-3", "3", "-0"}},
      {R"({"type": "integer", "exclusiveMinimum": 1.5, "maximum": 1e1})", {"2", "10"}, {"1", "11"}},
      {R"({"minimum": 0, "exclusiveMaximum": 1})",
       {"0", "0.99", "-0.0", "0.0"},
       {"1", "1.0", "-0.1", "0.99e0", "1e-1"}},
      {R"({"type": "number", "exclusiveMinimum": -10, "maximum": 12})",
       {"-9.99", "-9", "12", "12.00", "11.9", "0.5", "-0"},
       {"-10", "-10.0", "12.01", "13", "100"}},
      {R"({"type": "number", "exclusiveMinimum": 3, "maximum": 3})", {}, {}},
      {R"({"enum": ["a\n", 1, 1.5, null, [1, {"b": []}], {}]})",
       {R"("a\n")", "1", "1.5", "null", R"([1, {"b": []}])", "{}"},
       {R"("a")", "1.0", "2", R"([1,{"b": []}])", "[]"}},
      {R"({"type": ["string", "integer"], "enum": ["a", 1, 1.5, 2.0, null]})", {R"("a")", "1", "2.0"}, {"1.5", "null"}},
      {R"({"const": {"z": "日", "a": [true, "\""]}})",
       {R"({"z": "日", "a": [true, "\""]})"},
       {R"({"a": [true, "\""], "z": "日"})"}},
      {R"({"type": "array", "items": {"type": "null"}})",
       {"[]", "[null]", "[null, null, null, null]"},
       {"[null,null]", "[null, ]", "[ ]", "[1]"}},
      {R"({"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 3})",
       {"[null, null]", "[null, null, null]"},
       {"[]", "[null]", "[null, null, null, null]"}},
      {R"({"items": {"type": "null"}, "minItems": 2})", {"[null, null]", "[null, null, null, null]"}, {"[null]"}},
      {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}})",
       {"[]", "[1]", "[1, 2]", "[1, 2, 3, 3]"},
       {"[2]", "[1, 3]", "[1, 2, 4]"}},
      {R"({"prefixItems": [{"const": 1}], "items": false, "minItems": 1, "uniqueItems": false})",
       {"[1]"},
       {"[]", "[1, 1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "object", "properties": {"b": {"const": 1}, "a\"": {"const": 2}, "c": {"const": 3}}, "required": ["a\""]})",
       {R"({"b": 1, "a\"": 2, "c": 3})", R"({"a\"": 2})", R"({"b": 1, "a\"": 2})", R"({"a\"": 2, "c": 3})"},
       {"{}", R"({"b": 1})", R"({"a\"": 2, "b": 1})", R"({"a\"": 2,"c": 3})", R"({"a\"":2})", R"({"a\"": 2, })",
        R"({"a\"": 2, "d": 1})"}},
      {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}})",
       {"{}", R"({"a": 1})", R"({"b": 2})", R"({"a": 1, "b": 2})"},
       {R"({, "b": 2})", R"({"b": 2, "a": 1})", "1"}},
      {R"({"properties": {"a": false, "b": true}, "additionalProperties": true})",
       {"{}", R"({"b": [{"x": null}]})"},
       {R"({"a": 1})", R"({"c": 1})"}},
      {R"({"type": "object", "additionalProperties": {"const": 1}})",
       {"{}", R"({"": 1})", R"({"a\n": 1, "b": 1})"},
       {R"({"a": 2})", R"({"\u0061": 1})", R"({"a": 1,"b": 1})"}},
      {R"({"type": "object", "properties": {}, "additionalProperties": false})", {"{}"}, {R"({"a": 1})"}},
      {R"({"type": "object"})", {"{}", R"({"a": {"b": [1, "x", null, true]}})"}, {"[]", R"({"a"})", R"({1: 1})"}},
      {R"({"anyOf": [{"const": "a"}, {"type": "string", "maxLength": 1}, {"type": "array", "items": {"const": 1}},
          {"type": "array", "items": {"const": "x"}}]})",
       {R"("a")", R"("b")", R"("")", "[1, 1]", R"(["x"])", "[]"},
       {R"("ab")", R"([1, "x"])"}},
      {R"({"oneOf": [{"type": "string"}, {"enum": [1, 2]}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "null"}}})",
       {R"("a")", "1", "null"},
       {"3"}},
      {R"({"allOf": [{"type": "null"}], "title": "T", "description": "D", "default": 1, "examples": [1], "$comment": "c",
          "$schema": "s", "$id": "i", "readOnly": true, "deprecated": true, "writeOnly": true})",
       {"null"},
       {"1"}},
      {R"({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"$ref": "#/definitions/c"}, "c": {"type": "null"}}})",
       {"null"},
       {"1"}},
      {R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]})",
       {R"({"next": null})", R"({"next": {"next": {"next": null}}})"},
       {"{}", "null"}},
      {"true", {"1", "[]"}, {""}},
      {"{}", {"null", R"([{"a": "b"}, 1.5e3])"}, {"nul"}},
  };
  for (const SchemaCase& each : cases) {
    CAPTURE(each.schema);
    if (each.taken.empty()) {
      CHECK(refused([&] { schema(each.schema); }) ==
            "json_schema: no text follows it: what it asks for excludes each other");
      continue;
    }
    check_texts(*schema(each.schema), each.taken, each.not_taken);
  }
}

TEST_CASE("Integers between bounds are all of those and no others") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 60; ++round) {
    const int least = int(random() % 2300) - 1150, most = least + 1 + int(random() % (round % 2 == 0 ? 30 : 2000));
    CAPTURE(least);
    CAPTURE(most);
    const Json bounds{{"type", "integer"}, {"minimum", least}, {"maximum", most}};
    const auto constraint = schema(bounds.dump());
    for (int number = -1300; number < 4000; ++number) {
      if (takes(*constraint, std::to_string(number)) != (number >= least && number <= most)) {
        CAPTURE(number);
        FAIL("wrong");
      }
    }
    const auto decimals = schema(Json{{"type", "number"}, {"exclusiveMinimum", least}, {"maximum", most}}.dump());
    for (int tenths = 10 * least - 30; tenths < 10 * least + 30; ++tenths) {
      for (const int number : {tenths, 10 * most - 10 * least + tenths}) {
        const std::string text = (number < 0 ? "-" : "") + std::to_string(std::abs(number) / 10) + "." +
                                 std::to_string(std::abs(number) % 10);
        CAPTURE(text);
        REQUIRE(takes(*decimals, text) == (number > 10 * least && number <= 10 * most));
      }
    }
  }
}

TEST_CASE("Every text ends within 64 levels, and one that has to nest deeper is refused") {
  const auto nested = [](int depth, const std::string& inside) {
    return std::string(std::size_t(depth), '[') + inside + std::string(std::size_t(depth), ']');
  };
  check_texts(*schema("{}"), {nested(64, ""), nested(64, "\"a\""), nested(63, "{\"a\": \"b\"}")},
              {nested(65, ""), nested(64, "{}")});
  // Each level of it needs one more below it.
  const auto pairs =
      schema(R"({"$defs": {"p": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "array",
      "items": {"$ref": "#/$defs/p"}}}}, "$ref": "#/$defs/p"})");
  check_texts(*pairs, {nested(2, ""), nested(64, "")}, {nested(63, ""), nested(66, "")});
  Json deep{{"type", "null"}};
  for (int level = 0; level < 30; ++level)
    deep = {{"type", "array"},
            {"minItems", 1},
            {"maxItems", 1},
            {"items", {{"type", "array"}, {"minItems", 1}, {"items", deep}}}};
  CHECK(takes(*schema(deep.dump()), nested(60, "null")));
  CHECK(refused([] {
          std::string levels = R"({"$defs": {"65": {"type": "null"})";
          for (int level = 64; level >= 0; --level)
            levels += ", \"" + std::to_string(level) +
                      R"(": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/)" + std::to_string(level + 1) +
                      "\"}}";
          schema(levels + R"(}, "$ref": "#/$defs/0"})");
        }) == "json_schema: every text that follows it nests deeper than 64 levels");
}

TEST_CASE("Every keyword that is not obeyed is refused with its JSON pointer") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties": {"a/b": {"not": {}}}})", "#/properties/a~1b/not: this keyword is not supported"},
      {R"({"if": true})", "#/if: this keyword is not supported"},
      {R"({"type": "string", "format": "date"})", "#/format: this keyword is not supported"},
      {R"({"multipleOf": 2})", "#/multipleOf: this keyword"},
      {R"({"patternProperties": {}})", "#/patternProperties: this"},
      {R"({"propertyNames": {}})", "#/propertyNames: this"},
      {R"({"minProperties": 1})", "#/minProperties: this"},
      {R"({"maxProperties": 1})", "#/maxProperties: this"},
      {R"({"dependentRequired": {}})", "#/dependentRequired: this"},
      {R"({"contains": {}})", "#/contains: this"},
      {R"({"unevaluatedProperties": false})", "#/unevaluatedProperties: this"},
      {R"({"$dynamicRef": "#"})", "#/$dynamicRef: this"},
      {R"({"$anchor": "a"})", "#/$anchor: this"},
      {R"({"nullable": true})", "#/nullable: this"},
      {R"({"items": {"$id": "x"}})", "#/items/$id: this"},
      {R"({"anyOf": [{}, {"typo": 1}]})", "#/anyOf/1/typo: this"},
      {R"({"uniqueItems": true})", "#/uniqueItems: only false is supported"},
      {R"({"items": [{}]})", "#/items: expected a schema, found an array; prefixItems"},
      {R"({"prefixItems": {}})", "#/prefixItems: expected an array of schemas"},
      {R"({"allOf": [{}, {}]})", "#/allOf: supported with a single schema alone, found 2"},
      {R"({"anyOf": [{}], "type": "string"})", "#/type: not supported beside anyOf"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {}}, "minimum": 1})", "#/minimum: not supported beside $ref"},
      {R"({"enum": ["a"], "minLength": 1})", "#/minLength: not supported beside enum"},
      {R"({"enum": ["a"], "const": "a"})", "#/const: not supported beside enum"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "#/oneOf/1: values of it may be valid by an earlier"},
      {R"({"oneOf": [{"type": "string"}, {"pattern": "a"}]})", "#/oneOf/1: values of it may be"},
      {R"({"oneOf": [{"const": 1}, {"anyOf": [{"type": "null"}, {"enum": ["a", 2]}]}]})", "#/oneOf/1: values"},
      {R"({"anyOf": []})", "#/anyOf: expected an array of at least one schema"},
      {R"({"anyOf": {}})", "#/anyOf: expected an array of at least one schema"},
      {R"({"enum": []})", "#/enum: expected an array of at least one value"},
      {R"({"type": "string", "enum": [1]})", "#/enum: none of its values is of the schema's type"},
      {R"({"type": "string", "const": 1})", "#/const: the value is not of the schema's type"},
      {R"({"const": 1e300})", "#/const: numbers of 2^63 or more"},
      {R"({"type": "text"})", "#/type: expected null, boolean, integer"},
      {R"({"type": ["string", 1]})", "#/type/1: expected null, boolean, integer"},
      {R"({"type": []})", "#/type: expected at least one type"},
      {R"({"minLength": -1})", "#/minLength: expected a whole number of 0 or more, found -1"},
      {R"({"minLength": 1.5})", "#/minLength: expected a whole number of 0 or more, found 1.5"},
      {R"({"minLength": 3, "maxLength": 2})", "#/maxLength: expected at least minLength"},
      {R"({"minLength": 3, "pattern": "a"})", "#/pattern: not supported beside minLength or maxLength"},
      {R"x({"pattern": "a(?=b)"})x", "json_schema: #/pattern 'a(?=b)': at byte 2: (?=: look-ahead is not supported"},
      {R"({"pattern": 1})", "#/pattern: expected a string"},
      {R"({"minItems": 2, "maxItems": 1})", "#: expected room for minItems, found 1 items at most and 2 at least"},
      {R"({"prefixItems": [{}], "items": false, "minItems": 2})", "#: expected room for minItems"},
      {R"({"type": "number", "minimum": 0.5})", "#/minimum: of type number, expected a whole number"},
      {R"({"type": "number", "minimum": 123456789012345})",
       "#/minimum: of type number, expected a bound of at most 14"},
      {R"({"type": "integer", "minimum": 1e18})", "#/minimum: beyond the integers of 18 digits"},
      {R"({"exclusiveMinimum": true})", "#/exclusiveMinimum: expected a number, found true"},
      {R"({"properties": {"a": {}}, "required": ["b"]})",
       "#/required: expected each to be one of properties, found 'b'"},
      {R"({"required": ["b"]})", "#/required: expected each to be one of properties"},
      {R"({"required": "b"})", "#/required: expected an array of strings"},
      {R"({"required": [1]})", "#/required/0: expected a string"},
      {R"({"properties": []})", "#/properties: expected an object"},
      {R"({"properties": {"a": 1}})", "#/properties/a: expected a schema, an object or true or false, found 1"},
      {R"({"properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
       "#/additionalProperties: a schema is supported"},
      {R"({"properties": {"a": {}}, "additionalProperties": 1})", "#/additionalProperties: expected a schema"},
      {R"({"type": "object", "additionalProperties": 1})", "#/additionalProperties: expected a schema"},
      {R"({"$ref": "other.json"})", "#/$ref: expected # or #/ and a JSON pointer"},
      {R"({"$ref": "#name"})", "#/$ref: expected # or #/"},
      {R"({"$ref": "#/a%25"})", "#/$ref: expected # or #/"},
      {R"({"$ref": "#/$defs/none"})", "#/$ref: the schema has no '#/$defs/none'"},
      {R"({"$ref": "#/~2"})", "#/$ref: the schema has no '#/~2'"},
      {R"({"$ref": 1})", "#/$ref: expected a string"},
      {R"({"$ref": "#"})", "#: $ref leads in a circle"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "it refers to itself without an object or array between"},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no text follows it"},
      {R"({"minLength": 100000})", "json_schema: it needs more than"},
      {R"({"maxLength": 5000})", "json_schema: its automaton needs more than 32768 states"},
      {"false", "no text follows it"},
      {"1", "#: expected a schema"},
      {"{", "json_schema: not valid JSON at byte"},
      {R"({"a": 1, "a": 2})", "json_schema: the key 'a' occurs twice in one object"},
  };
  for (const auto& [text, wanted] : cases) {
    CAPTURE(text);
    const std::string found = refused([text = text] { schema(text); });
    CAPTURE(found);
    CHECK(found.starts_with("json_schema: "));
    CHECK(found.find(wanted) != found.npos);
  }
}

TEST_CASE("Answers that jsonschema and re called valid are taken, and those that they did not are not") {
  const Json golden = read_json(std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/constraints.json");
  REQUIRE(golden["cases"].size() >= 400);
  std::mt19937_64 random(1);
  for (const Json& one : golden["cases"]) {
    const bool is_regex = one.contains("regex");
    const std::string text = is_regex ? one["regex"] : one["schema"];
    CAPTURE(text);
    const auto constraint = is_regex ? json_tokens::regex(text) : schema(text);
    check_texts(*constraint, one["valid"].get<Texts>(), one["invalid"].get<Texts>());
    const auto answer = json_tokens::random_answer(json_tokens::small().tokenizer, constraint, random);
    if (answer) CHECK(takes(*constraint, *answer));
    if (answer && !is_regex) CHECK_NOTHROW(parse_json(*answer, "answer"));
  }
}

}  // namespace schemas

}  // namespace
