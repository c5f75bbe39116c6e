#include "ivl/core/sha256.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "tests/support/hex_sha256.hpp"

namespace {

using namespace ivl;

std::string hash_of(std::string_view text, std::size_t piece) {
  Sha256 hash;
  for (; text.size() > piece; text.remove_prefix(piece)) hash.add(text.substr(0, piece));
  hash.add(text);
  return test::hex(hash.finish());
}

TEST_CASE("SHA-256 gives NIST's digests, in whatever pieces the message comes") {
  const std::string million(1000000, 'a');
  for (const std::size_t piece : {std::size_t(1), std::size_t(7), std::size_t(64), std::size_t(1000), million.size()}) {
    CAPTURE(piece);
    CHECK(hash_of("", piece) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash_of("abc", piece) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", piece) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash_of(million, piece) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

}  // namespace
