// Answers of the API, whole and streamed, of a model whose every word is known.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/api_on.hpp"
#include "tests/support/text.hpp"

using namespace ivl_test;

namespace {

/// A model that answers with `text`.
struct Scripted : ApiOn<ScriptRunner> {
  explicit Scripted(std::string_view text, openai::ApiOptions options = {}, const ServiceOptions& served = room_for(1))
      : ApiOn(std::move(options), served) {
    runner.script = processor.tokenizer().encode(text);
  }
  /// To /v1/chat/completions.
  std::shared_ptr<FakeClient> chat(const Json& content, Json fields = Json::object()) {
    fields["messages"] = Json::array({user_message(content)});
    runner.prompt_tokens = post("/v1/chat/completions/input_tokens", fields)->wait().json()["input_tokens"].get<int>();
    return post("/v1/chat/completions", fields);
  }
  /// To /v1/completions.
  std::shared_ptr<FakeClient> complete(std::string_view prompt, Json fields = Json::object()) {
    fields["prompt"] = prompt;
    runner.prompt_tokens = post("/tokenize", fields)->wait().json()["count"].get<int>();
    return post("/v1/completions", fields);
  }
};

/// `text` with what stands between `begin` and `end` taken out.
std::string without(std::string text, std::string_view begin, std::string_view end) {
  const std::size_t from = text.find(begin) + begin.size();
  REQUIRE(text.find(begin) != text.npos);
  return text.erase(from, text.find(end, from) - from);
}

/// Without id, time and stages, which differ from run to run.
std::string without_chance(std::string body) {
  body = without(std::move(body), "\"id\":\"", "\"");
  body = without(std::move(body), "\"created\":", ",");
  return body.find("\"stages\":{") == body.npos ? body : without(std::move(body), "\"stages\":{", "}");
}

/// What the deltas of choice `index` hold of `field`, together.
std::string streamed(const Received& client, std::string_view field, int index = 0) {
  std::string text;
  for (const std::string& event : client.events()) {
    if (event == "[DONE]") continue;
    const Json chunk = Json::parse(event);
    for (const Json& choice : chunk["choices"]) {
      const Json& part = choice.contains("delta") ? choice["delta"] : choice;
      if (choice["index"] == index) text += part.value(std::string(field), "");
    }
  }
  return text;
}

}  // namespace

TEST_CASE("a whole answer of a chat is OpenAI's object, field by field") {
  Scripted toy("two red hearts");
  const Received client = toy.chat("Hi", {{"model", "toy"}, {"user", "ignored"}})->wait();
  CHECK(client.status == 200);
  CHECK(client.type == "application/json");
  const Json json = client.json();
  CHECK(json["id"].get<std::string>().starts_with("chatcmpl-"));
  CHECK(json["created"].get<std::int64_t>() > 1'700'000'000);
  const std::string prompt = std::to_string(toy.runner.prompt_tokens),
                    answer = std::to_string(toy.runner.script.size()),
                    total = std::to_string(toy.runner.prompt_tokens + int(toy.runner.script.size()));
  CHECK(without_chance(client.body) ==
        R"({"id":"","object":"chat.completion","created":,"model":"toy","choices":[{"index":0,"message":)"
        R"({"role":"assistant","content":"two red hearts","refusal":null},"logprobs":null,"finish_reason":"stop",)"
        R"("stop_reason":null}],"usage":{"prompt_tokens":)" +
            prompt + R"(,"completion_tokens":)" + answer + R"(,"total_tokens":)" + total +
            R"(,"prompt_tokens_details":{"cached_tokens":0,"image_tokens":0}},"system_fingerprint":null,)"
            R"("ivl":{"stages":{},"tiles":0,"pictures":[]}})");
}

TEST_CASE("a stream begins with the role, gives whole characters, and ends with the reason, usage and [DONE]") {
  Scripted toy("h\u00e9\u2665\u00e9");  // two, three and two tokens for a character
  const Json usage{{"include_usage", true}};
  const Received client = toy.chat("Hi", {{"stream", true}, {"stream_options", usage}})->wait();
  CHECK(client.status == 200);
  CHECK(client.type == "text/event-stream");
  CHECK(client.field("Cache-Control") == "no-cache");
  const std::vector<std::string> events = client.events();
  REQUIRE(events.size() == 1 + 4 + 1 + 1 + 1);
  const std::string head = R"({"id":"","object":"chat.completion.chunk","created":,"model":"toy","choices":[)";
  const auto chunk = [&](std::string_view delta, std::string_view end) {
    return head + R"({"index":0,"delta":)" + std::string(delta) + R"(,"logprobs":null,"finish_reason":)" +
           std::string(end) + "}]}";
  };
  CHECK(without_chance(events[0]) == chunk(R"({"role":"assistant","content":""})", "null"));
  CHECK(without_chance(events[1]) == chunk(R"({"content":"h"})", "null"));
  CHECK(without_chance(events[2]) == chunk("{\"content\":\"\u00e9\"}", "null"));
  CHECK(without_chance(events[3]) == chunk("{\"content\":\"\u2665\"}", "null"));
  CHECK(without_chance(events[5]) == chunk("{}", R"("stop","stop_reason":null)"));
  const Json last = Json::parse(events[6]);
  CHECK(last["choices"] == Json::array());
  CHECK(last["usage"]["completion_tokens"] == toy.runner.script.size());
  CHECK(last["ivl"]["stages"].contains("prefill_ms"));
  CHECK(events[7] == "[DONE]");
  for (std::size_t n = 1; n < 7; ++n) CHECK(Json::parse(events[n])["id"] == Json::parse(events[0])["id"]);

  // Without usage, our own field is in the last chunk.
  const Received plain = toy.chat("Hi", {{"stream", true}})->wait();
  REQUIRE(plain.events().size() == 7);
  CHECK(Json::parse(plain.events()[5]).contains("ivl"));
  CHECK_FALSE(contains(plain.body, "usage"));
}

TEST_CASE("thoughts are told apart from the answer, whole and streamed") {
  Scripted toy("<think>one, two</think>\n\nthree");
  const Json message = toy.chat("Hi")->wait().json()["choices"][0]["message"];
  CHECK(message["content"] == "three");
  CHECK(message["reasoning_content"] == "one, two");
  CHECK(message["reasoning"] == "one, two");
  const Received client = toy.chat("Hi", {{"stream", true}})->wait();
  CHECK(streamed(client, "content") == "three");
  CHECK(streamed(client, "reasoning_content") == "one, two");
  CHECK(streamed(client, "reasoning") == "one, two");
  // What only looked like a mark is text.
  Scripted cut("one <thin");
  CHECK(cut.chat("Hi")->wait().json()["choices"][0]["message"]["content"] == "one <thin");
  CHECK(streamed(cut.chat("Hi", {{"stream", true}})->wait(), "content") == "one <thin");
  // A completion is the text as it is.
  CHECK(toy.complete("Hi")->wait().json()["choices"][0]["text"] == "<think>one, two</think>\n\nthree");
}

TEST_CASE("an answer ends at max_tokens, at a stop string, and at a token of the request") {
  Scripted toy("two red hearts and one blue star");
  const auto choice = [&](const Json& fields) { return toy.chat("Hi", fields)->wait().json()["choices"][0]; };
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    const Json json = toy.chat("Hi", {{name, 2}})->wait().json();
    CHECK(json["choices"][0]["finish_reason"] == "length");
    CHECK(json["usage"]["completion_tokens"] == 2);
  }
  // OpenAI's newer name wins.
  CHECK(
      toy.chat("Hi", {{"max_tokens", 9}, {"max_completion_tokens", 1}})->wait().json()["usage"]["completion_tokens"] ==
      1);
  for (const Json& stop : {Json(" hearts"), Json::array({"purple", " hearts"})}) {
    const Json stopped = choice({{"stop", stop}});
    CHECK(stopped["message"]["content"] == "two red");
    CHECK(stopped["finish_reason"] == "stop");
    CHECK(stopped["stop_reason"] == " hearts");
  }
  const Json at_token = choice({{"stop_token_ids", {toy.runner.script[1]}}, {"return_token_ids", true}});
  CHECK(at_token["finish_reason"] == "stop");
  CHECK(at_token["token_ids"] == Json::array({toy.runner.script[0]}));
  // No part of a stop string is streamed.
  const Received client = toy.chat("Hi", {{"stream", true}, {"stop", " hearts"}})->wait();
  CHECK(streamed(client, "content") == "two red");
  CHECK(contains(client.body, R"("stop_reason":" hearts")"));
}

TEST_CASE("log probabilities are those of the model's logits, with each token's own bytes") {
  Scripted toy("h\u00e9");
  const int ids = toy.processor.facts().vocab_rows;
  const double likely = std::log(4.0 / (ids - 1 + 4)), other = std::log(1.0 / (ids - 1 + 4));
  const Json fields{{"logprobs", true}, {"top_logprobs", 3}};
  const auto check = [&](const Json& tokens) {
    REQUIRE(tokens.size() == 3);
    CHECK(tokens[0]["token"] == "h");
    CHECK(tokens[0]["bytes"] == Json::array({'h'}));
    CHECK(tokens[1]["bytes"] == Json::array({0xc3}));
    CHECK(tokens[1]["token"] == "\uFFFD");
    CHECK(tokens[2]["bytes"] == Json::array({0xa9}));
    for (const Json& token : tokens) {
      CHECK(token["logprob"].get<double>() == doctest::Approx(likely));
      REQUIRE(token["top_logprobs"].size() == 3);
      CHECK(token["top_logprobs"][0]["token"] == token["token"]);
      CHECK(token["top_logprobs"][0]["logprob"] == token["logprob"]);
      CHECK(token["top_logprobs"][2]["logprob"].get<double>() == doctest::Approx(other));
    }
  };
  check(toy.chat("Hi", fields)->wait().json()["choices"][0]["logprobs"]["content"]);
  CHECK(toy.chat("Hi", {{"logprobs", true}})->wait().json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] ==
        Json::array());

  // Streamed, each comes once, with the text that it completed.
  Json stream = fields;
  stream["stream"] = true;
  Json tokens = Json::array();
  const auto client = toy.chat("Hi", stream);
  for (const std::string& event : client->wait().events()) {
    if (event == "[DONE]") continue;
    const Json choice = Json::parse(event)["choices"][0];
    if (choice["logprobs"].is_null()) continue;
    CHECK(choice["logprobs"]["content"].size() == (choice["delta"]["content"] == "h" ? 1 : 2));
    for (const Json& token : choice["logprobs"]["content"]) tokens.push_back(token);
  }
  check(tokens);

  const Json logprobs = toy.complete("Hi", {{"logprobs", 1}})->wait().json()["choices"][0]["logprobs"];
  CHECK(logprobs["tokens"] == Json::array({"h", "\uFFFD", "\uFFFD"}));
  CHECK(logprobs["text_offset"] == Json::array({0, 1, 2}));
  CHECK(logprobs["token_logprobs"][1].get<double>() == doctest::Approx(likely));
  CHECK(logprobs["top_logprobs"][0]["h"].get<double>() == doctest::Approx(likely));
}

TEST_CASE("an answer has the form that is asked for") {
  Scripted toy("no, never");
  const auto text = [&](const std::string& fields) {
    const std::string body = R"({"messages":[{"role":"user","content":"Hi"}],)" + fields + "}";
    toy.runner.prompt_tokens =
        toy.post("/v1/chat/completions/input_tokens", Json::parse(body))->wait().json()["input_tokens"].get<int>();
    const Received answer =
        toy.send({"POST", "/v1/chat/completions", "", {{"content-type", "application/json"}}, body})->wait();
    CAPTURE(answer.body);
    REQUIRE(answer.status == 200);
    return answer.json()["choices"][0]["message"]["content"].get<std::string>();
  };
  CHECK(text(R"("response_format":{"type":"text"})") == "no, never");
  CHECK(text(R"("structured_outputs":{"choice":["yes","no"]})") == "no");
  CHECK(text(R"("structured_outputs":{"regex":"n[a-z]"})") == "no");
  // Properties come in the schema's order, not in that of their names.
  const std::string schema =
      R"({"type":"object","required":["b","a"],"properties":{"b":{"type":"boolean"},"a":{"const":1}}})";
  for (const std::string& field :
       {R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)" + schema + "}}",
        R"("structured_outputs":{"json":)" + schema + "}",
        R"("structured_outputs":{"json":)" + Json(schema).dump() + "}"}) {
    const std::string found = text(field);
    CHECK((found == R"({"b": true, "a": 1})" || found == R"({"b": false, "a": 1})"));
  }
  CHECK(text(R"("max_tokens":1,"response_format":{"type":"json_object"})") == "{");
}

TEST_CASE("a form that is asked for again is made once, while it is among the last sixteen") {
  const Processor processor =
      load_processor(std::filesystem::path(IVL_SOURCE_DIR) / "examples/drawn_scenes/checkpoint");
  openai::Constraints constraints(std::make_shared<const TokenTrie>(processor.tokenizer()));
  int made = 0;
  const auto get = [&](std::string_view kind, const std::string& text) {
    return constraints.find_or_make(kind, text, [&](std::shared_ptr<const TokenTrie> tokens) {
      ++made;
      return Constraint::choice(std::move(tokens), std::vector{text});
    });
  };
  const auto first = get("choice", "0");
  CHECK(get("choice", "0") == first);
  CHECK(made == 1);
  CHECK(get("regex", "0") != first);
  for (int i = 1; i <= 14; ++i) get("choice", std::to_string(i));
  CHECK(get("choice", "0") == first);  // the sixteenth, and now the last used
  CHECK(made == 16);
  get("choice", "15");
  CHECK(get("choice", "0") == first);
  get("regex", "0");
  CHECK(made == 18);
}

TEST_CASE("several answers come under their numbers, and their prompt counts once") {
  Scripted toy("two red hearts", {}, room_for(4));
  const Json json = toy.chat("Hi", {{"n", 3}})->wait().json();
  REQUIRE(json["choices"].size() == 3);
  for (int n = 0; n < 3; ++n) {
    CHECK(json["choices"][n]["index"] == n);
    CHECK(json["choices"][n]["message"]["content"] == "two red hearts");
  }
  CHECK(json["usage"]["prompt_tokens"] == int(toy.runner.prompt_tokens));
  CHECK(json["usage"]["completion_tokens"] == 3 * toy.runner.script.size());
  const Received client = toy.chat("Hi", {{"n", 3}, {"stream", true}})->wait();
  for (int n = 0; n < 3; ++n) CHECK(streamed(client, "content", n) == "two red hearts");
  CHECK(client.events().back() == "[DONE]");
}

TEST_CASE("completions: prompts as text and ids, several, and echoed") {
  Scripted toy("two red hearts");
  const Json json = toy.complete("How many", {{"echo", true}})->wait().json();
  CHECK(json["id"].get<std::string>().starts_with("cmpl-"));
  CHECK(json["object"] == "text_completion");
  CHECK(json["choices"][0]["text"] == "How manytwo red hearts");
  CHECK(toy.complete("How many", {{"max_tokens", 1}})->wait().json()["choices"][0]["finish_reason"] == "length");

  const Json ids = toy.post("/tokenize", {{"prompt", "How many"}})->wait().json()["tokens"];
  CHECK(toy.post("/detokenize", {{"tokens", ids}})->wait().json()["prompt"] == "How many");
  const auto texts = [&](const Json& prompt) {
    const Json answer = toy.post("/v1/completions", {{"prompt", prompt}, {"echo", true}, {"n", 2}})->wait().json();
    std::vector<std::string> found;
    for (const Json& choice : answer["choices"]) found.push_back(choice["text"]);
    CHECK(answer["usage"]["prompt_tokens"] == ids.size() * (prompt.front().is_number() ? 1 : prompt.size()));
    return found;
  };
  CHECK(texts(ids) == std::vector<std::string>(2, "How manytwo red hearts"));
  CHECK(texts(Json::array({ids, "How many"})) == std::vector<std::string>(4, "How manytwo red hearts"));
  const Received client = toy.complete("How many", {{"echo", true}, {"stream", true}})->wait();
  CHECK(streamed(client, "text") == "How manytwo red hearts");
  // 16 tokens where nobody says how many.
  toy.runner.script.assign(40, toy.runner.script[0]);
  CHECK(toy.complete("How many")->wait().json()["usage"]["completion_tokens"] == 16);
}

TEST_CASE("a picture stands where its part stands, and literal marks are filled first") {
  Scripted toy("yes");
  const Json balloons = picture_part("balloons.png"), hill = picture_part("hill.png", {{"detail", "low"}});
  const auto tokens = [&](const Json& content) {
    return toy.post("/tokenize", {{"messages", Json::array({user_message(content)})}, {"return_token_strs", true}})
        ->wait()
        .json();
  };
  const auto prompt = [&](const Json& content) {  // as text, with one mark for the rows of a picture
    std::string text;
    const Json found = tokens(content);
    for (const Json& token : found["token_strs"]) {
      if (token != "<IMG_CONTEXT>" || !text.ends_with("<IMG_CONTEXT>")) text += token.get<std::string>();
    }
    return text.substr(text.find("user\n") + 5, text.find("<|im_end|>") - text.find("user\n") - 5);
  };
  const std::string picture = "<img><IMG_CONTEXT></img>";
  CHECK(prompt(Json::array({hill, text_part("What?")})) == picture + "\nWhat?");
  CHECK(prompt(Json::array({text_part("What?"), hill})) == "What?" + picture + "\n");
  CHECK(prompt(Json::array({hill, text_part("A <image> B"), hill})) ==
        "A " + picture + "\n B" + picture + "\n");  // the template breaks the line
  CHECK(prompt("No <image> here") == "No <image> here");
  // Which picture stands where: the first has 16 rows, the other has more.
  const auto first_rows = [&](const Json& content) {
    const Json ids = tokens(content)["tokens"];
    const int mark = *toy.processor.tokenizer().id_of("<IMG_CONTEXT>");
    std::size_t at = 0, rows = 0;
    while (ids[at] != mark) ++at;
    while (ids[at + rows] == mark) ++rows;
    return rows;
  };
  CHECK(first_rows(Json::array({hill, text_part("and"), balloons})) == 16);
  CHECK(first_rows(Json::array({balloons, text_part("and"), hill})) > 16);
  CHECK(first_rows(Json::array({text_part("see <image>"), hill, balloons})) == 16);
  CHECK(first_rows(Json::array({balloons, hill, text_part("see <image>")})) == 16);  // balloons are at the mark, behind

  const Json json = toy.chat(Json::array({hill, text_part("What?"), balloons}))->wait().json();
  const Json& grids = json["ivl"]["pictures"];
  REQUIRE(grids.size() == 2);
  CHECK(grids[0]["tiles"] == Json::array({1, 1}));
  CHECK(grids[0]["thumbnail"] == false);
  CHECK(grids[1]["thumbnail"] == true);
  const int tiles = 1 + grids[1]["tiles"][0].get<int>() * grids[1]["tiles"][1].get<int>() + 1;
  CHECK(json["ivl"]["tiles"] == tiles);
  CHECK(json["usage"]["prompt_tokens_details"]["image_tokens"] == 16 * tiles);
  const Json bare{{"type", "image_url"}, {"image_url", balloons["image_url"]["url"]}};
  CHECK(toy.chat(Json::array({bare}))->wait().json()["ivl"]["pictures"][0] == grids[1]);
  const Json two = picture_part("balloons.png", {{"max_dynamic_patch", 2}});
  CHECK(toy.chat(Json::array({two}))->wait().json()["ivl"]["tiles"] == 3);
}

TEST_CASE("an answer that fails in mid-stream ends with an error, and its own words stay here") {
  Scripted toy("two red hearts");
  toy.runner.holds = true;
  const auto stream = toy.chat("Hi", {{"stream", true}});
  toy.runner.breaks = true;  // the step behind the one that waits
  toy.runner.holds = false;
  const std::vector<std::string> events = stream->wait().events();
  REQUIRE(events.size() >= 2);
  CHECK(events.back() == "[DONE]");
  CHECK(Json::parse(events[events.size() - 2])["error"]["type"] == "server_error");
  toy.runner.breaks = true;
  const Received whole = toy.chat("Hi")->wait();
  CHECK(whole.status == 500);
  CHECK_FALSE(contains(whole.body + stream->wait().body, "deadbeef"));
  REQUIRE(toy.log.size() == 2);
  CHECK(contains(toy.log[1], "deadbeef"));
  CHECK(toy.chat("Hi")->wait().status == 200);
}

TEST_CASE("a client that goes away ends its answers, and one that reads too slowly pauses them") {
  Scripted toy("", {}, room_for(4));
  toy.runner.script.assign(3000, toy.processor.tokenizer().encode("a")[0]);
  toy.runner.slow = true;  // seconds for a whole answer
  const auto gone = toy.chat("Hi", {{"stream", true}, {"n", 2}});
  gone->wait("a\"");
  gone->go();
  CHECK(comes_true([&] { return contains(toy.get("/metrics")->wait().body, "finished_reason=\"abort\"} 2\n"); }));
  CHECK(comes_true([&] { return toy.service.status().engine.running == 0; }));
  CHECK(toy.service.status().engine.used_pages == 0);

  const auto late = toy.chat("Hi", {{"stream", true}});
  late->wait("a\"");
  late->fill(true);
  CHECK(comes_true([&] { return toy.service.status().engine.paused == 1; }));
  const std::size_t bytes = late->wait("a\"").body.size();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(late->wait("a\"").body.size() == bytes);
  toy.runner.slow = false;
  late->fill(false);
  CHECK(late->wait().events().back() == "[DONE]");
  CHECK(late->wait().body.size() > bytes);
}
