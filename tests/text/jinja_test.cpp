#include "ivl/text/jinja.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "ivl/core/sha256.hpp"

namespace {

using ivl::ChatContext;
using ivl::ChatTemplate;

std::string read(const std::string& name) {
  std::ifstream file(IVL_SOURCE_DIR "/tests/golden/jinja/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const ChatContext& jinja_golden() {
  static const ChatContext document = ChatContext::parse(read("golden.json"));
  return document;
}

std::string digest(const std::string& text) {
  ivl::Sha256 hash;
  hash.add(text);
  const ivl::Digest bytes = hash.finish();
  std::string digits;
  for (std::size_t i = 0; i < 8; ++i) {
    digits += "0123456789abcdef"[bytes[i] >> 4];
    digits += "0123456789abcdef"[bytes[i] & 15];
  }
  return digits;
}

/// As golden.json writes results: digits of the text; "!" and those of a raised text; "!" where it failed.
std::string result_of(const ChatTemplate& chat_template, const ChatContext& context) {
  try {
    return digest(chat_template.render(context));
  } catch (const ivl::RequestError& error) {
    const std::string what = error.what();
    return what.starts_with("chat_template: line ") ? "!" : "!" + digest(what);
  }
}

std::string rendered(const std::string& text, const ChatContext& context = ChatContext::object(),
                     const ivl::ChatTemplateLimits& limits = {}) {
  return ChatTemplate::parse(text).render(context, limits);
}

/// The error of parsing.
std::string template_refusal(const std::string& text) {
  try {
    (void)ChatTemplate::parse(text);
  } catch (const ivl::FileError& error) {
    return error.what();
  }
  return "none";
}

/// The error of rendering.
std::string template_failure(const std::string& text, const ChatContext& context = ChatContext::object(),
                             const ivl::ChatTemplateLimits& limits = {}) {
  try {
    (void)rendered(text, context, limits);
  } catch (const ivl::RequestError& error) {
    return error.what();
  }
  return "none";
}

TEST_CASE("Templates of every construct render 1000 conversations as transformers does") {
  const ChatContext& contexts = jinja_golden()["contexts"];
  REQUIRE(contexts.size() == 1000);
  CHECK(jinja_golden()["templates"].size() == 7);
  for (const auto& [name, results] : jinja_golden()["templates"].items()) {
    CAPTURE(name);
    const ChatTemplate chat_template = ChatTemplate::parse(read(name));
    REQUIRE(results.size() == contexts.size());
    std::size_t equal = 0;
    for (std::size_t i = 0; i < contexts.size(); ++i) {
      if (result_of(chat_template, contexts[i]) == results[i]) {
        ++equal;
      } else if (equal == i) {
        MESSAGE("the first conversation that differs: " << contexts[i].dump());
      }
    }
    CHECK(equal == contexts.size());
  }
}

TEST_CASE("Snippets give what they give in Python, or fail where they fail there") {
  for (const auto& snippet : jinja_golden()["snippets"]) {
    const std::string text = snippet[0];
    CAPTURE(text);
    const auto& expected = snippet[1];
    try {
      const std::string found = rendered(text, jinja_golden()["snippet_context"]);
      CHECK(ChatContext(found) == expected);
    } catch (const ivl::FileError& error) {
      CAPTURE(std::string(error.what()));
      CHECK(expected.is_null());
    } catch (const ivl::RequestError& error) {
      const std::string what = error.what();
      CAPTURE(what);
      if (expected.is_object()) {
        CHECK(what == expected["raised"]);
      } else {
        CHECK(expected.is_null());
        CHECK(what.starts_with("chat_template: line 1: "));
      }
    }
  }
}

TEST_CASE("What is not supported is refused by name and line, before anything is rendered") {
  CHECK(template_refusal("\n{{ 1 }}\n{{ x | xmlattr }}") ==
        "chat_template: line 3: the filter 'xmlattr' is not supported");
  CHECK(template_refusal("{% if false %}\n{{ x is escaped }}{% endif %}") ==
        "chat_template: line 2: the test 'escaped' is not supported");
  CHECK(template_refusal("{{ x.append(1) }}") == "chat_template: line 1: the method 'append' is not supported");
  CHECK(template_refusal("{{ m | map('urlize') }}") == "chat_template: line 1: the filter 'urlize' is not supported");
  CHECK(template_refusal("{{ m | selectattr('a', 'nope') }}") ==
        "chat_template: line 1: the test 'nope' is not supported");
  CHECK(template_refusal("{{ lipsum() }}") == "chat_template: line 1: the function 'lipsum' is not supported");
  CHECK(template_refusal("{{ self.x }}") == "chat_template: line 1: the name 'self' is not supported");
  CHECK(template_refusal("{{ x.__class__ }}") == "chat_template: line 1: the attribute '__class__' is not supported");
  CHECK(template_refusal("\n\n{% include 'x' %}") == "chat_template: line 3: the tag 'include' is not supported");
  CHECK(template_refusal("{% for x in y recursive %}{% endfor %}") ==
        "chat_template: line 1: recursive loops are not supported");
  CHECK(template_refusal("{{ 99999999999999999999 }}") ==
        "chat_template: line 1: integers beyond 64 bits are not supported: '99999999999999999999'");
  CHECK(template_refusal("{{ \u00e9 }}") ==
        "chat_template: line 1: names beyond ASCII are not supported: '\\xc3\\xa9 }}'");
  CHECK(template_failure("{{ 'a' % 1 }}") == "chat_template: line 1: formatting with '%' is not supported");
  CHECK(template_failure("{{ range }}") == "chat_template: line 1: printing a function is not supported");
}

TEST_CASE("What is no template is refused with its line") {
  CHECK(template_refusal("a\n{% if x %}\nb") ==
        "chat_template: line 2: expected '{% endif %}' for what begins here, found none");
  CHECK(template_refusal("a\n{{ x") == "chat_template: line 2: expected '}}', found the end of the template");
  CHECK(template_refusal("{{ a b }}") == "chat_template: line 1: expected '}}', found 'b'");
  CHECK(template_refusal("{{ }}") == "chat_template: line 1: expected an expression, found '}}'");
  CHECK(template_refusal("{{ 'a }}") == "chat_template: line 1: the text that begins here has no end");
  CHECK(template_refusal("\n{# a") == "chat_template: line 2: the comment has no end");
  CHECK(template_refusal("{% raw %}") == "chat_template: line 1: the raw block has no end");
  CHECK(template_refusal("{% endif %}") == "chat_template: line 1: unexpected tag 'endif'");
  CHECK(template_refusal("{% break %}") == "chat_template: line 1: 'break' outside of a loop");
  CHECK(template_refusal("{% for x in y %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}") ==
        "chat_template: line 1: 'continue' outside of a loop");
  CHECK(template_refusal("{% for x in y %}{% set loop = 1 %}{% endfor %}") ==
        "chat_template: line 1: 'loop' cannot be set inside of a loop");
  CHECK(template_refusal("{% set 1 = 2 %}") ==
        "chat_template: line 1: expected a name to set, found another expression");
  CHECK(template_refusal("{{ (1] }}") == "chat_template: line 1: unexpected ']'");
  CHECK(template_refusal("{{ 1 ? 2 }}") == "chat_template: line 1: unexpected character '?'");
  CHECK(template_refusal("\xff") == "chat_template: line 1: expected UTF-8");
  CHECK(template_refusal(std::string(ivl::max_chat_template_bytes + 1, 'a')) ==
        "chat_template: expected a template of at most 1048576 bytes, found 1048577");
  CHECK_THROWS_WITH_AS(ChatTemplate::parse("{{", "model/tokenizer_config.json: chat_template"),
                       "model/tokenizer_config.json: chat_template: line 1: expected an expression, found the end of "
                       "the template",
                       ivl::FileError);
}

TEST_CASE("What does not fit the template fails with its line; raise_exception's text stands alone") {
  CHECK(template_failure("\n{{ messages[0].role }}") == "chat_template: line 2: 'messages' is undefined");
  CHECK(template_failure("{{ m.a\n.b }}", {{"m", {{"c", 1}}}}) == "chat_template: line 2: a dict has no attribute 'a'");
  CHECK(template_failure("{{ m + 1 }}", {{"m", "x"}}) ==
        "chat_template: line 1: '+': unexpected operands, a str and an int");
  CHECK(template_failure("{{ raise_exception('Only user and assistant') }}") == "Only user and assistant");
  CHECK(template_failure("x", ChatContext::array()) ==
        "chat_template: line 0: expected an object to render, found array");
  CHECK(template_failure("x", {{"m", "\xff"}}) == "chat_template: line 0: expected text in UTF-8, found '\\xff'");
}

TEST_CASE("Objects keep the order of their members") {
  const ChatContext context = ChatContext::parse(R"({"t": {"z": 1, "a": {"y": 2.0, "b": null}}})");
  CHECK(rendered("{{ t | tojson }}{{ t }}", context) ==
        R"({"z": 1, "a": {"y": 2.0, "b": null}}{'z': 1, 'a': {'y': 2.0, 'b': None}})");
}

TEST_CASE("strftime_now is the local time") {
  const std::string before = rendered("{{ strftime_now('%Y-%m-%d') }}");
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  const std::string after = rendered("{{ strftime_now('%Y-%m-%d') }}");
  CHECK((before == text || after == text));
  CHECK(rendered("{{ strftime_now('%z%Z%%x') }}") == "%x");
  const std::string month = rendered("{{ strftime_now('%B') }}");
  CHECK(std::string("January February March April May June July August September October November December")
            .find(month) != std::string::npos);
}

TEST_CASE("No template hangs, fills the memory or the stack") {
  const std::string steps = "chat_template: line 1: expected at most 20000000 steps, found more";
  const std::string bytes = "chat_template: line 1: expected a text of at most 16777216 bytes, found more";
  CHECK(template_failure("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}") == steps);
  CHECK(template_failure("{{ range(10 ** 9) }}") ==
        "chat_template: line 1: range: expected at most 100000 numbers, found more");
  CHECK(template_failure("{{ [0] * 10 ** 12 }}") == steps);
  CHECK(template_failure("{{ 'a' * 10 ** 12 }}") == steps);
  CHECK(template_failure("{{ 'abc' * 10 ** 7 }}") == bytes);
  CHECK(template_failure(
            "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}") == bytes);
  CHECK(template_failure("{% for i in range(99999) %}{{ 'a' * 999 }}{% endfor %}") == bytes);
  CHECK(template_failure("{{ ('a' * 999999) | replace('', 'a' * 999) }}") == bytes);
  CHECK(template_failure("{% set n = namespace(s=[]) %}{% for i in range(999) %}{% set n.s = [n.s] %}{% endfor %}") ==
        "chat_template: line 1: values are nested deeper than 100 levels");
  CHECK(template_failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}") ==
        "chat_template: line 1: expected at most 1000 calls and blocks inside of each other, found more");
  CHECK(template_failure("{{ 2 ** 64 }}") == "chat_template: line 1: integers beyond 64 bits are not supported");
  CHECK(template_refusal(std::string(100'000, '{')) == "chat_template: line 1: nested deeper than 200 levels");
  std::string sum = "{{ 1", blocks;
  for (int i = 0; i < 1000; ++i) sum += " + 1", blocks += "{% if x %}";
  CHECK(template_refusal(sum + " }}") == "chat_template: line 1: an expression nested deeper than 400 levels");
  CHECK(template_refusal(blocks) == "chat_template: line 1: nested deeper than 200 levels");
  std::string names;
  for (int i = 0; i < 301; ++i) names += "{{ n" + std::to_string(i) + " }}";
  CHECK(template_refusal(names) == "chat_template: line 1: expected at most 300 names, found more");
  CHECK(template_failure("{{ 'abc' }}{{ 'd' }}", ChatContext::object(), {.output_bytes = 3}) ==
        "chat_template: line 1: expected a text of at most 3 bytes, found more");
}

TEST_CASE("What holds itself is taken apart") {
  CHECK(rendered("{% set n = namespace() %}{% set n.n = n %}{% set n.l = [n] %}{{ n.l[0].n.l | length }}") == "1");
  CHECK(rendered("{% macro f() %}{% set g = f %}{% macro h() %}{% endmacro %}x{% endmacro %}{{ f() }}") == "x");
  CHECK(rendered("{% for x in 'ab' %}{{ loop.changed(loop) }}{% endfor %}") == "TrueFalse");
}

TEST_CASE("Copies of a template render in several threads") {
  const ChatTemplate chat_template = ChatTemplate::parse(read("scopes.jinja"));
  const ChatContext& context = jinja_golden()["contexts"][1];
  const std::string expected = chat_template.render(context);
  std::vector<std::string> found(4);
  std::vector<std::thread> threads;
  for (std::string& text : found) {
    threads.emplace_back([&text, chat_template, &context] {
      for (int i = 0; i < 20; ++i) text = chat_template.render(context);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : found) CHECK(text == expected);
}

}  // namespace
