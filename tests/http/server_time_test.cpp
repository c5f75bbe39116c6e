// What the server does about clients that are slow, silent or gone, and what it holds for them.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ivl/http/server.hpp"
#include "tests/http/test_server.hpp"

using namespace ivl;
using namespace ivl::test;

namespace {

http::ServerOptions impatient() {
  http::ServerOptions options;
  options.header_timeout = options.body_timeout = options.idle_timeout = options.write_timeout = Milliseconds(150);
  options.body_timeout_per_mib = options.linger_timeout = Milliseconds(100);
  return options;
}

const std::string get_held = "GET /held HTTP/1.1\r\nHost: x\r\n\r\n";

}  // namespace

TEST_CASE("server: a slow header, a slow body and silence end the connection") {
  TestServer server(impatient());
  RawClient silent = server.client(), header = server.client(), body = server.client(), idle = server.client();
  const auto start = Clock::now();
  idle.send("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(idle.response().status == 200);
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
  // Bytes that drip in do not move the deadline.
  std::thread drip([&] {
    header.send("GET /echo HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 60; ++i) {
      if (i < 30) header.send("A: b\r\n");
      body.send("a");
      ::usleep(5000);
    }
  });
  for (RawClient* client : {&header, &body}) {
    const RawResponse response = client->response();
    CHECK(response.status == 408);
    CHECK(response.body.find(R"("code":"request_timeout")") != std::string::npos);
    CHECK(milliseconds_since(start) > 140);
    CHECK(milliseconds_since(start) < 1000);
  }
  CHECK(silent.rest().empty());
  CHECK(idle.rest().empty());
  drip.join();
  CHECK(soon([&] { return server.server().connections() == 0; }));
  CHECK(server.handled() == 1);
}

TEST_CASE("server: a large body has more time") {
  http::ServerOptions options = impatient();
  options.body_timeout_per_mib = Milliseconds(1000);
  TestServer server(options);
  RawClient client = server.client();
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n" + std::string(1 << 20, 'a'));
  ::usleep(400'000);
  client.send("b");
  CHECK(client.response().field("x-body-bytes") == "1048577");
}

TEST_CASE("server: a large header and a large body are refused while they are sent") {
  TestServer server;
  RawClient header = server.client();
  header.send("GET /echo HTTP/1.1\r\nHost: x\r\nA: ");
  std::thread([&] { header.send(std::string(1 << 20, 'a')); }).join();
  CHECK(header.response().status == 431);

  // Its sender reads nothing before it has sent all; the answer is there then.
  RawClient body = server.client();
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(33 << 20) + "\r\n\r\n");
  CHECK(body.send(std::string(33 << 20, 'a')));
  CHECK(body.response().status == 413);
  CHECK(server.handled() == 0);

  RawClient good = server.client();
  good.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(32 << 20) + "\r\n\r\n");
  CHECK(good.send(std::string(32 << 20, 'a')));
  CHECK(good.response().field("x-body-bytes") == std::to_string(32 << 20));
}

TEST_CASE("server: all bodies together have a limit") {
  http::ServerOptions options;
  options.max_bodies_bytes = 3 << 20;
  TestServer server(options);
  const std::string head = "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(2 << 20) + "\r\n\r\n";
  const std::string body(2 << 20, 'a');
  RawClient first = server.client();
  first.send(head + body);
  Held held = server.next();
  RawClient second = server.client();
  second.send(head + body);
  const RawResponse refused = second.response();
  CHECK(refused.status == 503);
  CHECK(refused.field("retry-after") == "1");
  held.responder->send(200, "text/plain", "");
  CHECK(first.response().status == 200);
  first.send(head + body);
  server.next().responder->send(200, "text/plain", "");
  CHECK(first.response().status == 200);
}

TEST_CASE("server: a part is sent when it is written") {
  TestServer server;
  RawClient client = server.client();
  client.send(get_held);
  const Held held = server.next();
  held.responder->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}});
  REQUIRE(client.sees("\r\n\r\n"));
  for (int i = 0; i < 20; ++i) {
    const std::string part = "data: " + std::to_string(i) + "\n\n";
    const auto start = Clock::now();
    held.responder->write(part);
    REQUIRE(client.sees(part));
    CHECK(milliseconds_since(start) < 30);  // Nagle's algorithm and delayed acknowledgements together would take 40 ms
  }
  held.responder->write("");
  held.responder->end();
  const RawResponse response = client.response();
  CHECK(response.field("cache-control") == "no-cache");
  CHECK(response.body.ends_with("data: 19\n\n"));
}

TEST_CASE("server: a client that goes away is noticed") {
  TestServer server;
  for (const bool begun : {false, true}) {
    for (const bool unread : {false, true}) {  // with bytes unread, closing is a reset
      CAPTURE(begun);
      CAPTURE(unread);
      RawClient client = server.client();
      client.send(get_held);
      const Held held = server.next();
      std::promise<Clock::time_point> gone;
      auto when = gone.get_future();
      held.responder->when_gone([&] { gone.set_value(Clock::now()); });
      if (begun || unread) held.responder->begin(200, begun ? "text/event-stream" : "text/plain");
      if (unread) {
        held.responder->write("data: 1\n\n");
        pollfd waiting{client.descriptor(), POLLIN, 0};
        REQUIRE(::poll(&waiting, 1, 5000) == 1);
      } else if (begun) {
        REQUIRE(client.sees("\r\n\r\n"));
      }
      const auto start = Clock::now();
      client.close();
      REQUIRE(when.wait_for(long_enough) == std::future_status::ready);
      CHECK(std::chrono::duration<double, std::milli>(when.get() - start).count() < 100);
      CHECK(soon([&] { return server.server().connections() == 0; }));
      held.responder->write("nobody reads this");
      held.responder->end();
      std::promise<void> at_once;
      held.responder->when_gone([&] { at_once.set_value(); });
      CHECK(at_once.get_future().wait_for(long_enough) == std::future_status::ready);
    }
  }
}

TEST_CASE("server: a client that only stops sending gets its answers") {
  TestServer server;
  std::atomic<bool> gone = false;
  for (const bool stream : {false, true}) {
    RawClient client = server.client();
    client.send(get_held + get_held);  // two, sent before either is answered
    Held held = server.next();
    held.responder->when_gone([&] { gone = true; });
    if (stream) held.responder->begin(200, "text/event-stream");
    if (stream) REQUIRE(client.sees("\r\n\r\n"));
    client.stop_sending();
    CHECK(client.sees(stream ? ": still there?\n\n" : "HTTP/1.1 100 Continue\r\n\r\n"));
    ::usleep(20'000);
    if (stream) {
      held.responder->write("data: 1\n\n");
      held.responder->end();
      const RawResponse response = client.response();
      CHECK(response.whole);
      CHECK(response.body.ends_with("data: 1\n\n"));
    } else {
      held.responder->send(200, "text/plain", "one");
      CHECK(client.response().status == 100);
      CHECK(client.response().body == "one");
    }
    server.next().responder->send(200, "text/plain", "two");
    CHECK(client.response().body == "two");
    CHECK(client.rest().empty());
  }
  CHECK_FALSE(gone);
}

TEST_CASE("server: a slow reader is told about, then ended; a reader that reads is not") {
  http::ServerOptions options = impatient();
  options.write_timeout = Milliseconds(400);
  options.max_backlog_bytes = 200'000;
  TestServer server(options);
  for (const bool reads : {false, true}) {
    CAPTURE(reads);
    RawClient client = server.client(4096);
    client.send(get_held);
    const Held held = server.next();
    std::atomic<int> full = 0, free = 0;
    std::atomic<bool> gone = false;
    held.responder->when_gone([&] { gone = true; });
    held.responder->when_backlog([&](bool now) { ++(now ? full : free); });
    held.responder->begin(200, "application/octet-stream");
    const auto start = Clock::now();
    for (int i = 0; i < 100; ++i) held.responder->write(std::string(4000, 'a'));
    REQUIRE(soon([&] { return full == 1; }));
    CHECK_FALSE(gone);
    if (reads) {
      // Slowly, though, for longer than the timeout: as long as it takes 64 KiB in each, it stays.
      std::size_t size = 0;
      while (size < 400'000 && client.receive()) {
        size = client.received().size();
        ::usleep(6000);
      }
      CHECK(milliseconds_since(start) > 400);
      held.responder->end();
      CHECK(client.response().body.size() == 400'000);
      CHECK(full == 1);
      CHECK(free == 1);
      CHECK_FALSE(gone);
    } else {
      CHECK(soon([&] { return gone.load(); }));
      CHECK(milliseconds_since(start) > 390);
      CHECK(milliseconds_since(start) < 1500);
      CHECK(free == 0);
      CHECK_FALSE(client.response().whole);
      CHECK(client.reset());  // else the system would keep on sending for us
      CHECK(soon([&] { return server.server().connections() == 0; }));
    }
  }
}

TEST_CASE("server: a silent event stream gets comments, and nothing else does") {
  http::ServerOptions options;
  options.comment_interval = Milliseconds(40);
  TestServer server(options);
  RawClient events = server.client(), text = server.client();
  events.send(get_held);
  const Held first = server.next();
  first.responder->begin(200, "text/event-stream; charset=utf-8");
  text.send(get_held);
  const Held second = server.next();
  second.responder->begin(200, "text/plain");
  CHECK(events.sees(": keep-alive\n\n"));
  ::usleep(100'000);
  first.responder->end();
  second.responder->end();
  const std::string body = events.response().body;
  CHECK(body.size() >= 2 * 14);
  CHECK(body.size() % 14 == 0);
  CHECK(text.response().body.empty());
}

TEST_CASE("server: draining finishes what has been begun, and closes what waits") {
  TestServer server;
  RawClient idle = server.client(), busy = server.client(), half = server.client(), streaming = server.client();
  idle.send("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(idle.response().status == 200);
  busy.send(get_held);
  Held held = server.next();
  streaming.send(get_held);
  Held stream = server.next();
  stream.responder->begin(200, "text/event-stream");
  half.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Le");
  ::usleep(20'000);
  RawClient unused = server.client();
  CHECK_FALSE(server.server().drain(Milliseconds(50)));
  auto drained = std::async(std::launch::async, [&] { return server.server().drain(long_enough); });
  CHECK(idle.rest().empty());
  CHECK(unused.rest().empty());
  CHECK(soon([&] { return server.server().connections() == 3; }));
  half.send("ngth: 1\r\n\r\na");
  CHECK(half.response().field("connection") == "close");
  held.responder->send(200, "text/plain", "done");
  CHECK(busy.response().field("connection") == "close");
  stream.responder->write("data: 1\n\n");
  stream.responder->end();
  CHECK(streaming.response().whole);
  for (RawClient* client : {&half, &busy, &streaming}) client->close();
  CHECK(drained.get());
}

TEST_CASE("server: stopping ends a drain, tells who waits, and leaves answers that come later to nobody") {
  std::atomic<bool> gone = false;
  Held held;
  {
    TestServer server;
    RawClient client = server.client();
    client.send(get_held);
    held = server.next();
    held.responder->when_gone([&] { gone = true; });
    auto drained = std::async(std::launch::async, [&] { return server.server().drain(long_enough); });
    ::usleep(20'000);
    server.server().stop();
    CHECK_FALSE(drained.get());
    CHECK(gone);
    CHECK(client.closed());
    server.server().stop();
  }
  held.responder->send(200, "text/plain", "late");
}

TEST_CASE("server: random bytes, and requests with random damage") {
  http::ServerOptions options = impatient();
  options.linger_timeout = Milliseconds(5);
  TestServer server(options);
  std::mt19937 random(20261130);
  const std::string good =
      "POST /echo?a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
      "Connection: keep-alive\r\n\r\n4;a=b\r\nabcd\r\n0\r\nT: v\r\n\r\nGET /parts HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto start = Clock::now();
  int clients = 0;
  for (; milliseconds_since(start) < 700; ++clients) {
    std::string bytes = good;
    if (clients % 4 == 0) {
      for (char& c : bytes) c = char(random());
    } else {
      for (int i = 0; i <= clients % 5; ++i) {
        const std::size_t at = random() % bytes.size();
        if (random() % 3 == 0) bytes[at] = char(random());
        if (random() % 3 == 0) bytes.erase(at, random() % 9);
        if (random() % 3 == 0) bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 40));
      }
    }
    RawClient client = server.client();
    const std::size_t cut = random() % bytes.size();
    client.send(bytes.substr(0, cut));
    if (random() % 2) client.receive(Milliseconds(1));
    client.send(bytes.substr(cut));
    if (random() % 2) client.stop_sending();
    if (random() % 2) client.receive(Milliseconds(1));
    if (!client.received().empty()) REQUIRE(client.received().starts_with("HTTP/1.1 "));
    server.forget();
  }
  CHECK(clients > 50);
  CHECK(soon([&] { return server.forget(), server.server().connections() == 0; }));
  RawClient client = server.client();
  client.send(good);
  RawResponse response = client.response();
  if (response.status == 100) response = client.response();
  CHECK(response.body.ends_with("\n\nabcd"));
}
