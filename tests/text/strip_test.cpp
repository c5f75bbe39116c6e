#include "ivl/text/strip.hpp"

#include <doctest/doctest.h>

namespace {

using ivl::strip;

// str.strip() of Python 3.
static_assert(strip("") == "");
static_assert(strip(" \n\t") == "");
static_assert(strip(" a b\n") == "a b");
static_assert(strip("\u3000\u00a0a\u2028\x1c") == "a");
static_assert(strip("\u200ba") == "\u200ba");  // a zero-width space is none

TEST_CASE("Half a character at an end is no white space") { CHECK(strip("\x80 a \xe3\x80") == "\x80 a \xe3\x80"); }

}  // namespace
