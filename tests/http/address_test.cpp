// Which addresses and URLs are refused, in every spelling.
#include "ivl/http/address.hpp"

#include <doctest/doctest.h>

#include <string>

#include "ivl/core/error.hpp"
#include "ivl/http/url.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ivl;
using namespace ivl::http;
using namespace ivl::test;

namespace {

bool global(const std::string& text) {
  const auto address = parse_address(text);
  REQUIRE_MESSAGE(address.has_value(), text);
  return is_global(*address);
}

}  // namespace

TEST_CASE("address: the ranges of IANA's special-purpose registries are not global, their neighbours are") {
  // Registries of 2025-10: first and last of each block that is not globally reachable, and the neighbours that are.
  const struct {
    const char *before, *first, *last, *after;
  } ranges[] = {
      {"", "0.0.0.0", "0.255.255.255", "1.0.0.0"},
      {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
      {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
      {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
      {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
      {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
      {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
      {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
      {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
      {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
      {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
      {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
      {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
      {"223.255.255.255", "224.0.0.0", "255.255.255.255", ""},
      {"", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
      {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
      {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
      {"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
      {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
      {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
  };
  for (const auto& [before, first, last, after] : ranges) {
    CAPTURE(first);
    CHECK_FALSE(global(first));
    CHECK_FALSE(global(last));
    if (*before) CHECK(global(before));
    if (*after) CHECK(global(after));
  }
  for (const char* text :
       {"::1", "::127.0.0.1", "::8.8.8.8", "100::1", "5f00::1", "64:ff9b:1::808:808", "fc00::1", "fd12::1", "fe80::1",
        "fec0::1", "ff02::1", "2001:0:808:808::1", "2001:2::1", "2001:10::1", "2002:808:808::1"}) {
    CAPTURE(text);
    CHECK_FALSE(global(text));
  }
  for (const char* text : {"8.8.8.8", "2606:4700::1111", "2a00:1450::1", "192.31.196.1", "2620:4f:8000::1"})
    CHECK(global(text));
}

TEST_CASE("address: IPv4 within IPv6 counts as that IPv4") {
  for (const std::string prefix : {"::ffff:", "64:ff9b::"}) {
    CHECK(global(prefix + "8.8.8.8"));
    CHECK(global(prefix + "808:808"));
    for (const char* inner :
         {"127.0.0.1", "7f00:1", "10.0.0.1", "169.254.169.254", "a9fe:a9fe", "192.168.1.1", "0.0.0.0"}) {
      CAPTURE(inner);
      CHECK_FALSE(global(prefix + inner));
    }
  }
}

TEST_CASE("address: only the plain spellings are addresses") {
  CHECK(to_text(*parse_address("8.8.4.4")) == "8.8.4.4");
  CHECK(to_text(*parse_address("2A00::0001")) == "2a00::1");
  for (const std::string text : {"", "1.2.3", "1.2.3.4.5", "01.2.3.4", "0x1.2.3.4", "256.1.1.1", "1.2.3.4 ",
                                 "2130706433", "fe80::1%lo", "[::1]", ":::", "1::2::3", "a.b.c.d"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_address(text).has_value());
  }
  CHECK_FALSE(parse_address(std::string("8.8.8.8\0", 8)).has_value());
}

TEST_CASE("URL: its parts") {
  const auto check = [](const char* text, const char* host, int port, const char* target) {
    CAPTURE(text);
    const Url url = parse_url(text);
    CHECK(url.host == host);
    CHECK(url.port == port);
    CHECK(url.target == target);
  };
  check("https://example.org", "example.org", 443, "/");
  check("HTTPS://EXAMPLE.org:8443", "example.org", 8443, "/");
  check("https://a-1.example.org/x/%2e%2e/y.png?a=b&c=/@:#top", "a-1.example.org", 443, "/x/%2e%2e/y.png?a=b&c=/@:");
  check("https://example.org?q", "example.org", 443, "/?q");
  check("https://example.org#f", "example.org", 443, "/");
  check("https://example.org/a//b/../c", "example.org", 443, "/a//b/../c");
  check("https://1.example/", "1.example", 443, "/");
  check("https://0x7f.example/", "0x7f.example", 443, "/");
}

TEST_CASE("URL: what is refused, with the rule") {
  const struct {
    std::string text, rule;
  } cases[] = {
      {"", "expected https://"},
      {"http://example.org/", "expected https://"},
      {"file:///etc/passwd", "expected https://"},
      {"ftp://example.org", "expected https://"},
      {"//example.org", "expected https://"},
      {"https:/example.org", "expected https://"},
      {"/etc/passwd", "expected https://"},
      {"https://user@example.org/", "found a user"},
      {"https://user:word@example.org/", "found a user"},
      {"https://example.org@evil.example/", "found a user"},
      {"https://@example.org/", "found a user"},
      {"https://example.org\\@evil.example/", "characters of RFC 3986"},
      {"https:\\\\example.org/", "characters of RFC 3986"},
      {"https://example.org\\evil", "characters of RFC 3986"},
      {"https://example.org/a b", "characters of RFC 3986"},
      {" https://example.org/", "characters of RFC 3986"},
      {"https://example.org/\r\nHost: evil", "characters of RFC 3986"},
      {"https://example.org/\t", "characters of RFC 3986"},
      {std::string("https://example.org\0.evil/", 26), "characters of RFC 3986"},
      {"https://ex\xc3\xa4mple.org/", "characters of RFC 3986"},
      {"https://example.org/\xe2\x80\xa8", "characters of RFC 3986"},
      {"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", "characters of RFC 3986"},  // full-width digits
      {"https://example.org/<a>", "characters of RFC 3986"},
      {"https://example.org/%zz", "two hexadecimal digits"},
      {"https://example.org/%a", "two hexadecimal digits"},
      {"https://", "labels of 1 to 63"},
      {"https:///path", "labels of 1 to 63"},
      {"https://example..org/", "labels of 1 to 63"},
      {"https://.example.org/", "labels of 1 to 63"},
      {"https://example.org./", "labels of 1 to 63"},
      {"https://" + std::string(64, 'a') + ".org/", "labels of 1 to 63"},
      {"https://exa%6dple.org/", "letters, digits"},
      {"https://exa_mple.org/", "letters, digits"},
      {"https://example.org:/", "the port"},
      {"https://example.org:0/", "the port"},
      {"https://example.org:65536/", "the port"},
      {"https://example.org:99999999999/", "the port"},
      {"https://example.org:+443/", "the port"},
      {"https://example.org:44:3/", "the port"},
      {"https://example.org/" + std::string(8200, 'a'), "at most 8192 bytes"},
      // 127.0.0.1 and its like, in every spelling that some parser takes for an address
      {"https://127.0.0.1/", "found an IP address"},
      {"https://8.8.8.8/", "found an IP address"},
      {"https://127.1/", "found an IP address"},
      {"https://127.0.1/", "found an IP address"},
      {"https://2130706433/", "found an IP address"},
      {"https://0177.0.0.1/", "found an IP address"},
      {"https://017700000001/", "found an IP address"},
      {"https://0x7f.0.0.1/", "found an IP address"},
      {"https://0x7F000001/", "found an IP address"},
      {"https://0x/", "found an IP address"},
      {"https://127.0.0.0x1/", "found an IP address"},
      {"https://127.0.0.1:443/", "found an IP address"},
      {"https://example.1/", "found an IP address"},
      {"https://[::1]/", "found an IP address"},
      {"https://[::1]:443/", "found an IP address"},
      {"https://[::ffff:127.0.0.1]/", "found an IP address"},
      {"https://[::ffff:7f00:1]/", "found an IP address"},
      {"https://[fe80::1%25eth0]/", "found an IP address"},
      {"https://127.0.0.1./", "labels of 1 to 63"},
      {"https://127%2e0.0.1/", "letters, digits"},
      {"https://::1/", "labels of 1 to 63"},
  };
  for (const auto& [text, rule] : cases) {
    CAPTURE(text);
    const std::string error = error_of<RequestError>([&] { parse_url(text); });
    CHECK_MESSAGE(error.find(rule) != error.npos, error);
    CHECK(error.size() < 200);
  }
}

TEST_CASE("URL: what a redirection points to") {
  const Url base = parse_url("https://example.org:444/a/b?c");
  const auto to = [&](const char* location) {
    const Url url = resolve_url(base, location);
    return url.host + ":" + std::to_string(url.port) + url.target;
  };
  CHECK(to("https://other.example/x") == "other.example:443/x");
  CHECK(to("//other.example/x") == "other.example:443/x");
  CHECK(to("/x?y#z") == "example.org:444/x?y");
  CHECK(to("x") == "example.org:444/a/x");
  CHECK(to("?y") == "example.org:444/a/b?y");
  CHECK(to("#z") == "example.org:444/a/b?c");
  CHECK(to("x?y=https://z/") == "example.org:444/a/x?y=https://z/");
  for (const char* location : {"http://example.org/", "javascript:x", "data:,x", "HTTP://example.org", "https:x"}) {
    CHECK_THROWS_AS(resolve_url(base, location), RequestError);
  }
}
