#include "ivl/core/error.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>

using namespace ivl;

namespace {

template <class... Parts>
std::string text_of_error(const Parts&... parts) {
  try {
    fail<RequestError>(parts...);
  } catch (const RequestError& error) {
    return error.what();
  }
}

template <class... Parts>
std::string streamed(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

TEST_CASE("An error says what a stream would write") {
  const auto same = [](const auto&... parts) { CHECK(text_of_error(parts...) == streamed(parts...)); };
  same("text ", std::string("string "), std::string_view("a view of more", 6), ' ', 'c');
  same(0, -1, 7u, std::size_t(18446744073709551615u), std::numeric_limits<std::int64_t>::min(), short(-5));
  same(std::uint16_t(65535), std::int8_t('a'), std::uint8_t('b'), true, ' ', false);
  same(1.0f, ' ', 0.1f, ' ', 1e-7, ' ', 123456789.0, ' ', 1e300, ' ', -0.0, ' ', 2.5);
  same(std::numeric_limits<float>::max(), ' ', std::numeric_limits<double>::infinity(), ' ',
       std::numeric_limits<double>::quiet_NaN());
}

TEST_CASE("A file error gets its file in front") {
  CHECK(naming("a.json", [] { return 3; }) == 3);
  CHECK_THROWS_WITH_AS(naming("a.json", [] { fail<FileError>("no number ", 5); }), "a.json: no number 5", FileError);
  CHECK_THROWS_WITH_AS(naming("a.json", [] { fail<ConfigError>("no number ", 5); }), "no number 5", ConfigError);
}

}  // namespace

TEST_CASE("a long list is cut after ten lines, and says how many are left out") {
  std::string lines;
  for (int i = 1; i <= 10; ++i) lines += "\n  line " + std::to_string(i);
  CHECK(first_lines(lines) == lines);
  CHECK(first_lines(lines + "\n  x\n  y") == lines + "\n  and 2 more");
  CHECK(first_lines("").empty());
}
