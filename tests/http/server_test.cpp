// What the server makes of requests, however they are cut, and of answers. The client writes raw bytes.
#include "ivl/http/server.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "ivl/core/error.hpp"
#include "tests/http/test_server.hpp"

using namespace ivl;
using namespace ivl::test;

namespace {

const std::string get_echo = "GET /echo?a=%2f HTTP/1.1\r\nHost: x\r\n\r\n";

/// The server's answer to these bytes, on a connection of their own.
RawResponse answer_to(TestServer& server, const std::string& bytes) {
  RawClient client = server.client();
  client.send(bytes);
  return client.response();
}

}  // namespace

TEST_CASE("server: a request's parts come as they were sent") {
  TestServer server;
  const RawResponse response = answer_to(
      server,
      "POST /echo?q=1?2&%41 HTTP/1.1\r\nHost: here\r\nX-Mixed-Case:  a b \r\nContent-Length: 5\r\n\r\nh\xff\r\no");
  CHECK(response.status == 200);
  CHECK(response.body == "POST /echo?q=1?2&%41\nhost=here\nx-mixed-case=a b\ncontent-length=5\n\nh\xff\r\no");
  CHECK(response.field("content-type") == "text/plain");
  CHECK(response.field("x-content-type-options") == "nosniff");
  CHECK(response.field("x-body-bytes") == "5");
  CHECK(response.field("date").ends_with(" GMT"));
  CHECK(response.field("connection") == "");
}

TEST_CASE("server: a connection serves one request after another, also when they are sent at once") {
  TestServer server;
  RawClient client = server.client();
  for (int i = 0; i < 3; ++i) {
    client.send(get_echo);
    CHECK(client.response().status == 200);
  }
  // Of those sent at once, the first is answered last by its handler; answers keep the order all the same.
  std::string many = "GET /first HTTP/1.1\r\nHost: x\r\n\r\n";
  for (int i = 0; i < 20; ++i) {
    many +=
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n" + std::to_string(10 + i) + (i % 2 ? "\r\n" : "");
  }
  client.send(many);
  const Held first = server.next();
  CHECK(server.handled() == 4);
  first.responder->send(200, "text/plain", "first");
  CHECK(client.response().body == "first");
  for (int i = 0; i < 20; ++i) CHECK(client.response().body.ends_with("\n\n" + std::to_string(10 + i)));
  CHECK(server.server().connections() == 1);
}

TEST_CASE("server: chunked bodies, cut at every byte") {
  TestServer server;
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string body = "3\r\nabc\r\nA;name=\"v\"\r\n0123456789\r\n0\r\nX-Trailer: dropped\r\n\r\n";
  const std::string bytes = head + body;
  RawClient client = server.client();
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    CAPTURE(cut);
    client.send(bytes.substr(0, cut));
    if (cut % 8 == 0) ::usleep(300);  // else the system may well put the pieces together again
    client.send(bytes.substr(cut));
    const RawResponse response = client.response();
    REQUIRE(response.status == 200);
    REQUIRE(response.body.ends_with("\n\nabc0123456789"));
    REQUIRE(response.body.find("trailer") == std::string::npos);
  }
  for (const char c : bytes) {  // and byte by byte
    client.send(std::string(1, c));
    ::usleep(100);
  }
  CHECK(client.response().body.ends_with("\n\nabc0123456789"));
}

TEST_CASE("server: what is refused, in OpenAI's form, and the connection closed") {
  http::ServerOptions options;
  options.max_body_bytes = 1000;
  TestServer server(options);
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "A: b\r\n";
  const std::string host = "Host: x\r\n";
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const struct {
    std::string bytes;
    int status;
    std::string code;
  } cases[] = {
      {"GET /echo HTTP/1.1\r\n\r\n", 400, "invalid_host"},
      {"GET /echo HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", 400, "invalid_host"},
      {"GET http://x/echo HTTP/1.1\r\n" + host + "\r\n", 400, "invalid_path"},
      {"GET * HTTP/1.1\r\n" + host + "\r\n", 400, "invalid_path"},
      {"GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n", 400, "invalid_path"},
      {"GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400, "invalid_path"},
      {"GET /echo\r\n" + host + "\r\n", 400, ""},
      {"GET /echo HTTP/1.1\n" + host + "\n\n", 400, "invalid_request"},
      {"\x16\x03\x01\x02\r\n\r\n", 400, "invalid_request"},  // TLS
      {"GET /echo HTTP/1.1\r\n" + host + "A : b\r\n\r\n", 400, "invalid_request"},
      {"GET /echo HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", 400, "invalid_request"},
      {"GET /echo HTTP/1.1\r\n" + host + std::string("A: \0\r\n\r\n", 8), 400, "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
       "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400,
       "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400, "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\na", 400, "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400, "invalid_request"},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "invalid_request"},
      {chunked + "x\r\n", 400, "invalid_request"},
      {chunked + "-1\r\n", 400, "invalid_request"},
      {chunked + "1\r\nab\r\n0\r\n\r\n", 400, "invalid_request"},
      {chunked + "fffffffffffffffff\r\n", 400, "invalid_request"},
      {"POST /echo HTTP/1.1\r\n" + host + "\r\n", 411, "length_required"},
      {"POST /echo HTTP/1.1\r\n" + host + "Content-Length: 1001\r\n\r\n", 413, "body_too_large"},
      {"POST /echo HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", 413,
       "body_too_large"},
      {chunked + "3e9\r\n", 413, "body_too_large"},
      {chunked + "3e8\r\n" + std::string(1000, 'a') + "\r\n1\r\n", 413, "body_too_large"},
      {chunked + "1;" + std::string(9000, 'a'), 431, "header_too_large"},
      {chunked + "0\r\nA: " + std::string(9000, 'a'), 431, "header_too_large"},
      {"GET /" + std::string(9000, 'a'), 414, "path_too_long"},
      {"GET /echo HTTP/1.1\r\n" + host + "Expect: a cat\r\n\r\n", 417, "expectation_failed"},
      {"GET /echo HTTP/1.1\r\n" + host + fields + "A: b\r\n\r\n", 431, "header_too_large"},
      {"GET /echo HTTP/1.1\r\n" + host + "A: " + std::string(9000, 'a'), 431, "header_too_large"},
      {"BREW /echo HTTP/1.1\r\n" + host + "\r\n", 501, "method_not_implemented"},
      {"TRACE /echo HTTP/1.1\r\n" + host + "\r\n", 501, "method_not_implemented"},
      {"CONNECT x:1 HTTP/1.1\r\n" + host + "\r\n", 501, "method_not_implemented"},
      {"POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "encoding_not_implemented"},
      {"POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", 501, "encoding_not_implemented"},
      {"GET /echo HTTP/2.0\r\n" + host + "\r\n", 505, "version_not_supported"},
  };
  for (const auto& [bytes, status, code] : cases) {
    CAPTURE(bytes.substr(0, 100));
    RawClient client = server.client();
    client.send(bytes);
    const RawResponse response = client.response();
    CHECK(response.status == status);
    CHECK(response.body.starts_with(R"({"error":{"message":")"));
    const std::string type = status >= 500 ? "server_error" : "invalid_request_error";
    CHECK(response.body.find(R"(","type":")" + type + R"(","param":null,"code":")" + code) != std::string::npos);
    CHECK(response.field("content-type") == "application/json");
    CHECK(response.field("x-content-type-options") == "nosniff");
    CHECK(response.field("connection") == "close");
    CHECK(client.closed());
  }
  CHECK(server.handled() == 0);
  CHECK(answer_to(server, "GET /echo HTTP/1.1\r\n" + host + fields + "\r\n").status == 200);
  CHECK(answer_to(server, chunked + "3e8\r\n" + std::string(1000, 'a') + "\r\n0\r\n\r\n").status == 200);
  CHECK(soon([&] { return server.server().connections() == 0; }));
}

TEST_CASE("server: Expect: 100-continue") {
  TestServer server;
  RawClient client = server.client();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  client.send(head);
  CHECK(client.response().status == 100);
  client.send("ab");
  CHECK(client.response().body.ends_with("\n\nab"));
  client.send(head + "ab");  // a client that does not wait is not answered twice
  CHECK(client.response().status == 200);
}

TEST_CASE("server: HEAD, 204, and clients of HTTP/1.0") {
  TestServer server;
  RawClient client = server.client();
  client.send("HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n" + std::string("HEAD /parts HTTP/1.1\r\nHost: x\r\n\r\n") +
              get_echo);
  const RawResponse head = client.response(true);
  CHECK(head.field("content-length") == "20");
  CHECK(client.response(true).field("transfer-encoding") == "chunked");
  CHECK(client.response().body.starts_with("GET /echo?a=%2f\n"));
  client.send("OPTIONS /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  server.next().responder->send(204, "", "", {{"Allow", "GET"}});
  const RawResponse nothing = client.response();
  CHECK(nothing.head.find("\r\nContent-") == std::string::npos);
  CHECK(nothing.field("allow") == "GET");

  RawClient old = server.client();
  old.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(old.response().field("connection") == "keep-alive");
  old.send("GET /parts HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string rest = old.rest();
  CHECK(rest.find("Transfer-Encoding") == std::string::npos);
  CHECK(rest.find("Connection: close\r\n") != std::string::npos);
  CHECK(rest.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"));
  CHECK(answer_to(server, "GET /echo HTTP/1.0\r\n\r\n").field("connection") == "close");
}

TEST_CASE("server: `Connection: close` is obeyed") {
  TestServer server;
  RawClient client = server.client();
  client.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get_echo);
  CHECK(client.response().status == 200);
  CHECK(client.rest().empty());
  CHECK(server.handled() == 1);
}

TEST_CASE("server: handlers that fail, forget to answer, or answer twice") {
  TestServer server;
  RawClient client = server.client();
  for (const std::string path : {"/throw", "/drop"}) {
    client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    const RawResponse response = client.response();
    CHECK(response.status == 500);
    CHECK(response.body ==
          R"({"error":{"message":"The server failed","type":"server_error","param":null,"code":"internal_error"}})");
  }
  CHECK(server.log() == "http: a handler failed: secret 0x7ffe\n");

  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  Held held = server.next();
  held.responder->send(200, "text/plain", "one");
  held.responder->send(200, "text/plain", "two");
  held.responder->write("three");
  held.responder->end();
  CHECK(client.response().body == "one");
  client.send(get_echo);
  CHECK(client.response().status == 200);

  client.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  held = server.next();
  held.responder->begin(200, "text/plain");
  held.responder->write("half");
  held.responder.reset();  // nobody shall take the half for the whole
  const RawResponse half = client.response();
  CHECK(half.body == "half");
  CHECK_FALSE(half.whole);
  CHECK(client.closed());
}

TEST_CASE("server: no field can add another") {
  TestServer server;
  RawClient client = server.client();
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  const Held held = server.next();
  for (const http::Fields& fields : {http::Fields{{"A", "b\r\nC: d"}},
                                     {{"A\r\nB", "c"}},
                                     {{"A", "b\n"}},
                                     {{"", "b"}},
                                     {{"A:", "b"}},
                                     {{"A", std::string("b\0", 2)}}}) {
    CHECK_THROWS_AS(held.responder->send(200, "text/plain", "", fields), Error);
    CHECK_THROWS_AS(held.responder->begin(200, "text/plain", fields), Error);
  }
  CHECK_THROWS_AS(held.responder->send(200, "text/plain\r\nA: b", ""), Error);
  held.responder->send(200, "text/plain", "", {{"X-Text", "caf\xc3\xa9\tx"}});
  CHECK(client.response().field("x-text") == "caf\xc3\xa9\tx");
}

TEST_CASE("server: 300 connections at once") {
  TestServer server;
  std::vector<RawClient> clients;
  for (int i = 0; i < 300; ++i) clients.push_back(server.client());
  CHECK(soon([&] { return server.server().connections() == 300; }));
  for (RawClient& client : clients) client.send(get_echo);
  for (RawClient& client : clients) CHECK(client.response().status == 200);
  clients.clear();
  CHECK(soon([&] { return server.server().connections() == 0; }));
}

TEST_CASE("server: at its number of connections, further clients wait") {
  http::ServerOptions options;
  options.max_connections = 2;
  TestServer server(options);
  RawClient first = server.client(), second = server.client(), third = server.client();
  for (RawClient* client : {&first, &second, &third}) client->send(get_echo);
  CHECK(first.response().status == 200);
  CHECK(second.response().status == 200);
  CHECK_FALSE(third.receive(Milliseconds(50)));
  first.close();
  CHECK(third.response().status == 200);
}

TEST_CASE("server: it cannot listen where another does") {
  TestServer server;
  http::ServerOptions options;
  options.port = server.port();
  const auto handler = [](http::Request, std::shared_ptr<http::Responder>) {};
  CHECK_THROWS_WITH_AS(
      http::Server(options, handler),
      ("http: cannot listen on 127.0.0.1:" + std::to_string(server.port()) + ": Address already in use").c_str(),
      Error);
}
