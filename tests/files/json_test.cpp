#include "ivl/files/json.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

using namespace ivl;

namespace {

std::string json_error(std::string_view text) {
  return test::error_of<FileError>([&] { parse_json(text, "config.json"); });
}

const Json config = parse_json(R"({
  "hidden_size": 1024, "negative": -3, "large": 3000000000, "huge": 18446744073709551615, "eps": 1e-6, "big": 1e300,
  "whole": 2.0, "tied": true, "name": "qwen3", "nothing": null, "mean": [0.485, 1], "kinds": ["full", 7],
  "vision_config": {"patch_size": 14}})",
                               "config.json");

template <class Value>
std::string error_at(std::string_view key) {
  return test::error_of<FileError>([&] { field<Value>(config, key, "config.json"); });
}

}  // namespace

TEST_CASE("a document of every kind of value survives reading") {
  const std::string text = R"({"a":[1,-2,3.5,true,false,null,"x\u00e9\n",[],{}],"b":{"c":[[1],[2]],"d":""}})";
  CHECK(parse_json(text, "t").dump() == R"({"a":[1,-2,3.5,true,false,null,"xé\n",[],{}],"b":{"c":[[1],[2]],"d":""}})");
  CHECK(parse_json(" 7 ", "t") == Json(7));
}

TEST_CASE("broken JSON is reported with file and position") {
  CHECK(json_error("{\"a\": 1,\n  \"b\" 2}") ==
        "config.json: not valid JSON at byte 16: parse error at line 2, column 7: syntax error while parsing object "
        "separator - unexpected number literal; expected ':'");
  CHECK(json_error("").starts_with("config.json: not valid JSON at byte 1: "));
  CHECK(json_error("{\"a\": \"\xff\"}").starts_with("config.json: not valid JSON at byte 8: "));
  CHECK(json_error("[1e400]") == "config.json: not valid JSON at byte 6: number overflow parsing '1e400'");
  CHECK(json_error("{} {}").starts_with("config.json: not valid JSON at byte 4: "));
  CHECK(json_error("[NaN]").starts_with("config.json: not valid JSON at byte "));
  CHECK(json_error(std::string_view("{}\0{", 4)) == "config.json: not valid JSON at byte 3: a NUL byte");
  CHECK(json_error("[" + std::string(1000000, '1') + "e9]").size() < 300);
  CHECK(json_error("[\"" + std::string(1000000, 'x')).size() < 300);
}

TEST_CASE("a key that occurs twice in one object is refused") {
  CHECK(json_error(R"({"a": {"b": 1, "b": 1}})") == "config.json: the key 'b' occurs twice in one object");
  CHECK(json_error(R"({"a": {"b": 1}, "c": {"b": 1}})") == "");
  CHECK(json_error(R"({"a": 1, "\u0061": 2})") == "config.json: the key 'a' occurs twice in one object");
}

TEST_CASE("nesting is limited, so that hostile files cannot exhaust the stack") {
  const auto nested = [](int depth) {
    return std::string(std::size_t(depth), '[') + std::string(std::size_t(depth), ']');
  };
  CHECK(json_error(nested(max_json_depth)) == "");
  CHECK(json_error(nested(max_json_depth + 1)) == "config.json: nested deeper than 100 levels");
  CHECK(json_error(std::string(10000000, '[')) == "config.json: nested deeper than 100 levels");
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  CHECK(json_error(objects) == "config.json: nested deeper than 100 levels");
}

TEST_CASE("size and number of values are limited, so that hostile files cannot take the memory") {
  const auto zeros = [](std::size_t number) {
    std::string text = "[";
    for (std::size_t i = 0; i < number; ++i) text += "0,";
    text.back() = ']';
    return text;
  };
  CHECK(json_error(zeros(max_json_values - 1)) == "");  // the array is a value
  CHECK(json_error(zeros(max_json_values)) == "config.json: more than 1048576 values");
  CHECK(json_error(std::string(max_json_bytes + 1, ' ')) ==
        "config.json: expected a JSON file of at most 100000000 bytes, found 100000001");
}

TEST_CASE("a file is read whole, up to a size limit") {
  const test::TemporaryFolder folder;
  const auto path = folder.write("a.json", R"({"a": 1})");
  CHECK(read_json(path)["a"] == 1);
  CHECK(read_json(path, 8)["a"] == 1);
  CHECK(test::error_of<FileError>([&] { read_json(path, 7); }) ==
        path.string() + ": expected a JSON file of at most 7 bytes, found 8");
  CHECK(test::error_of<FileError>([&] { read_json(folder / "b.json"); }) ==
        (folder / "b.json").string() + ": cannot open: No such file or directory");
}

TEST_CASE("fields are read as their types") {
  CHECK(field<int>(config, "hidden_size", "") == 1024);
  CHECK(field<int>(config, "negative", "") == -3);
  CHECK(field<std::int64_t>(config, "large", "") == 3000000000);
  CHECK(field<std::uint64_t>(config, "huge", "") == 18446744073709551615u);
  CHECK(field<float>(config, "eps", "") == 1e-6f);
  CHECK(field<double>(config, "hidden_size", "") == 1024.0);
  CHECK(field<bool>(config, "tied", ""));
  CHECK(field<std::string>(config, "name", "") == "qwen3");
  CHECK(field<std::vector<float>>(config, "mean", "") == std::vector<float>{0.485f, 1.f});
  CHECK(field<int>(object_field(config, "vision_config", ""), "patch_size", "") == 14);
}

TEST_CASE("a field that is missing or null takes its default, one of the wrong type does not") {
  CHECK(field_or(config, "absent", 7, "") == 7);
  CHECK(field_or(config, "nothing", 7, "") == 7);
  CHECK(field_or(config, "hidden_size", 7, "") == 1024);
  CHECK(field_or<std::string>(config, "absent", "x", "") == "x");
  CHECK(test::error_of<FileError>([] { field_or(config, "name", 7, "config.json"); }) ==
        "config.json: name: expected an integer from -2147483648 to 2147483647, found the string 'qwen3'");
}

TEST_CASE("a wrong field names its place, the expected type and what was found") {
  CHECK(error_at<int>("absent") == "config.json: absent: expected a value, found none");
  CHECK(error_at<int>("nothing") == "config.json: nothing: expected a value, found none");
  CHECK(error_at<int>("large") ==
        "config.json: large: expected an integer from -2147483648 to 2147483647, found 3000000000");
  CHECK(error_at<std::int64_t>("huge").ends_with("found 18446744073709551615"));
  CHECK(error_at<unsigned>("negative") == "config.json: negative: expected an integer from 0 to 4294967295, found -3");
  CHECK(error_at<int>("whole").ends_with("found 2.0"));
  CHECK(error_at<int>("eps").ends_with("found 1e-06"));
  CHECK(error_at<int>("tied").ends_with("found true"));
  CHECK(error_at<float>("big") == "config.json: big: expected a number from -3.40282e+38 to 3.40282e+38, found 1e+300");
  CHECK(error_at<double>("name").ends_with("found the string 'qwen3'"));
  CHECK(error_at<bool>("hidden_size") == "config.json: hidden_size: expected true or false, found 1024");
  CHECK(error_at<std::string>("mean") == "config.json: mean: expected a string, found an array of 2");
  CHECK(error_at<std::vector<std::string>>("kinds") == "config.json: kinds[1]: expected a string, found 7");
  CHECK(error_at<std::vector<int>>("vision_config") ==
        "config.json: vision_config: expected an array, found an object");
  CHECK(test::error_of<FileError>([] { object_field(config, "name", "config.json"); }) ==
        "config.json: name: expected an object, found the string 'qwen3'");
  CHECK(test::error_of<FileError>([] { object_field(config, "nothing", "config.json"); }) ==
        "config.json: nothing: expected an object, found none");
  CHECK(test::error_of<FileError>([] { field<int>(Json(3), "a", "config.json: text_config"); }) ==
        "config.json: text_config: expected an object, found 3");
}

TEST_CASE("text from a file is quoted so that it can be printed") {
  CHECK(in_quotes("model.norm") == "'model.norm'");
  CHECK(in_quotes("a\n\x1b[2J\x7f\xc3\xa9") == "'a\\x0a\\x1b[2J\\x7f\\xc3\\xa9'");
  CHECK(in_quotes(std::string(101, 'x')) == "'" + std::string(100, 'x') + "...'");
}
