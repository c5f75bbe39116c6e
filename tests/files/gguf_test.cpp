#include "ivl/files/gguf.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

const std::filesystem::path gguf_golden = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/gguf";

std::string gguf_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Numbers and strings as a GGUF file has them, one behind the other.
template <class... Parts>
std::string packed_bytes(const Parts&... parts) {
  std::string bytes;
  const auto add = [&](const auto& part) {
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(part)>>) {
      bytes.append(reinterpret_cast<const char*>(&part), sizeof part);
    } else {
      const std::string_view text = part;
      const std::uint64_t length = text.size();
      bytes.append(reinterpret_cast<const char*>(&length), sizeof length).append(text);
    }
  };
  (add(parts), ...);
  return bytes;
}

using U8 = std::uint8_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

std::string gguf_start(U64 tensors, U64 keys, U32 version = 3) { return "GGUF" + packed_bytes(version, tensors, keys); }

std::string gguf_padded(std::string text, std::size_t alignment = 32) {
  text.resize((text.size() + alignment - 1) / alignment * alignment);
  return text;
}

/// A file of one key "k" and its value.
std::string with_value(const std::string& value) { return gguf_padded(gguf_start(0, 1) + packed_bytes("k") + value); }

/// A file with the tensor "w", f32 [2, 3] where nothing else is said.
struct OneTensor {
  std::string name = "w";
  std::vector<U64> sizes{3, 2};  // the row first
  U32 type = 0;
  U64 offset = 0;

  std::string info() const {
    std::string text = packed_bytes(name, U32(sizes.size()));
    for (const U64 size : sizes) text += packed_bytes(size);
    return text + packed_bytes(type, offset);
  }
  std::string file(std::size_t data_bytes = 32) const {
    return gguf_padded(gguf_start(1, 0) + info()) + std::string(data_bytes, '\0');
  }
};

std::string gguf_error(const std::string& file) {
  return test::error_of<FileError>([&] { parse_gguf(std::as_bytes(std::span(file)), "x.gguf"); });
}

template <class Number>
std::vector<Number> numbers_of(const GgufTensor& tensor) {
  std::vector<Number> numbers(tensor.bytes.size() / sizeof(Number));
  std::memcpy(numbers.data(), tensor.bytes.data(), tensor.bytes.size());
  return numbers;
}

TEST_CASE("values and tensors are what the gguf package was given") {
  const Gguf file(gguf_golden / "values.gguf");
  CHECK(file.get<std::string_view>("general.architecture") == "qwen3");
  CHECK(file.get<int>("general.alignment") == 64);
  CHECK(file.get<U8>("highest.u8") == 255);
  CHECK(file.get<std::int16_t>("highest.u8") == 255);
  CHECK(file.get<std::uint16_t>("highest.u16") == 65535);
  CHECK(file.get<U32>("highest.u32") == 0xffffffff);
  CHECK(file.get<U64>("highest.u64") == ~U64{0});
  CHECK(file.get<std::int8_t>("lowest.i8") == -128);
  CHECK(file.get<int>("lowest.i16") == -32768);
  CHECK(file.get<int>("lowest.i32") == std::numeric_limits<int>::min());
  CHECK(file.get<std::int64_t>("lowest.i64") == std::numeric_limits<std::int64_t>::min());
  CHECK(file.get<float>("one_third.f32") == 1.0f / 3);
  CHECK(file.get<double>("one_third.f64") == 1.0 / 3);
  CHECK(file.get<float>("one_third.f64") == 1.0f / 3);
  CHECK(file.get<bool>("yes"));
  CHECK_FALSE(file.get<bool>("no"));
  CHECK(file.get<std::string_view>("text") == std::string_view("été 日本 \0 end", 18));
  CHECK(file.get<std::vector<std::string_view>>("strings") ==
        std::vector<std::string_view>{"a", "", "Ġthe", "<|im_end|>"});
  CHECK(file.get<std::vector<int>>("integers") == std::vector{1, -2, 3});
  CHECK(file.get<std::vector<float>>("floats") == std::vector{0.5f, -1.5f});
  CHECK(file.get<std::vector<bool>>("bools") == std::vector{true, false, true});
  CHECK(file.get<std::vector<U64>>("wide") == std::vector{U64{1} << 40, U64{7}});
  CHECK(file.get_or("highest.u8", 3) == 255);
  CHECK(file.get_or("missing", 3) == 3);
  CHECK(file.has("no"));
  CHECK_FALSE(file.has("missing"));

  const auto tensor = [&](std::string_view name, GgmlType type, const Shape& shape) {
    CAPTURE(name);
    const GgufTensor* found = file.find(name);
    REQUIRE(found != nullptr);
    CHECK(found->type == type);
    CHECK(found->shape == shape);
    return *found;
  };
  CHECK(numbers_of<float>(tensor("vector", GgmlType::f32, {3})) == std::vector<float>{1, 2, 3});
  const std::vector<float> experts = numbers_of<float>(tensor("experts", GgmlType::f32, {2, 3, 4}));
  REQUIRE(experts.size() == 24);
  CHECK(experts[23] == 23);
  CHECK(numbers_of<int>(tensor("matrix.i32", GgmlType::i32, {2, 2})) == std::vector{5, 6, 7, 8});
  const auto halves = numbers_of<std::uint16_t>(tensor("matrix.f16", GgmlType::f16, {2, 3}));
  CHECK(halves == std::vector<std::uint16_t>{0x4900, 0x4980, 0x4a00, 0x4a80, 0x4b00, 0x4b80});
  CHECK(numbers_of<std::uint16_t>(tensor("matrix.bf16", GgmlType::bf16, {2, 64}))[0] == 0xc280);  // -64
  const auto q8 = numbers_of<std::int8_t>(tensor("matrix.q8_0", GgmlType::q8_0, {2, 64}));
  REQUIRE(q8.size() == 4 * 34);
  CHECK(q8[2] == -127);  // the block's largest
  CHECK(tensor("matrix.q4_1", GgmlType::q4_1, {2, 64}).bytes.size() == 4 * 20);
  CHECK(file.size() == 7);
  CHECK(std::ranges::is_sorted(file.names()));
  CHECK(file.total_bytes() == 12 + 96 + 16 + 12 + 256 + 136 + 80);
  CHECK(file.find("missing") == nullptr);
}

TEST_CASE("a value of another type, out of range or missing is refused by its key") {
  const Gguf file(gguf_golden / "values.gguf");
  const auto error = [&]<class Value>(std::string_view key, Value) {
    const std::string text = test::error_of<FileError>([&] { file.get<Value>(key); });
    const std::string start = file.where() + ": key '" + std::string(key) + "': ";
    CHECK(text.starts_with(start));
    return text.substr(std::min(start.size(), text.size()));
  };
  using Texts = std::vector<std::string_view>;
  CHECK(error("missing", int{}) == "expected a value, found none");
  CHECK(error("highest.u32", int{}) == "expected an integer from -2147483648 to 2147483647, found 4294967295");
  CHECK(error("lowest.i8", U64{}) == "expected an integer from 0 to 18446744073709551615, found -128");
  CHECK(error("one_third.f32", int{}) == "expected an integer, found f32");
  CHECK(error("highest.u8", float{}) == "expected a float, found u8");
  CHECK(error("yes", int{}) == "expected an integer, found bool");
  CHECK(error("highest.u8", bool{}) == "expected a bool, found u8");
  CHECK(error("text", int{}) == "expected an integer, found string");
  CHECK(error("highest.u8", std::string_view{}) == "expected a string, found u8");
  CHECK(error("strings", std::string_view{}) == "expected one value, found an array of 4 string");
  CHECK(error("text", Texts{}) == "expected an array, found string");
  CHECK(error("integers", Texts{}) == "expected a string, found i32");
  CHECK(error("integers", std::vector<unsigned>{}) == "expected an integer from 0 to 4294967295, found -2");
  CHECK(test::error_of<FileError>([&] { file.get_or("text", 3); }).ends_with("expected an integer, found string"));
  const test::TemporaryFolder folder;
  const Gguf large(folder.write("x.gguf", with_value(packed_bytes(U32{12}, 1e300))));
  CHECK(large.get<double>("k") == 1e300);
  CHECK(test::error_of<FileError>([&] { large.get<float>("k"); }).ends_with("found 1e+300"));
}

TEST_CASE("a file without tensors, and one that was moved") {
  CHECK(Gguf(gguf_golden / "no_tensors.gguf").size() == 0);
  Gguf file(gguf_golden / "values.gguf");
  const GgufTensor* tensor = file.find("vector");
  const Gguf moved = std::move(file);
  CHECK(numbers_of<float>(*tensor) == std::vector<float>{1, 2, 3});
  CHECK(moved.get<std::string_view>("text").starts_with("été"));
  CHECK(test::error_of<FileError>([] { Gguf{gguf_golden / "none.gguf"}; }).ends_with("No such file or directory"));
}

TEST_CASE("parts are read as one file, by the name of the first") {
  const std::string first = "parts-00001-of-00003.gguf", second = "parts-00002-of-00003.gguf",
                    third = "parts-00003-of-00003.gguf";
  const Gguf file(gguf_golden / first);
  CHECK(file.size() == 5);
  CHECK(file.get<int>("qwen2.block_count") == 2);
  CHECK(file.total_bytes() == 5 * 32);
  REQUIRE(file.find("blk.4.weight") != nullptr);
  CHECK(numbers_of<float>(*file.find("blk.4.weight"))[7] == 407);
  for (const std::string_view name : file.names()) file.release(file.find(name)->bytes);
  CHECK(numbers_of<float>(*file.find("blk.4.weight"))[7] == 407);

  const test::TemporaryFolder folder;
  const std::string a = gguf_file(gguf_golden / first), b = gguf_file(gguf_golden / second),
                    c = gguf_file(gguf_golden / third);
  const auto error = [&](const std::string& a_of, const std::string& b_of, const std::string& c_of) {
    folder.write(first, a_of);
    folder.write(second, b_of);
    folder.write(third, c_of);
    const std::string text = test::error_of<FileError>([&] { Gguf{folder / first}; });
    const std::size_t name = text.rfind('/');
    return name == text.npos ? text : text.substr(name + 1);
  };
  CHECK(error(a, b, c).empty());
  CHECK(error(b, b, c) == first +
                              ": this is part 2 of 3: expected the first part, whose name ends with "
                              "-00001-of-00003.gguf");
  CHECK(error(a, c, c) == second + ": key 'split.no': expected 1, found 2");
  CHECK(error(a, gguf_padded(gguf_start(0, 0)), c) == second + ": key 'split.no': expected 1, found none");
  std::string twice = b, of_four = b;
  twice[twice.find("blk.2") + 4] = '0';
  CHECK(error(a, twice, c) == second + ": tensor 'blk.0.weight': another part has it too");
  const std::string_view count_key = "split.count";
  of_four[of_four.find(count_key) + count_key.size() + 4] = 4;
  CHECK(error(a, of_four, c) == second + ": key 'split.count': expected 3, found 4");
  std::string fewer = a;
  const std::string_view tensors_key = "split.tensors.count";
  fewer[fewer.find(tensors_key) + tensors_key.size() + 4] = 6;
  CHECK(error(fewer, b, c) == first + ": expected 6 tensors in its 3 parts, found 5");
  CHECK(error(a, b, c).empty());
  std::filesystem::remove(folder / third);
  CHECK(test::error_of<FileError>([&] { Gguf{folder / first}; }) ==
        (folder / third).string() + ": cannot open: No such file or directory");
  const auto renamed = folder.write("model.gguf", a);
  CHECK(test::error_of<FileError>([&] { Gguf{renamed}; }) ==
        renamed.string() +
            ": the first of 3 parts: expected a name that ends with -00001-of-00003.gguf, by which the "
            "others are found");
}

TEST_CASE("what is no GGUF file of version 3 for this machine is refused") {
  CHECK(gguf_error("GG") == "x.gguf: the file is truncated: expected 4 bytes of \"GGUF\", found 2");
  CHECK(gguf_error(std::string("PK\3\4") + std::string(40, '\0')) ==
        "x.gguf: expected a GGUF file, which begins with \"GGUF\", found 'PK\\x03\\x04'");
  CHECK(gguf_error(gguf_start(0, 0, 1)) == "x.gguf: expected GGUF version 3, found 1: convert the model anew");
  CHECK(gguf_error(gguf_start(0, 0, 2)) == "x.gguf: expected GGUF version 3, found 2: convert the model anew");
  CHECK(gguf_error(gguf_start(0, 0, 0)) == "x.gguf: expected GGUF version 3, found 0: convert the model anew");
  CHECK(gguf_error(gguf_start(0, 0, 4)) == "x.gguf: expected GGUF version 3, found 4");
  CHECK(
      gguf_error(gguf_file(gguf_golden / "big_endian.gguf")) ==
      "x.gguf: expected a little-endian GGUF file, found a big-endian one: convert the model for this kind of machine");
}

TEST_CASE("a header that lies about its values is refused, whatever the number") {
  constexpr U64 huge = ~U64{0};
  CHECK(gguf_error(gguf_start(huge, 0)) == "x.gguf: the file is too short for 18446744073709551615 tensors");
  CHECK(gguf_error(gguf_start(0, U64{1} << 62)) == "x.gguf: the file is too short for 4611686018427387904 keys");
  CHECK(gguf_error(gguf_start(0, 1) + packed_bytes(huge, U64{0})) ==
        "x.gguf: key 0: the file is truncated: expected 18446744073709551615 bytes of its name, found 8");
  CHECK(gguf_error(gguf_start(0, 1) + packed_bytes("", U64{0})) ==
        "x.gguf: key 0: expected a name of 1 to 65535 bytes, found 0");
  CHECK(gguf_error(gguf_start(0, 1) + packed_bytes(std::string(65536, 'k'), U64{0})) ==
        "x.gguf: key 0: expected a name of 1 to 65535 bytes, found 65536");
  CHECK(gguf_error(gguf_start(0, 1) + packed_bytes("\xff\xfe", U64{0})) ==
        "x.gguf: key 0: expected a name of printable ASCII, found '\\xff\\xfe'");
  const auto value = [](const auto&... parts) { return gguf_error(gguf_start(0, 1) + packed_bytes("k", parts...)); };
  CHECK(value(U32{13}, U64{0}) == "x.gguf: key 'k': expected a kind of value from 0 to 12, found 13");
  CHECK(value(U32{10}, U32{0}) == "x.gguf: key 'k': the file is truncated: expected 1 values of u64, found 4 bytes");
  CHECK(value(U32{7}, U8{2}) == "x.gguf: key 'k': expected a bool of 0 or 1, found 2");
  CHECK(value(U32{8}, huge) ==
        "x.gguf: key 'k': the file is truncated: expected 18446744073709551615 bytes of a string, found 0");
  CHECK(value(U32{8}, U64{3}) == "x.gguf: key 'k': the file is truncated: expected 3 bytes of a string, found 0");
  CHECK(value(U32{9}, U32{9}, U64{1}) ==
        "x.gguf: key 'k': expected an array of plain values, found an array of arrays");
  CHECK(value(U32{9}, U32{99}, U64{1}) == "x.gguf: key 'k': expected a kind of value from 0 to 12, found 99");
  // 2^61 values of 8 bytes are 0 bytes modulo 2^64.
  CHECK(value(U32{9}, U32{10}, U64{1} << 61) ==
        "x.gguf: key 'k': the file is truncated: expected 2305843009213693952 values of u64, found 0 bytes");
  CHECK(value(U32{9}, U32{8}, U64{1} << 60) ==
        "x.gguf: key 'k': the file is too short for 1152921504606846976 strings");
  CHECK(value(U32{9}, U32{8}, U64{2}, "a", huge) ==
        "x.gguf: key 'k': the file is truncated: expected 18446744073709551615 bytes of a string, found 0");
  CHECK(value(U32{9}, U32{7}, U64{2}, U8{1}, U8{7}) == "x.gguf: key 'k': expected a bool of 0 or 1, found 7");
  CHECK(gguf_error(gguf_start(0, 2) + packed_bytes("k", U32{0}, U8{1}, "k", U32{0}, U8{1})) ==
        "x.gguf: key 'k': the key occurs twice");
  const auto alignment = [](U32 kind, auto number) {
    return gguf_error(gguf_padded(gguf_start(0, 1) + packed_bytes("general.alignment", kind, number)));
  };
  CHECK(alignment(4, U32{8}).empty());
  for (const U32 wrong : {0u, 1u, 4u, 24u, 33u, 0xffffffffu}) {
    CHECK(alignment(4, wrong) ==
          "x.gguf: key 'general.alignment': expected a power of two from 8 on, found " + std::to_string(wrong));
  }
  CHECK(alignment(6, 32.0f) == "x.gguf: key 'general.alignment': expected an integer, found f32");
}

TEST_CASE("a header that lies about its tensors is refused by their names") {
  CHECK(gguf_error(OneTensor{}.file()).empty());
  CHECK(gguf_error(OneTensor{.sizes = {}}.file()).empty());  // a single number
  const auto error = [](const OneTensor& tensor, std::size_t data_bytes = 32) {
    const std::string text = gguf_error(tensor.file(data_bytes));
    const std::string start = "x.gguf: tensor 'w': ";
    return text.starts_with(start) ? text.substr(start.size()) : text;
  };
  constexpr U64 half = U64{1} << 32;
  CHECK(error({.name = ""}) == "x.gguf: tensor 0: expected a name of 1 to 63 bytes, found 0");
  CHECK(error({.name = std::string(64, 'n')}) == "x.gguf: tensor 0: expected a name of 1 to 63 bytes, found 64");
  CHECK(error({.name = std::string("a\0b", 3)}) ==
        "x.gguf: tensor 0: expected a name of printable ASCII, found 'a\\x00b'");
  CHECK(error({.sizes = {1, 1, 1, 1, 1}}) == "expected at most 4 dimensions, found 5");
  CHECK(error({.sizes = {~U64{0}}}) == "expected dimensions below 2^63, found 18446744073709551615");
  CHECK(error({.sizes = {half, half}}) == "f32 [4294967296, 4294967296] takes more than 2^63 bytes");
  CHECK(error({.sizes = {half, half / 4}}) == "f32 [1073741824, 4294967296] takes more than 2^63 bytes");
  CHECK(error({.sizes = {half, half / 2, half, half}}).ends_with("takes more than 2^63 bytes"));
  for (const U32 type : {4u, 5u, 31u, 38u, 43u, 0xffffffffu})
    CHECK(error({.type = type}) == "unknown type " + std::to_string(type) + ": no type of ggml has this number");
  CHECK(error({.sizes = {48, 2}, .type = 2}) ==
        "q4_0 has blocks of 32: expected rows of whole blocks, found rows of 48");
  CHECK(error({.sizes = {}, .type = 12}) == "q4_k has blocks of 256: expected rows of whole blocks, found rows of 1");
  CHECK(error({.offset = 8}) == "expected an offset that is a multiple of 32, found 8");
  CHECK(error({.offset = 32}) ==
        "expected 24 bytes at offset 32, found a file with 32 bytes of data: it is truncated, or "
        "the offset is wrong");
  CHECK(error({.offset = ~U64{31}}).starts_with("expected 24 bytes at offset 18446744073709551584, found"));
  CHECK(error({}, 23).starts_with("expected 24 bytes at offset 0, found a file with 23 bytes of data"));
  CHECK(gguf_error(gguf_start(1, 0) + OneTensor{}.info())
            .starts_with("x.gguf: tensor 'w': expected 24 bytes at offset 0"));
  // The header ends inside the entry.
  const std::string whole = gguf_start(1, 0) + OneTensor{}.info();
  for (std::size_t size = 4; size < whole.size(); ++size) CHECK_FALSE(gguf_error(whole.substr(0, size)).empty());

  const auto two = [](const OneTensor& a, const OneTensor& b) {
    return gguf_error(gguf_padded(gguf_start(2, 0) + a.info() + b.info()) + std::string(96, '\0'));
  };
  CHECK(two({}, {.name = "v", .offset = 32}).empty());
  CHECK(two({.offset = 64}, {.name = "v", .offset = 0}).empty());
  CHECK(two({}, {.offset = 32}) == "x.gguf: tensor 'w': the name occurs twice");
  CHECK(two({.sizes = {33}, .type = 24}, {.name = "v", .offset = 32}) ==
        "x.gguf: tensor 'v': expected an offset from 33 on, found 32: it overlaps the tensor before it");
  CHECK(two({}, {.name = "v"}).ends_with("it overlaps the tensor before it"));
  // An empty one overlaps nothing.
  CHECK(two({.sizes = {24}}, {.name = "v", .sizes = {0, 5}, .offset = 32}).empty());
}

TEST_CASE("a file cut anywhere is refused, and says where") {
  const std::string whole = gguf_file(gguf_golden / "values.gguf");
  int accepted = 0;
  for (std::size_t size = 0; size < whole.size() - 64; ++size) accepted += gguf_error(whole.substr(0, size)).empty();
  CHECK(accepted == 0);
}

}  // namespace
