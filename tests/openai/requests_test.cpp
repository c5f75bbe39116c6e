// What the API refuses, and how it says so; its limits, keys and routes.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "ivl/core/version.hpp"
#include "tests/support/api_on.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/text.hpp"

using namespace ivl_test;

namespace {

/// A model that says nothing.
using Silent = ApiOn<ScriptRunner>;

const Json hi = Json::array({user_message("Hi")});

Json chat_body(Json fields) {
  if (!fields.contains("messages")) fields["messages"] = hi;
  return fields;
}

struct Refusal {
  Json body;
  std::string param, message;
  std::string code = {};
  int status = 400;
};

void check_refusal(const Received& answer, const Refusal& refusal) {
  CAPTURE(answer.body);
  CHECK(answer.status == refusal.status);
  CHECK(answer.type == "application/json");
  const Json error = answer.json()["error"];
  CHECK(error["type"] == openai::type_of(refusal.status));
  CHECK(error["param"] == (refusal.param.empty() ? Json() : Json(refusal.param)));
  CHECK(error["code"] == (refusal.code.empty() ? Json() : Json(refusal.code)));
  CHECK(contains(error["message"].get<std::string>(), refusal.message));
  CHECK(answer.body.size() < 1500);
}

std::string data_url(std::string_view bytes) { return "data:image/png;base64," + to_base64(bytes); }

Json with_picture(const Json& url, Json image = Json::object()) {
  image["url"] = url;
  return {{"messages", Json::array({user_message(Json::array({{{"type", "image_url"}, {"image_url", image}}}))})}};
}

/// Nothing but a header: 16 bits grey, not interlaced.
std::string png_of(std::uint32_t width, std::uint32_t height) {
  const auto big = [](std::uint32_t n) { return std::string{char(n >> 24), char(n >> 16), char(n >> 8), char(n)}; };
  const auto chunk = [&](std::string_view type, const std::string& data) {
    return big(std::uint32_t(data.size())) + std::string(type) + data + std::string(4, '\0');
  };
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", big(width) + big(height) + std::string("\x10\0\0\0\0", 5)) +
         chunk("IDAT", "") + chunk("IEND", "");
}

}  // namespace

TEST_CASE("every field has its bounds, and an error names it") {
  Silent silent;
  const std::string long_text(300, 'x');
  const std::vector<Refusal> refusals{
      {{{"model", "gpt-4"}}, "model", "expected 'toy', found 'gpt-4'", "model_not_found", 404},
      {{{"model", 3}}, "model", "expected a string, found 3"},
      {{{"temperature", 2.5}}, "temperature", "expected a number from 0 to 2, found 2.5"},
      {{{"temperature", -0.1}}, "temperature", "found -0.1"},
      {{{"temperature", "1"}}, "temperature", "found the string '1'"},
      {{{"top_p", 0}}, "top_p", "expected a number above 0 to 1, found 0"},
      {{{"top_p", 1.1}}, "top_p", "found 1.1"},
      {{{"top_k", -2}}, "top_k", "expected an integer from -1 to 2147483647"},
      {{{"top_k", 2147483648}}, "top_k", "found 2147483648"},
      {{{"min_p", 1.5}}, "min_p", "from 0 to 1"},
      {{{"repetition_penalty", 0}}, "repetition_penalty", "above 0 to 100"},
      {{{"frequency_penalty", 3}}, "frequency_penalty", "from -2 to 2"},
      {{{"presence_penalty", -3}}, "presence_penalty", "from -2 to 2"},
      {{{"seed", 1.5}}, "seed", "integer of 64 bits"},
      {{{"n", 0}}, "n", "from 1 to 8"},
      {{{"n", 9}}, "n", "found 9"},
      {{{"n", true}}, "n", "found true"},
      {{{"max_tokens", 0}}, "max_tokens", "from 1 to"},
      {{{"max_completion_tokens", -1}}, "max_completion_tokens", "from 1 to"},
      {{{"max_tokens", 100000}}, "max_tokens", "expected at most 1", "context_length_exceeded"},
      {{{"max_completion_tokens", 1024}},
       "max_completion_tokens",
       "which a context of 1024 tokens leaves",
       "context_length_exceeded"},
      {{{"min_tokens", -1}}, "min_tokens", "from 0 to"},
      {{{"priority", -1}}, "priority", "from 0 to"},
      {{{"stop", Json::array({"a", "b", "c", "d", "e"})}}, "stop", "at most 4"},
      {{{"stop", Json::array({"a", ""})}}, "stop[1]", "expected a text, found none"},
      {{{"stop", long_text}}, "stop", "at most 256 bytes, found 300"},
      {{{"stop", 7}}, "stop", "expected a string, or an array"},
      {{{"stop_token_ids", {1, 512}}}, "stop_token_ids[1]", "from 0 to 511, found 512"},
      {{{"stop_token_ids", {-1}}}, "stop_token_ids[0]", "found -1"},
      {{{"logit_bias", {{"512", 1}}}}, "logit_bias", "token ids from 0 to 511 as keys, found '512'"},
      {{{"logit_bias", {{"1x", 1}}}}, "logit_bias", "found '1x'"},
      {{{"logit_bias", {{"7", 101}}}}, "logit_bias.7", "from -100 to 100"},
      {{{"logit_bias", {1, 2}}}, "logit_bias", "expected an object"},
      {{{"bad_words", {""}}}, "bad_words[0]", "found none"},
      {{{"logprobs", 1}}, "logprobs", "expected true or false"},
      {{{"logprobs", true}, {"top_logprobs", 21}}, "top_logprobs", "from 0 to 20"},
      {{{"top_logprobs", 2}}, "top_logprobs", "expected logprobs to be true"},
      {{{"stream", "yes"}}, "stream", "expected true or false"},
      {{{"stream_options", {{"include_usage", true}}}}, "stream_options", "expected stream to be true"},
      {{{"cache_salt", "a/b"}}, "cache_salt", "without @, /"},
      {{{"cache_salt", std::string(129, 'x')}}, "cache_salt", "at most 128 bytes"},
      {{{"chat_template_kwargs", {{"enable_thinking", 1}}}}, "chat_template_kwargs.enable_thinking", "true or false"},
      {{{"response_format", {{"type", "xml"}}}},
       "response_format.type",
       "expected one of text, json_object, json_schema"},
      {{{"response_format", {{"type", "json_schema"}}}}, "response_format.json_schema", "found none"},
      {{{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "a"}}}}}},
       "response_format.json_schema.schema",
       "found none"},
      {{{"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", {{"not", Json::object()}}}}}}}},
       "response_format.json_schema.schema",
       "not"},
      {{{"structured_outputs", {{"regex", "(?=a)"}}}}, "structured_outputs.regex", "structured_outputs.regex: "},
      {{{"structured_outputs", {{"regex", "a"}, {"choice", {"a"}}}}}, "structured_outputs.json", "one of json, regex"},
      {{{"structured_outputs", Json::object()}}, "structured_outputs.json", "found none"},
      {{{"structured_outputs", {{"regex", "a"}}}, {"response_format", {{"type", "json_object"}}}},
       "structured_outputs",
       "found both"},
      {{{"messages", Json::array()}}, "messages", "at least one message"},
      {{{"messages", "Hi"}}, "messages", "found the string 'Hi'"},
      {{{"messages", {1}}}, "messages[0]", "expected an object, found 1"},
      {{{"messages", {{{"role", "robot"}, {"content", "Hi"}}}}}, "messages[0].role", "found 'robot'"},
      {{{"messages", {{{"role", "user"}}}}}, "messages[0].content", "found none"},
      {{{"messages", {user_message(" \n")}}}, "messages[0].content", "expected a text or a picture"},
      {{{"messages", {user_message(Json::array({text_part("a"), 3}))}}}, "messages[0].content[1]", "found 3"},
      {{{"messages", {user_message(Json::array({{{"type", "text"}}}))}}}, "messages[0].content[0].text", "found none"},
      {{{"messages", {user_message(Json::array({{{"type", "sound"}}}))}}}, "messages[0].content[0].type", "'sound'"},
      {{{"messages", {user_message("a"), user_message("b")}}}, "messages[1].role", "in turns"},
      {{{"messages", {user_message("a"), {{"role", "assistant"}, {"content", "b"}}}}}, "messages", "at the end"},
      {{{"messages", {user_message("a"), {{"role", "system"}, {"content", "b"}}}}}, "messages[1].role", "in front"},
      {{{"messages", {{{"role", "assistant"}, {"content", "b"}}, user_message("a")}}}, "messages[0].role", "in turns"}};
  for (const Refusal& refusal : refusals)
    check_refusal(silent.post("/v1/chat/completions", chat_body(refusal.body))->wait(), refusal);

  const std::vector<Refusal> of_completions{
      {Json::object(), "prompt", "found none"},
      {{{"prompt", Json::array()}}, "prompt", "expected at least one token"},
      {{{"prompt", ""}}, "prompt", "expected at least one token"},
      {{{"prompt", {1, 512}}}, "prompt[1]", "from 0 to 511"},
      {{{"prompt", {Json::array({1}), Json::array({-1})}}}, "prompt[1][0]", "from 0 to 511"},
      {{{"prompt", {{{"a", 1}}}}}, "prompt[0]", "expected a string or an array of token ids"},
      {{{"prompt", std::vector<int>(1025, 1)}}, "prompt", "at most 1024 token ids", "context_length_exceeded"},
      {{{"prompt", std::vector<int>(1024, 1)}}, "prompt", "at most 1023 tokens", "context_length_exceeded"},
      {{{"prompt", std::vector<std::string>(65, "a")}}, "prompt", "at most 64 prompts"},
      {{{"prompt", std::vector<std::string>(33, "a")}, {"n", 2}}, "n", "64 answers"},
      {{{"prompt", "a"}, {"logprobs", 21}}, "logprobs", "from 0 to 20"},
      {{{"prompt", "a"}, {"echo", true}, {"logprobs", 1}}, "echo", "with logprobs", "unsupported_parameter"},
      {{{"prompt", "a"}, {"suffix", "b"}}, "suffix", "not supported", "unsupported_parameter"}};
  for (const Refusal& refusal : of_completions)
    check_refusal(silent.post("/v1/completions", refusal.body)->wait(), refusal);
  CHECK(contains(silent.get("/metrics")->wait().body,
                 "reason=\"refused\"} " + std::to_string(refusals.size() + of_completions.size())));
}

TEST_CASE("what other servers know and this one does not is refused by name; what asks for nothing is not") {
  Silent silent;
  const Json function{{"type", "function"}, {"function", {{"name", "f"}}}};
  const std::vector<std::pair<std::string, Json>> unsupported{{"tools", {function}},
                                                              {"tool_choice", "auto"},
                                                              {"functions", {function}},
                                                              {"audio", {{"voice", "a"}}},
                                                              {"modalities", {"text", "audio"}},
                                                              {"web_search_options", {{"a", 1}}},
                                                              {"guided_json", {{"type", "object"}}},
                                                              {"guided_choice", {"a"}},
                                                              {"chat_template", "{{ x }}"},
                                                              {"mm_processor_kwargs", {{"max_dynamic_patch", 40}}},
                                                              {"continue_final_message", true},
                                                              {"add_generation_prompt", false},
                                                              {"prompt_logprobs", 1},
                                                              {"allowed_token_ids", {1}},
                                                              {"use_beam_search", true},
                                                              {"best_of", 2},
                                                              {"include_stop_str_in_output", true},
                                                              {"echo", true},
                                                              {"reasoning_effort", "high"}};
  for (const auto& [name, value] : unsupported)
    check_refusal(silent.post("/v1/chat/completions", chat_body({{name, value}}))->wait(),
                  {{}, name, name + ": not supported here", "unsupported_parameter"});
  check_refusal(silent.post("/v1/chat/completions", chat_body({{"chat_template_kwargs", {{"x", 1}}}}))->wait(),
                {{}, "chat_template_kwargs.x", "not supported", "unsupported_parameter"});
  check_refusal(silent.post("/v1/chat/completions", chat_body({{"structured_outputs", {{"grammar", "a"}}}}))->wait(),
                {{}, "structured_outputs.grammar", "not supported", "unsupported_parameter"});
  for (const char* type : {"video_url", "input_audio", "file"})
    check_refusal(silent
                      .post("/v1/chat/completions",
                            {{"messages", {user_message(Json::array({{{"type", type}, {type, {{"url", "a"}}}}}))}}})
                      ->wait(),
                  {{}, "messages[0].content[0]", type, "unsupported_parameter"});
  check_refusal(
      silent.post("/v1/chat/completions", {{"messages", {user_message("a"), {{"role", "tool"}, {"content", "b"}}}}})
          ->wait(),
      {{}, "messages[1].role", "no tools", "unsupported_parameter"});

  const Json nothing{{"tools", Json::array()},
                     {"tool_choice", "none"},
                     {"functions", nullptr},
                     {"use_beam_search", false},
                     {"best_of", 1},
                     {"modalities", {"text"}},
                     {"audio", nullptr},
                     {"temperature", nullptr},
                     {"reasoning_effort", "none"},
                     {"response_format", {{"type", "text"}}},
                     {"chat_template_kwargs", {{"enable_thinking", false}}},
                     {"a_field_of_tomorrow", {1, 2}},
                     {"metadata", {{"a", "b"}}},
                     {"store", false},
                     {"user", "u"},
                     {"parallel_tool_calls", true}};
  CHECK(silent.post("/v1/chat/completions", chat_body(nothing))->wait().status == 200);
}

TEST_CASE("thinking is a system message, where the model has the mode") {
  Silent silent;
  const Json thinks{{"messages", hi}, {"chat_template_kwargs", {{"enable_thinking", true}}}};
  const auto prompt = [&](const Json& body) {
    const Json ids = silent.post("/tokenize", body)->wait().json()["tokens"];
    return silent.post("/detokenize", {{"tokens", ids}})->wait().json()["prompt"].get<std::string>();
  };
  CHECK(contains(prompt(thinks), "<|im_start|>system\n" + std::string(thinking_system) + "<|im_end|>"));
  CHECK_FALSE(contains(prompt({{"messages", hi}}), "system"));
  Json with_form = thinks;
  with_form["response_format"] = {{"type", "json_object"}};
  check_refusal(silent.post("/v1/chat/completions", with_form)->wait(),
                {{}, "chat_template_kwargs.enable_thinking", "no room for thoughts"});
  for (const char* role : {"system", "developer"}) {
    Json with_system = thinks;
    with_system["messages"] = {{{"role", role}, {"content", "Be brief."}}, user_message("Hi")};
    check_refusal(silent.post("/v1/chat/completions", with_system)->wait(),
                  {{}, "chat_template_kwargs.enable_thinking", "no message of the system"});
    with_system.erase("chat_template_kwargs");
    CHECK(contains(prompt(with_system), "<|im_start|>system\nBe brief.<|im_end|>"));
  }
}

TEST_CASE("bodies: JSON objects of bounded depth and number of values, of their own type") {
  Silent silent;
  const auto post = [&](std::string body, std::string type = "application/json") {
    return silent.send({"POST", "/v1/chat/completions", "", {{"content-type", std::move(type)}}, std::move(body)})
        ->wait();
  };
  const std::string good = R"({"messages":[{"role":"user","content":"Hi"}]})";
  CHECK(post(good, "Application/JSON; charset=utf-8").status == 200);
  check_refusal(post(good, "text/plain"), {{}, "", "expected application/json, found 'text/plain'", "", 415});
  check_refusal(post(good, ""), {{}, "", "expected application/json", "", 415});
  check_refusal(post("[1]"), {{}, "", "expected an object, found an array of 1"});
  check_refusal(post("{\"a\":nul}"), {{}, "", "not valid JSON at byte"});
  CHECK_FALSE(contains(post("{\"a\":nul}").body, "parse"));
  check_refusal(post(""), {{}, "", "not valid JSON"});
  check_refusal(post(std::string("{\"a\":1}\0", 8)), {{}, "", "a NUL byte"});
  check_refusal(post("{\"a\":\"\xff\"}"), {{}, "", "not valid JSON"});
  check_refusal(post("{\"a\":1,\"a\":2}"), {{}, "", "'a' occurs twice"});
  check_refusal(post("{\"a\":1e999}"), {{}, "", "not valid JSON"});
  const auto nested = [](std::size_t depth) {
    return "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"a\":" + std::string(depth - 1, '[') +
           std::string(depth - 1, ']') + "}";
  };
  CHECK(post(nested(64)).status == 200);
  check_refusal(post(nested(65)), {{}, "", "deeper than 64 levels"});
  check_refusal(post("{\"a\":" + std::string(100'000, '[')), {{}, "", "deeper than 64 levels"});
  std::string many = "{\"a\":[0";
  for (int n = 0; n < 1 << 18; ++n) many += ",0";
  check_refusal(post(many + "]}"), {{}, "", "more than 262144 values"});
}

TEST_CASE("pictures come by data: URLs, are what their bytes say, and are counted before they are decoded") {
  Silent silent;
  const std::string url = "messages[0].content[0].image_url.url";
  const auto post = [&](const Json& body) { return silent.post("/v1/chat/completions", body)->wait(); };
  const std::string png = bytes_of_file(toy_folder() / "../demo/hill.png");
  CHECK(post(with_picture("data:image/jpeg;base64," + to_base64(png))).status == 200);  // the type is not believed
  CHECK(post(with_picture("data:;base64," + to_base64(png))).status == 200);
  for (const char* other :
       {"file:///etc/passwd", "/etc/passwd", "http://127.0.0.1/a.png", "ftp://a/b", "", "DATA:,", "HTTPS://a/b"})
    check_refusal(post(with_picture(other)), {{}, url, "expected a data: URL, found"});
  check_refusal(post(with_picture("https://example.com/a.png")),
                {{}, url, "fetches no pictures", "unsupported_parameter"});
  for (const char* other : {"data:image/png,abc", "data:image/png;base64", "data:", "data:text/html;charset=utf-8,<p>"})
    check_refusal(post(with_picture(other)), {{}, url, "data URL: expected"});
  check_refusal(post(with_picture("data:" + std::string(300, 'x') + ";base64,AAAA")), {{}, url, "data URL: expected"});
  check_refusal(post(with_picture("data:image/png;base64,A")), {{}, url, "base64: expected a multiple of 4"});
  check_refusal(post(with_picture(data_url(""))), {{}, url, "found none", "invalid_image"});
  check_refusal(post(with_picture(data_url("<svg/>"))), {{}, url, "SVG drawing", "invalid_image"});
  check_refusal(post(with_picture(data_url(std::string("II*\0\0\0\0\0", 8)))), {{}, url, "TIFF", "invalid_image"});
  check_refusal(post(with_picture(data_url(png.substr(0, 400)))), {{}, url, "truncated", "invalid_image"});
  check_refusal(post(with_picture(data_url(png_of(60000, 60000)))), {{}, url, "expected at most", "image_too_large"});
  check_refusal(post(with_picture(data_url(png_of(16384, 4096)))), {{}, url, "expected at most", "image_too_large"});
  check_refusal(post(with_picture(data_url(png), {{"max_dynamic_patch", 25}})),
                {{}, "messages[0].content[0].image_url.max_dynamic_patch", "from 1 to 24"});
  check_refusal(post(with_picture(data_url(png), {{"detail", "low"}, {"max_dynamic_patch", 2}})),
                {{}, "messages[0].content[0].image_url.max_dynamic_patch", "expected 1 where detail is low"});
  check_refusal(post(with_picture(data_url(png), {{"detail", "best"}})),
                {{}, "messages[0].content[0].image_url.detail", "auto, low, high, original, found the string 'best'"});
  // Data that a decoder gives up on, behind a header that is right: not a word of the library's.
  std::string broken = png;
  const std::size_t data = broken.find("IDAT") + 4;
  for (std::size_t at = data + 2; at < data + 40; ++at) broken[at] = char(0xee);
  check_refusal(post(with_picture(data_url(broken))), {{}, url, url + ": cannot decode the picture", "invalid_image"});
  CHECK(contains(post(with_picture(data_url(broken))).body, "cannot decode the picture\""));

  Json many = with_picture(data_url(png));
  for (int n = 0; n < 64; ++n) many["messages"][0]["content"].push_back(many["messages"][0]["content"][0]);
  check_refusal(post(many), {{}, "messages[0].content[64].image_url.url", "at most 64 pictures", "too_many_images"});
  check_refusal(post({{"messages",
                       {{{"role", "system"}, {"content", with_picture(data_url(png))["messages"][0]["content"]}},
                        user_message("Hi")}}}),
                {{}, "messages[0].content[0]", "of the user alone"});
  check_refusal(post({{"messages",
                       {user_message("<image> <image>"),
                        {{"role", "assistant"}, {"content", "a"}},
                        with_picture(data_url(png))["messages"][0]}}}),
                {{}, "messages", "1 images, but 3 <image> marks"});
}

TEST_CASE("memory for pictures is one budget, and comes back") {
  const std::string png = bytes_of_file(toy_folder() / "../demo/hill.png");
  const PixelSize size = size_of_image(std::as_bytes(std::span(png)), "hill.png");
  const std::int64_t bytes = std::int64_t(size.width) * size.height * 3;
  openai::ApiOptions options;
  options.pictures.total_bytes = 2 * bytes;
  Silent silent(options);
  Json one = with_picture(data_url(png)), two = one, three = one;
  const Json part = one["messages"][0]["content"][0];
  two["messages"][0]["content"].push_back(part);
  three["messages"][0]["content"] = {part, part, part};
  const auto post = [&](const Json& body) { return silent.post("/v1/chat/completions", body); };
  for (int n = 0; n < 5; ++n) CHECK(post(one)->wait().status == 200);
  check_refusal(post(three)->wait(),
                {{}, "messages[0].content[2].image_url.url", "decoded bytes in one request", "image_too_large"});
  silent.runner.holds = true;
  const auto slow = post(two);
  const Received busy = post(one)->wait();
  check_refusal(busy, {{}, "", "memory that there is for pictures", "overloaded", 503});
  CHECK(busy.field("Retry-After") == "1");
  // A count decodes nothing.
  CHECK(silent.post("/v1/chat/completions/input_tokens", one)->wait().status == 200);
  silent.runner.holds = false;
  CHECK(slow->wait().status == 200);
  silent.service.drain();
  CHECK(post(two)->wait().json()["error"]["code"] == "overloaded");  // taken of the budget, and refused by the service
}

TEST_CASE("addresses go to whoever fetches, whose reasons alone are told") {
  openai::ApiOptions options;
  options.fetch = [](const std::string& url) -> std::string {
    if (url == "https://example.com/hill.png") return bytes_of_file(toy_folder() / "../demo/hill.png");
    if (url == "https://example.com/secret") throw Error("connect to 10.0.0.1: refused");
    throw RequestError("the address is not allowed");
  };
  Silent silent(options);
  const std::string url = "messages[0].content[0].image_url.url";
  const auto post = [&](const char* address) {
    return silent.post("/v1/chat/completions", with_picture(address))->wait();
  };
  CHECK(post("https://example.com/hill.png").status == 200);
  check_refusal(post("https://10.0.0.1/"), {{}, url, "the address is not allowed", "invalid_image_url", 422});
  check_refusal(post("https://example.com/secret"), {{}, url, "cannot be fetched", "invalid_image_url", 422});
  CHECK_FALSE(contains(post("https://example.com/secret").body, "10.0.0.1"));
  check_refusal(post("http://example.com/hill.png"), {{}, url, "expected a data: URL or an https one"});
}

TEST_CASE("routes, methods and what they say") {
  Silent silent({.page = "<p>page</p>", .page_policy = "default-src 'none'"});
  check_refusal(silent.get("/v2")->wait(), {{}, "", "nothing is served at '/v2'", "", 404});
  check_refusal(silent.get("/v1/models/")->wait(), {{}, "", "nothing is served", "", 404});
  const Received wrong = silent.get("/v1/chat/completions")->wait();
  check_refusal(wrong, {{}, "", "expected POST", "", 405});
  CHECK(wrong.field("Allow") == "POST");
  CHECK(silent.post("/v1/models/toy", Json::object())->wait().field("Allow") == "GET");
  CHECK(silent.send({"OPTIONS", "/v1/models", "", {}, ""})->wait().field("Access-Control-Allow-Origin").empty());

  CHECK(silent.get("/")->wait().body == "<p>page</p>");
  CHECK(silent.get("/")->wait().type == "text/html; charset=utf-8");
  CHECK(silent.get("/")->wait().field("Content-Security-Policy") == "default-src 'none'");
  CHECK(silent.get("/version")->wait().body == "{\"version\":\"" + std::string(ivl::version) + "\"}");
  CHECK(silent.send({"HEAD", "/health", "", {}, ""})->wait().status == 200);
  const Json models = silent.get("/v1/models")->wait().json();
  CHECK(models["object"] == "list");
  const Json model = models["data"][0];
  CHECK(model["id"] == "toy");
  CHECK(model["object"] == "model");
  CHECK(model["owned_by"] == "ivl");
  CHECK(model["max_model_len"] == 1024);
  CHECK(silent.get("/v1/models/toy")->wait().json() == model);
  check_refusal(silent.get("/v1/models/other")->wait(), {{}, "model", "found 'other'", "model_not_found", 404});
  check_refusal(silent.post("/detokenize", Json::object())->wait(), {{}, "tokens", "found none"});
  check_refusal(silent.post("/detokenize", {{"tokens", {512}}})->wait(), {{}, "tokens[0]", "from 0 to 511"});
  check_refusal(silent.post("/tokenize", Json::object())->wait(), {{}, "prompt", "found none"});

  CHECK(silent.get("/health")->wait().json()["status"] == "ok");
  FakeClient early;
  openai::answer_while_loading({"GET", "/health", "", {}, ""}, early);
  check_refusal(early.wait(), {{}, "", "being loaded", "loading", 503});
}

TEST_CASE("keys guard all but /health, /version and the page, and two keys share no pages") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "keys") << "first\nsecond\n";
  Silent silent({.keys = http::ApiKeys::read(folder / "keys"), .page = "<p>page</p>"});
  for (const char* open : {"/health", "/version", "/"}) CHECK(silent.get(open)->wait().status == 200);
  for (const char* path : {"/v1/models", "/v1/models/toy", "/metrics"}) {
    const Received none = silent.get(path)->wait();
    check_refusal(none, {{}, "", "expected Bearer and an API key", "invalid_api_key", 401});
    CHECK(none.field("WWW-Authenticate") == "Bearer");
  }
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"})
    check_refusal(silent.post(path, Json::object(), "third")->wait(), {{}, "", "not known", "invalid_api_key", 401});
  check_refusal(silent.post("/tokenize", Json::object(), "firs")->wait(),
                {{}, "", "not known", "invalid_api_key", 401});
  CHECK(silent.send({"GET", "/v1/models", "", {{"authorization", "bearer second"}}, ""})->wait().status == 200);
  CHECK(silent.send({"GET", "/v1/models", "", {{"authorization", "first"}}, ""})->wait().status == 401);

  const std::vector<int> long_prompt(200, 7);
  const auto cached = [&](std::string_view key, const std::string& salt) {
    const Json body{{"prompt", long_prompt}, {"cache_salt", salt}};
    const Json answer = silent.post("/v1/completions", body, key)->wait().json();
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  CHECK(cached("first", "") == 0);
  CHECK(cached("first", "") > 0);
  CHECK(cached("second", "") == 0);
  CHECK(cached("first", "a") == 0);
  CHECK(cached("second", "a") == 0);
  CHECK(cached("second", "a") > 0);
}

TEST_CASE("too many requests get 503 and when to come again") {
  Silent silent;  // one runs, four may wait
  silent.runner.holds = true;
  std::vector<std::shared_ptr<FakeClient>> clients;
  for (int n = 0; n < 12; ++n) clients.push_back(silent.post("/v1/chat/completions", chat_body(Json::object())));
  const Received busy = clients.back()->wait();
  check_refusal(busy, {{}, "", "wait", "overloaded", 503});
  CHECK(busy.field("Retry-After") == "1");
  silent.runner.holds = false;
  int answered = 0;
  for (const auto& client : clients) answered += client->wait().status == 200;
  CHECK(answered >= 4);
  CHECK(answered <= 6);
  CHECK(contains(silent.get("/metrics")->wait().body, "reason=\"overloaded\"} " + std::to_string(12 - answered)));
}

TEST_CASE("metrics are Prometheus' text, and count what was served") {
  Silent silent;
  silent.runner.script.assign(3, 7);
  const Json body{{"prompt", std::vector<int>(100, 7)}};
  silent.runner.prompt_tokens = 100;
  for (int n = 0; n < 2; ++n) CHECK(silent.post("/v1/completions", body)->wait().status == 200);
  silent.service.drain();
  CHECK(comes_true([&] { return silent.service.status().engine.new_tokens == 6; }));
  const Received metrics = silent.get("/metrics")->wait();
  CHECK(metrics.type == "text/plain; version=0.0.4; charset=utf-8");
  const auto value = [&](const std::string& line) {
    const std::size_t at = metrics.body.find("\n" + line + " ");
    CAPTURE(line);
    REQUIRE(at != std::string::npos);
    return std::stod(metrics.body.substr(at + line.size() + 2));
  };
  const std::string labels = "{model_name=\"toy\",engine=\"0\"";
  CHECK(value("ivl:num_requests_running" + labels + "}") == 0);
  CHECK(value("ivl:prompt_tokens_total" + labels + "}") == 200);
  CHECK(value("ivl:prompt_tokens_cached_total" + labels + "}") == 99);
  CHECK(value("ivl:generation_tokens_total" + labels + "}") == 6);
  CHECK(value("ivl:request_success_total" + labels + ",finished_reason=\"stop\"}") == 2);
  CHECK(value("ivl:request_prompt_tokens_bucket" + labels + ",le=\"50\"}") == 0);
  CHECK(value("ivl:request_prompt_tokens_bucket" + labels + ",le=\"100\"}") == 2);
  CHECK(value("ivl:request_prompt_tokens_bucket" + labels + ",le=\"+Inf\"}") == 2);
  CHECK(value("ivl:request_prompt_tokens_sum" + labels + "}") == 200);
  CHECK(value("ivl:time_to_first_token_seconds_count" + labels + "}") == 2);
  CHECK(value("ivl:inter_token_latency_seconds_count" + labels + "}") == 4);

  openai::Histogram histogram(openai::latency_bounds);
  for (const double seconds : {0.3, 0.31, 1e9}) histogram.observe(seconds);
  std::string text;
  histogram.write(text, "x", "help", "a=\"b\"");
  CHECK(text.starts_with(
      "# HELP x help\n# TYPE x histogram\nx_bucket{a=\"b\",le=\"0.3\"} 1\nx_bucket{a=\"b\",le=\"0.5\"} 2\n"));
  CHECK(contains(text, "x_bucket{a=\"b\",le=\"+Inf\"} 3\n"));
}
