#include "ivl/http/data_url.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "ivl/core/error.hpp"
#include "ivl/http/keys.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ivl;
using namespace ivl::http;
using namespace ivl::test;

TEST_CASE("base64: the examples of RFC 4648, and every byte") {
  CHECK(decode_base64("") == "");
  CHECK(decode_base64("Zg==") == "f");
  CHECK(decode_base64("Zm8=") == "fo");
  CHECK(decode_base64("Zm9v") == "foo");
  CHECK(decode_base64("Zm9vYg==") == "foob");
  CHECK(decode_base64("Zm9vYmE=") == "fooba");
  CHECK(decode_base64("Zm9vYmFy") == "foobar");
  // Python 3.11: base64.b64encode(bytes(range(256)))
  std::string all;
  for (int i = 0; i < 256; ++i) all += char(i);
  CHECK(
      decode_base64(
          "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9Q"
          "UVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+"
          "AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOk"
          "paanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/"
          "T19vf4"
          "+fr7/P3+/w==") == all);
}

TEST_CASE("base64: what is refused") {
  for (const std::string text : {"Z", "Zg", "Zg=", "Zm9", "=", "====", "Z===", "Zg==Zg==", "Zh==", "Zm9=", "Zm9v\n",
                                 "Zm 9", "Zm9-", "Zm_v", "Zm9v====", "=m9v", "Z=9v", "Zm=v", "Zm\xc3\xa9"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(decode_base64(text), RequestError);
  }
  CHECK_THROWS_AS(decode_base64(std::string("Zm9\0", 4)), RequestError);
  CHECK(error_of<RequestError>([] { decode_base64("Zm9vZ\nv="); }) ==
        "base64: expected A-Z, a-z, 0-9, + and /, found '\\x0a' at 5");
}

TEST_CASE("data URL: its type, its bytes and its rules") {
  const DataUrl url = parse_data_url("data:image/PNG;base64,Zm9v", 3);
  CHECK(url.media_type == "image/png");
  CHECK(url.bytes == "foo");
  CHECK(parse_data_url("DATA:text/plain;charset=utf-8;BASE64,Zg==", 10).media_type == "text/plain");
  CHECK(parse_data_url("data:;base64,", 0).bytes.empty());
  const auto error = [](const std::string& text, std::size_t max_bytes = 100) {
    return error_of<RequestError>([&] { parse_data_url(text, max_bytes); });
  };
  CHECK(error("data:image/png;base64,Zm9v", 2) == "data URL: expected at most 2 bytes, found 3");
  CHECK(error("data:image/png;base64,Zm8=", 1) == "data URL: expected at most 1 bytes, found 2");
  CHECK(error("data:image/png;base64," + std::string(400, '!'), 299) ==
        "data URL: expected at most 299 bytes, found 300");
  CHECK(error("data:image/png,abc") == "data URL: expected ';base64,', found 'data:image/png'");
  CHECK(error("data:image/png;base64") == "data URL: expected ',' within 256 bytes, found none");
  CHECK(error("data:" + std::string(300, 'a') + ";base64,Zg==") ==
        "data URL: expected ',' within 256 bytes, found none");
  CHECK(error("file:image/png;base64,Zg==") == "data URL: expected 'data:', found 'file:'");
  CHECK(error("data:image/png;base64,Zg") == "base64: expected a multiple of 4 letters, found 2");
  CHECK(error("") == "data URL: expected ',' within 256 bytes, found none");
}

TEST_CASE("API keys: a file of them, and who is one") {
  const TemporaryFolder folder;
  const ApiKeys keys = ApiKeys::read(folder.write("keys", "# ours\nsk-one\r\n\nsk-two"));
  CHECK(keys.size() == 2);
  for (const std::string key : {"sk-one", "sk-two"}) {
    const auto digest = keys.find(key);
    REQUIRE(digest.has_value());
    Sha256 sha;
    sha.add(key);
    CHECK(*digest == sha.finish());
  }
  for (const std::string key : {"", "sk-on", "sk-one ", "sk-onE", "# ours", "sk-one\r", "sk-two\n"}) {
    CAPTURE(key);
    CHECK_FALSE(keys.find(key).has_value());
  }
  const auto error = [&](const std::string& content) {
    const auto file = folder.write("bad", content);
    const std::string text = error_of<FileError>([&] { ApiKeys::read(file); });
    return text.substr(std::min(text.size(), file.string().size()));
  };
  CHECK(error("# none\n\n") == ": expected keys, one a line, found none");
  CHECK(error("good\nsecret word\n") == ": line 2: expected a key of printable ASCII without spaces");
  CHECK(error("caf\xc3\xa9") == ": line 1: expected a key of printable ASCII without spaces");
  CHECK(error_of<FileError>([&] { ApiKeys::read(folder / "absent"); }) ==
        (folder / "absent").string() + ": cannot be read");
  CHECK_THROWS_AS(ApiKeys::read(folder.path()), FileError);
}
