// What is fetched, and what is not: the hosts are TLS servers on this machine, whose names a resolver of the test
// knows.
#include "ivl/http/fetch.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/http/test_server.hpp"
#include "tests/http/tls_server.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ivl;
using namespace ivl::test;

namespace {

const http::Address here = *http::parse_address("127.0.0.1");

std::string ok(const std::string& body, const std::string& fields = "Content-Type: image/png\r\n") {
  return "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A host `pictures.example` (and `other.example`), whose answers are written by path.
struct Host {
  TemporaryFolder folder;
  Authority authority;
  std::map<std::string, std::string> answers;
  std::vector<TlsServer::Request> requests;
  TlsServer server{authority, "DNS:pictures.example,DNS:other.example,DNS:*.wild.example",
                   [this](const TlsServer::Request& request) {
                     requests.push_back(request);
                     const std::size_t begin = request.head.find(' ') + 1;
                     return answers[request.head.substr(begin, request.head.find(' ', begin) - begin)];
                   }};
  std::string port = ":" + std::to_string(server.port());
  std::string base = "https://pictures.example" + port;
  http::FetchOptions options;

  Host() {
    authority.write(folder / "ca.pem");
    options.hosts = {"pictures.example" + port, "other.example" + port, "Stranger.example" + port,
                     "a.wild.example" + port};
    options.certificates = (folder / "ca.pem").string();
    options.timeout = Milliseconds(2000);
    options.resolve = [](const std::string&) { return std::vector{here}; };
    options.may_connect = [](const http::Address& address) { return address == here; };
  }

  http::Fetched fetch(const std::string& url) const { return http::Fetcher(options).fetch(url); }
  std::string error(const std::string& url) const {
    return error_of<RequestError>([&] { fetch(url); });
  }
};

}  // namespace

TEST_CASE("fetch: a file, under the host's name") {
  Host host;
  std::string body = "\x89PNG";
  body += std::string(100'000, '\0');
  host.answers["/a%20b.png?c=d"] = ok(body);
  const http::Fetched fetched = host.fetch("HTTPS://Pictures.Example" + host.port + "/a%20b.png?c=d#part");
  CHECK(fetched.bytes == body);
  CHECK(fetched.content_type == "image/png");
  REQUIRE(host.requests.size() == 1);
  CHECK(host.requests[0].name == "pictures.example");
  const std::string& head = host.requests[0].head;
  CHECK(head.starts_with("GET /a%20b.png?c=d HTTP/1.1\r\nHost: pictures.example" + host.port + "\r\n"));
  CHECK(head.find("\r\nAccept-Encoding: identity\r\n") != head.npos);

  host.answers["/chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  CHECK(host.fetch(host.base + "/chunks").bytes == "abcde");
  host.answers["/to_end"] = "HTTP/1.1 200 OK\r\n\r\nabc";
  CHECK(host.fetch(host.base + "/to_end").bytes == "abc");
  host.server.pause_ms = 1;
  CHECK(host.fetch(host.base + "/chunks").bytes == "abcde");
  CHECK(host.fetch("https://a.wild.example" + host.port + "/to_end").bytes == "abc");
}

TEST_CASE("fetch: hosts that are not on the list, or whose addresses are not all public, are not connected to") {
  Host host;
  const std::string list = " it is not on the list of hosts that files may come from";
  CHECK(host.error("https://pictures.example/a") == "fetch: pictures.example: with port 443" + list);
  CHECK(host.error("https://evil.example" + host.port) ==
        "fetch: evil.example: with port " + host.port.substr(1) + list);
  CHECK(host.error("https://a.pictures.example" + host.port).ends_with(list));
  CHECK(host.error("https://pictures.example.evil.example" + host.port).ends_with(list));
  CHECK(host.error("http://pictures.example" + host.port) == "URL: expected https://, found 'http://p'");
  CHECK(host.error("https://pictures.example" + host.port + "@evil.example/") ==
        "URL: expected a host, found a user in front of it");

  host.options.may_connect = http::is_global;
  const std::string private_one = "fetch: pictures.example: it has an address that is not public";
  CHECK(host.error(host.base) == private_one);
  host.options.resolve = [](const std::string&) {
    return std::vector{*http::parse_address("8.8.8.8"), *http::parse_address("::ffff:169.254.169.254")};
  };
  CHECK(host.error(host.base) == private_one);
  host.options.resolve = [](const std::string&) { return std::vector<http::Address>(); };
  CHECK(host.error(host.base) == "fetch: pictures.example: it has no address");
  CHECK(host.server.connections() == 0);

  host.options.may_connect = [](const http::Address&) { return true; };
  host.options.resolve = [](const std::string&) { return std::vector{*http::parse_address("127.0.0.2")}; };
  CHECK(host.error(host.base) == "fetch: pictures.example: it cannot be connected to");
  host.answers["/"] = ok("second");
  host.options.resolve = [](const std::string&) { return std::vector{*http::parse_address("127.0.0.2"), here}; };
  CHECK(host.fetch(host.base).bytes == "second");
  host.options.resolve = {};  // the system's: names that end so have no address (RFC 6761)
  host.options.hosts.push_back("pictures.invalid");
  CHECK(host.error("https://pictures.invalid").starts_with("fetch: pictures.invalid: "));
}

TEST_CASE("fetch: the resolver is asked once for each hop, and its answer is what is connected to") {
  Host host;
  host.answers["/a"] = ok("abc");
  int asked = 0;
  host.options.resolve = [&](const std::string&) {
    // Rebinding: a second look would find another address.
    return std::vector{++asked == 1 ? here : *http::parse_address("10.0.0.1")};
  };
  CHECK(host.fetch(host.base + "/a").bytes == "abc");
  CHECK(asked == 1);
}

TEST_CASE("fetch: certificates") {
  Host host;
  host.answers["/"] = ok("abc");
  const std::string refused = ": expected a valid certificate for this name";
  CHECK(host.error("https://stranger.example" + host.port) == "fetch: stranger.example" + refused);
  const Authority unknown;
  TlsServer self_made(unknown, "DNS:pictures.example", [](const auto&) { return ok("abc"); });
  host.options.hosts.push_back("pictures.example:" + std::to_string(self_made.port()));
  CHECK(host.error("https://pictures.example:" + std::to_string(self_made.port())) ==
        "fetch: pictures.example" + refused);
  TlsServer old(
      host.authority, "DNS:pictures.example", [](const auto&) { return ok("abc"); }, -1);
  host.options.hosts.push_back("pictures.example:" + std::to_string(old.port()));
  CHECK(host.error("https://pictures.example:" + std::to_string(old.port())) == "fetch: pictures.example" + refused);
  TestServer plain;
  host.options.hosts.push_back("pictures.example:" + std::to_string(plain.port()));
  CHECK(host.error("https://pictures.example:" + std::to_string(plain.port())) ==
        "fetch: pictures.example: expected TLS 1.2 or 1.3, found none");
  host.options.certificates = "";  // the system's know nothing of the test's
  CHECK(host.error(host.base) == "fetch: pictures.example" + refused);
  host.options.certificates = host.folder.write("bad.pem", "no certificate").string();
  CHECK_THROWS_AS(http::Fetcher{host.options}, FileError);
}

TEST_CASE("fetch: redirections are checked like what was asked for") {
  Host host;
  const auto redirect = [](const std::string& to) {
    return "HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n";
  };
  host.answers["/end"] = ok("end");
  host.answers["/1"] = redirect("/2");
  host.answers["/2"] = redirect("https://other.example" + host.port + "/dir/3?x");
  host.answers["/dir/3?x"] = redirect("../end");
  host.answers["/dir/../end"] = ok("end");
  host.answers["/0"] = redirect("1");
  CHECK(host.fetch(host.base + "/1").bytes == "end");
  REQUIRE(host.requests.size() == 4);
  CHECK(host.requests[2].name == "other.example");
  CHECK(host.requests[2].head.find("\r\nHost: other.example" + host.port + "\r\n") != std::string::npos);
  CHECK(host.error(host.base + "/0") == "fetch: other.example: expected at most 3 redirections, found more");
  host.answers["/self"] = redirect("/self");
  CHECK(host.error(host.base + "/self") == "fetch: pictures.example: expected at most 3 redirections, found more");

  for (const std::string to : {"https://evil.example/", "//evil.example/x", "https://pictures.example/end"}) {
    CAPTURE(to);
    host.answers["/away"] = redirect(to);
    CHECK(host.error(host.base + "/away").ends_with(" it is not on the list of hosts that files may come from"));
  }
  for (const std::string to : {"http://pictures.example/end", "file:///etc/passwd", "https://127.0.0.1/",
                               "https://[::1]/", "https://2130706433/", "//user@pictures.example/", "/\\evil.example",
                               "https://pictures.example\\@evil.example/", "/a b"}) {
    CAPTURE(to);
    host.answers["/away"] = redirect(to);
    CHECK(host.error(host.base + "/away") ==
          "fetch: pictures.example: expected a redirection to https and a domain, found another");
  }
  host.answers["/away"] = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n";
  CHECK(host.error(host.base + "/away") == "fetch: pictures.example: expected to be told where a redirection leads");
}

TEST_CASE("fetch: limits of size and time, and answers that are none") {
  Host host;
  host.options.max_bytes = 1000;
  host.answers["/most"] = ok(std::string(1000, 'a'));
  CHECK(host.fetch(host.base + "/most").bytes.size() == 1000);
  const std::string large = "fetch: pictures.example: expected at most 1000 bytes, found more";
  host.answers["/length"] = "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n";
  host.answers["/chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + std::string(1000, 'a') +
                            "\r\n1\r\nb\r\n0\r\n\r\n";
  host.answers["/to_end"] = "HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'a');
  for (const std::string path : {"/length", "/chunks", "/to_end"}) CHECK(host.error(host.base + path) == large);

  host.answers["/404"] = "HTTP/1.1 404 secret\r\nContent-Length: 0\r\n\r\n";
  CHECK(host.error(host.base + "/404") == "fetch: pictures.example: expected status 200, found 404");
  host.answers["/gzip"] = ok("abc", "Content-Encoding: gzip\r\n");
  CHECK(host.error(host.base + "/gzip") == "fetch: pictures.example: expected no Content-Encoding, found one");
  host.answers["/ftp"] = "220 ready\r\n\r\n";
  CHECK(host.error(host.base + "/ftp") == "fetch: pictures.example: expected HTTP/1.1, found something else");
  host.answers["/header"] = "HTTP/1.1 200 OK\r\nA: " + std::string(40'000, 'a') + "\r\n\r\n";
  CHECK(host.error(host.base + "/header") == "fetch: pictures.example: expected HTTP/1.1, found something else");
  host.answers["/type"] = ok("abc", "Content-Type: im\xc3\xa9\r\n");
  CHECK(host.fetch(host.base + "/type").content_type.empty());

  const std::string cut = "fetch: pictures.example: the connection was cut off";
  host.answers["/short"] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
  CHECK(host.error(host.base + "/short") == cut);
  host.answers["/none"] = "";
  CHECK(host.error(host.base + "/none") == cut);
  host.server.says_goodbye = false;
  host.answers["/to_end"] = "HTTP/1.1 200 OK\r\n\r\nabc";
  CHECK(host.error(host.base + "/to_end") == cut);

  host.options.timeout = Milliseconds(150);
  const std::string slow = "fetch: pictures.example: expected an answer within 150 ms";
  host.server.pause_ms = 40;  // always something, and never all
  const auto start = Clock::now();
  CHECK(host.error(host.base + "/most") == slow);
  CHECK(milliseconds_since(start) < 1000);
}
