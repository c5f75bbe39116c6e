#include "ivl/files/safetensors.hpp"
#include "ivl/files/safetensors_writer.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

using namespace ivl;

namespace {

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string prefix(std::uint64_t header_bytes) {
  std::string text(8, '\0');
  std::memcpy(text.data(), &header_bytes, 8);
  return text;
}

/// A file with this header and `data_bytes` bytes 0, 1, 2, ... behind it.
std::string file_of(std::string_view header, int data_bytes) {
  std::string text = prefix(header.size()) + std::string(header);
  for (int i = 0; i < data_bytes; ++i) text += char(i);
  return text;
}

std::string error_in(std::string_view file) {
  return test::error_of<FileError>([&] { parse_safetensors(as_bytes(file), "x.safetensors"); });
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A header of one tensor: F32 [2] in 8 bytes, its pieces replaced at will.
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return "{\"w\":{\"dtype\":" + std::string(dtype) + ",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}}";
}

}  // namespace

TEST_CASE("tensors of every dtype and kind of shape survive writing and reading") {
  const test::TemporaryFolder folder;
  std::string data;
  for (int i = 0; i < 4 * 6 * 8; ++i) data += char(i * 7);
  std::vector<NamedTensor> tensors;
  for (int i = 0; i <= int(Dtype::u64); ++i) {
    const Shape shape{4, 6};
    const auto bytes = std::size_t(*bytes_of(Dtype(i), shape));
    tensors.push_back({"matrix." + std::string(name_of(Dtype(i))), {Dtype(i), shape, as_bytes(data).first(bytes)}});
  }
  tensors.push_back({"scalar", {Dtype::f32, {}, as_bytes(data).subspan(5, 4)}});
  tensors.push_back({"empty", {Dtype::bf16, {3, 0, 5}, {}}});
  tensors.push_back({"eight dimensions", {Dtype::u8, {1, 2, 1, 3, 1, 1, 2, 1}, as_bytes(data).first(12)}});
  tensors.push_back({"a \"quoted\" \\ name, é and ..", {Dtype::i8, {1}, as_bytes(data).first(1)}});
  const auto path = folder / "model.safetensors";
  write_safetensors(path, tensors, {{"format", "pt"}});

  const Safetensors read(path);
  std::int64_t total = 0;
  REQUIRE(read.size() == tensors.size());
  for (const NamedTensor& tensor : tensors) {
    CAPTURE(tensor.name);
    const TensorView* view = read.find(tensor.name);
    REQUIRE(view != nullptr);
    CHECK(view->dtype == tensor.view.dtype);
    CHECK(view->shape == tensor.view.shape);
    CHECK(std::ranges::equal(view->bytes, tensor.view.bytes));
    CHECK(read.file_of(tensor.name) == path.string());
    total += std::int64_t(tensor.view.bytes.size());
  }
  CHECK(read.total_bytes() == total);
  CHECK(read.find("matrix") == nullptr);
  CHECK(std::ranges::is_sorted(read.names()));
  CHECK(std::ranges::distance(read.names()) == std::ptrdiff_t(tensors.size()));

  const std::string text = content_of(path);
  CHECK(parse_safetensors(as_bytes(text), "").metadata == decltype(SafetensorsContent::metadata){{"format", "pt"}});
}

TEST_CASE("a written file is laid out as the reference writer does it") {
  const test::TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const std::string data = "0123456789abcdefghijklmn";
  SUBCASE("a header that is a multiple of 8 is not padded") {
    write_safetensors(path, std::vector<NamedTensor>{{"attn.0", {Dtype::f32, {1, 2, 3}, as_bytes(data)}}});
    const std::string header = R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})";
    CHECK(header.size() == 64);
    CHECK(content_of(path) == prefix(64) + header + data);
  }
  SUBCASE("another one is padded with spaces") {
    write_safetensors(path, std::vector<NamedTensor>{{"attn0", {Dtype::f32, {1, 1, 2, 3}, as_bytes(data)}}});
    const std::string header = R"({"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}})";
    CHECK(content_of(path) == prefix(72) + header + "       " + data);
  }
  SUBCASE("an empty one holds two braces") {
    write_safetensors(path, {});
    CHECK(content_of(path) == prefix(8) + "{}      ");
    CHECK(Safetensors(path).size() == 0);
  }
  SUBCASE("metadata comes first") {
    write_safetensors(path, {}, {{"framework", "pt"}});
    CHECK(content_of(path) == prefix(40) + R"({"__metadata__":{"framework":"pt"}}     )");
  }
  SUBCASE("wider scalars come first, then names in order") {
    const std::vector<NamedTensor> tensors{{"c", {Dtype::u8, {1}, as_bytes("1")}},
                                           {"b", {Dtype::bf16, {1}, as_bytes("22")}},
                                           {"d", {Dtype::f32, {1}, as_bytes("4444")}},
                                           {"a", {Dtype::bf16, {1}, as_bytes("33")}}};
    write_safetensors(path, tensors);
    CHECK(
        content_of(path).ends_with("}  4444"
                                   "33"
                                   "22"
                                   "1"));
  }
}

TEST_CASE("a writer refuses tensors that no file can hold") {
  const test::TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const auto error = [&](std::vector<NamedTensor> tensors) {
    return test::error_of<Error>([&] { write_safetensors(path, tensors); });
  };
  CHECK(error({{"w", {Dtype::f32, {2}, as_bytes("1234567")}}}) ==
        path.string() + ": tensor 'w': 7 bytes are no F32 [2]");
  CHECK(error({{"w", {Dtype::f4, {3}, as_bytes("12")}}}) == path.string() + ": tensor 'w': 2 bytes are no F4 [3]");
  CHECK(error({{"w", {Dtype::u8, {1}, as_bytes("1")}}, {"w", {Dtype::i16, {1}, as_bytes("12")}}}) ==
        path.string() + ": the name 'w' is taken");
  CHECK(error({{"__metadata__", {Dtype::u8, {1}, as_bytes("1")}}}) ==
        path.string() + ": the name '__metadata__' is taken");
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a file that cannot be written whole leaves the old one and no debris") {
  const test::TemporaryFolder folder;
  const auto path = folder.write("x.safetensors", "old");
  const std::string data(100000, 'x');
  const std::vector<NamedTensor> tensors{{"w", {Dtype::u8, {100000}, as_bytes(data)}}};
  SUBCASE("no room") {
    // A limit on file size fails a write in the middle, as a full disk does.
    rlimit old_limit{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
    const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = old_limit;
    limit.rlim_cur = 5000;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const std::string error = test::error_of<FileError>([&] { write_safetensors(path, tensors); });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &old_limit) == 0);
    ::signal(SIGXFSZ, old_handler);
    CHECK(error.starts_with(path.string() + ".partial-"));
    CHECK(error.ends_with(": cannot write: File too large"));
    CHECK(content_of(path) == "old");
  }
  SUBCASE("a folder of that name") {
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    CHECK(test::error_of<FileError>([&] { write_safetensors(path, tensors); }) ==
          path.string() + ": cannot replace: Is a directory");
  }
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK(test::error_of<FileError>([&] {
          write_safetensors(folder / "no/x", tensors);
        }).ends_with(": cannot create: No such file or directory"));
}

TEST_CASE("tensors need not be aligned, ordered by name or behind a padded header") {
  const std::string header =
      R"( {"b":{"data_offsets":[1,5],"shape":[1],"dtype":"F32"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})";
  const std::string file = file_of(header.substr(1), 5);
  const SafetensorsContent content = parse_safetensors(as_bytes(file), "x");
  const TensorView& b = content.tensors.at("b");
  CHECK(b.bytes.size() == 4);
  CHECK(b.bytes[0] == std::byte(1));
  CHECK((b.bytes.data() - as_bytes(file).data()) % 4 != 0);
  CHECK(content.tensors.at("a").shape.rank() == 0);
}

TEST_CASE("a header may end in spaces, and hold empty tensors anywhere between others") {
  const std::string file = file_of(
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"F64","shape":[0],"data_offsets":[2,2]},)"
      R"("c":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"d":{"dtype":"F32","shape":[7,0],"data_offsets":[3,3]}}   )",
      3);
  CHECK(parse_safetensors(as_bytes(file), "x").tensors.size() == 4);
}

TEST_CASE("NaN and infinite values are the reader's business, not the file's") {
  const std::string file =
      prefix(one("\"F32\"", "[1]", "[0,4]").size()) + one("\"F32\"", "[1]", "[0,4]") + "\xff\xff\xff\xff";
  CHECK(error_in(file) == "");
}

TEST_CASE("a file cut at any byte is refused, and so is one byte too many") {
  const std::string file =
      file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[3,1],"data_offsets":[0,6]},)"
              R"("b":{"dtype":"I8","shape":[2],"data_offsets":[6,8]}})",
              8);
  REQUIRE(error_in(file) == "");
  for (std::size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    const std::vector<char> exact(file.begin(),
                                  file.begin() + std::ptrdiff_t(size));  // so that a sanitizer sees over-reads
    CHECK(error_in({exact.data(), exact.size()}).starts_with("x.safetensors: "));
  }
  CHECK(error_in(file + "!") ==
        "x.safetensors: header: the tensors end at 8 of 9 data bytes: no tensor describes the rest");
}

TEST_CASE("a hostile or corrupt file is refused with what was expected and found") {
  struct Case {
    const char* name;
    std::string file;
    std::string error;
  };
  const std::string good = one("\"F32\"", "[2]", "[0,8]");
  const auto two = [](const char* first, const char* second) {
    return "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + std::string(first) +
           "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + second + "}}";
  };
  const std::string many_brackets = "{\"w\":{\"dtype\":" + std::string(1000000, '[');
  const std::string long_name(2000, 'n');
  const Case cases[] = {
      {"empty file", "", "expected a safetensors file, found only 0 bytes"},
      {"no room for the length", "1234567", "expected a safetensors file, found only 7 bytes"},
      {"largest length", prefix(~std::uint64_t(0)) + good,
       "expected a safetensors header of at most 100000000 bytes, found 18446744073709551615"},
      {"length above the limit", prefix(100000001) + good,
       "expected a safetensors header of at most 100000000 bytes, found 100000001"},
      {"length beyond the file", prefix(100000000) + good, "truncated: the header has 100000000 bytes, the file 62"},
      {"length one byte beyond the file", prefix(good.size() + 1) + good,
       "truncated: the header has 55 bytes, the file 62"},
      {"no header", prefix(0), "expected a safetensors header that starts with '{'"},
      {"an array", file_of("[]", 0), "expected a safetensors header that starts with '{'"},
      {"a byte order mark", file_of("\xef\xbb\xbf{}", 0), "expected a safetensors header that starts with '{'"},
      {"leading space", file_of(" {}", 0), "expected a safetensors header that starts with '{'"},
      {"text behind the header", file_of("{} {}", 0),
       "header: not valid JSON at byte 4: parse error at line 1, column 4: syntax error while parsing value - "
       "unexpected '{'; expected end of input"},
      {"NUL behind the header", file_of(std::string_view("{}\0", 3), 0),
       "header: not valid JSON at byte 3: a NUL byte"},
      {"broken UTF-8", file_of("{\"\xc3\x28\":{}}", 0),
       "header: not valid JSON at byte 4: parse error at line 1, column 4: syntax error while parsing object key - "
       "invalid string: ill-formed UTF-8 byte"},
      {"deep nesting", file_of(many_brackets, 0), "header: tensor 'w': dtype: expected a string, found an array"},
      {"unknown dtype", file_of(one("\"F33\"", "[2]", "[0,8]"), 8), "header: tensor 'w': unknown dtype 'F33'"},
      {"dtype is a number", file_of(one("32", "[2]", "[0,8]"), 8),
       "header: tensor 'w': dtype: expected a string, found 32"},
      {"shape is a number", file_of(one("\"F32\"", "2", "[0,8]"), 8),
       "header: tensor 'w': shape: expected an array, found 2"},
      {"shape is null", file_of(one("\"F32\"", "null", "[0,8]"), 8),
       "header: tensor 'w': shape: expected an array, found null"},
      {"negative size", file_of(one("\"F32\"", "[-2]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected integers from 0 to 9223372036854775807, found -2"},
      {"fractional size", file_of(one("\"F32\"", "[2.0]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected integers from 0 to 9223372036854775807, found 2.0"},
      {"size above 63 bits", file_of(one("\"F32\"", "[9223372036854775808]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected integers from 0 to 9223372036854775807, found 9223372036854775808"},
      {"size above 64 bits", file_of(one("\"F32\"", "[18446744073709551618]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected integers from 0 to 9223372036854775807, found 18446744073709551618"},
      {"size above all numbers", file_of(one("\"F32\"", "[1e400]", "[0,8]"), 8),
       "header: not valid JSON at byte 34: number overflow parsing '1e400'"},
      {"size as text", file_of(one("\"F32\"", "[\"2\"]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected integers from 0 to 9223372036854775807, found the string '2'"},
      {"nine dimensions", file_of(one("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8),
       "header: tensor 'w': shape: expected at most 8 dimensions, found more"},
      {"product of sizes wraps to the right one", file_of(one("\"F32\"", "[4611686018427387905,4,2]", "[0,32]"), 32),
       "header: tensor 'w': F32 [4611686018427387905, 4, 2] is no whole number of bytes below 2^63"},
      {"bits wrap", file_of(one("\"F32\"", "[2305843009213693954]", "[0,8]"), 8),
       "header: tensor 'w': F32 [2305843009213693954] is no whole number of bytes below 2^63"},
      {"half a byte", file_of(one("\"F4\"", "[3]", "[0,2]"), 2),
       "header: tensor 'w': F4 [3] is no whole number of bytes below 2^63"},
      {"fewer bytes than the shape", file_of(one("\"F32\"", "[3]", "[0,8]"), 8),
       "header: tensor 'w': F32 [3] takes 12 bytes, data_offsets [0, 8] hold 8"},
      {"more bytes than the shape", file_of(one("\"F32\"", "[]", "[0,8]"), 8),
       "header: tensor 'w': F32 [] takes 4 bytes, data_offsets [0, 8] hold 8"},
      {"offsets are negative", file_of(one("\"F32\"", "[2]", "[-8,0]"), 8),
       "header: tensor 'w': data_offsets: expected integers from 0 to 9223372036854775807, found -8"},
      {"offsets are reversed", file_of(one("\"F32\"", "[2]", "[8,0]"), 8),
       "header: tensor 'w': data_offsets [8, 0] end before they begin"},
      {"offsets beyond the end", file_of(one("\"F32\"", "[2]", "[8,16]"), 8),
       "header: tensor 'w': data_offsets [8, 16] reach beyond the file, which holds 8 data bytes"},
      {"offsets near 2^63", file_of(one("\"F32\"", "[2]", "[9223372036854775799,9223372036854775807]"), 8),
       "header: tensor 'w': data_offsets [9223372036854775799, 9223372036854775807] reach beyond the file, which holds "
       "8 data bytes"},
      {"one offset", file_of(one("\"F32\"", "[2]", "[0]"), 8),
       "header: tensor 'w': data_offsets: expected 2 integers, found 1"},
      {"three offsets", file_of(one("\"F32\"", "[2]", "[0,8,8]"), 8),
       "header: tensor 'w': data_offsets: expected 2 integers, found more"},
      {"offsets inside offsets", file_of(one("\"F32\"", "[2]", "[[0,8]]"), 8),
       "header: tensor 'w': data_offsets: expected integers from 0 to 9223372036854775807, found an array"},
      {"overlap", file_of(two("[0,4]", "[3,7]"), 7),
       "header: tensor 'b': expected its data to begin at 4, found 3: it overlaps the tensor before it"},
      {"the same bytes twice", file_of(two("[0,4]", "[0,4]"), 4),
       "header: tensor 'b': expected its data to begin at 4, found 0: it overlaps the tensor before it"},
      {"a gap", file_of(two("[0,4]", "[5,9]"), 9),
       "header: tensor 'b': expected its data to begin at 4, found 5: a gap before it"},
      {"a gap at the start", file_of(two("[5,9]", "[1,5]"), 9),
       "header: tensor 'b': expected its data to begin at 0, found 1: a gap before it"},
      {"bytes left over", file_of(two("[0,4]", "[4,8]"), 11),
       "header: the tensors end at 8 of 11 data bytes: no tensor describes the rest"},
      {"bytes and no tensor", file_of("{}", 1),
       "header: the tensors end at 0 of 1 data bytes: no tensor describes the rest"},
      {"a name twice",
       file_of(
           R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           2),
       "header: tensor 'w': the name occurs twice"},
      {"dtype twice", file_of(R"({"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
       "header: tensor 'w': dtype occurs twice"},
      {"shape twice", file_of(R"({"w":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1),
       "header: tensor 'w': shape occurs twice"},
      {"data_offsets twice", file_of(R"({"w":{"data_offsets":[0,1],"data_offsets":[0,1]}})", 1),
       "header: tensor 'w': data_offsets occurs twice"},
      {"no dtype", file_of(R"({"w":{"shape":[1],"data_offsets":[0,1]}})", 1), "header: tensor 'w': dtype is missing"},
      {"no shape", file_of(R"({"w":{"dtype":"U8","data_offsets":[0,1]}})", 1), "header: tensor 'w': shape is missing"},
      {"no data_offsets", file_of(R"({"w":{"dtype":"U8","shape":[1]}})", 1),
       "header: tensor 'w': data_offsets are missing"},
      {"the pieces of the tensor before are forgotten",
       file_of(R"({"v":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{}})", 1),
       "header: tensor 'w': dtype is missing"},
      {"an unknown field", file_of(R"({"w":{"dtype":"U8","offsets":[0,1]}})", 1),
       "header: tensor 'w': expected dtype, shape and data_offsets, found 'offsets'"},
      {"a tensor that is none", file_of(R"({"w":7})", 0), "header: 'w': expected an object, found 7"},
      {"a list of tensors", file_of(R"({"w":[]})", 0), "header: 'w': expected an object, found an array"},
      {"metadata is a list", file_of(R"({"__metadata__":["a"]})", 0),
       "header: '__metadata__': expected an object, found an array"},
      {"metadata holds a number", file_of(R"({"__metadata__":{"a":1}})", 0),
       "header: metadata 'a': expected a string, found 1"},
      {"metadata holds an object", file_of(R"({"__metadata__":{"a":{}}})", 0),
       "header: metadata 'a': expected a string, found an object"},
      {"metadata key twice", file_of(R"({"__metadata__":{"a":"1","a":"1"}})", 0),
       "header: the metadata key 'a' occurs twice"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "header: __metadata__ occurs twice"},
      {"a NUL in a name", file_of(R"({"w\u0000":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "header: tensor 'w\\x00': the name holds a NUL character"},
      {"a terminal escape in a name", file_of(R"({"\u001b[2J":{}})", 0), "header: tensor '\\x1b[2J': dtype is missing"},
      {"a long name", file_of("{\"" + long_name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "header: tensor '" + long_name.substr(0, 100) + "...': expected a name of at most 1024 bytes, found 2000"},
  };
  for (const Case& hostile : cases) {
    SUBCASE(hostile.name) { CHECK(error_in(hostile.file) == "x.safetensors: " + hostile.error); }
  }
}

namespace {

void write_shard(const test::TemporaryFolder& folder, std::string_view file, std::vector<std::string> names) {
  std::vector<NamedTensor> tensors;
  for (const std::string& name : names)
    tensors.push_back({name, {Dtype::u8, {std::int64_t(name.size())}, as_bytes(name)}});
  write_safetensors(folder / file, tensors);
}

std::string error_of_folder(const test::TemporaryFolder& folder) {
  return test::error_of<FileError>([&] { Safetensors tensors(folder.path()); });
}

}  // namespace

TEST_CASE("a folder with one file and a folder with shards read alike") {
  const test::TemporaryFolder folder;
  write_shard(folder, "a.safetensors", {"first", "third"});
  write_shard(folder, "b.safetensors", {"second"});
  folder.write("model.safetensors.index.json", R"({"metadata":{"total_size":1.5e1},"weight_map":
      {"first":"a.safetensors","second":"b.safetensors","third":"a.safetensors"}})");
  Safetensors opened(folder.path());
  const Safetensors sharded(std::move(opened));
  CHECK(std::vector<std::string>(sharded.names().begin(), sharded.names().end()) ==
        std::vector<std::string>{"first", "second", "third"});
  for (const std::string& name : sharded.names()) {
    const TensorView* view = sharded.find(name);
    REQUIRE(view != nullptr);
    CHECK(std::ranges::equal(view->bytes, as_bytes(name)));
    sharded.release(*view);
    CHECK(std::ranges::equal(view->bytes, as_bytes(name)));
  }
  CHECK(sharded.total_bytes() == 16);
  CHECK(sharded.file_of("second") == (folder / "b.safetensors").string());
  CHECK(sharded.file_of("third") == (folder / "a.safetensors").string());

  write_shard(folder, "model.safetensors", {"whole"});  // taken before an index, as transformers does
  const Safetensors single(folder.path());
  CHECK(single.size() == 1);
  CHECK(single.find("whole") != nullptr);
}

TEST_CASE("shards that contradict their index are refused") {
  const test::TemporaryFolder folder;
  write_shard(folder, "a.safetensors", {"x", "y"});
  write_shard(folder, "b.safetensors", {"z"});
  const auto index = [&](const std::string& weight_map) {
    return folder.write("model.safetensors.index.json", "{\"weight_map\":" + weight_map + "}").string();
  };
  SUBCASE("a tensor that no shard has") {
    const std::string path = index(R"({"w":"a.safetensors","x":"a.safetensors"})");
    CHECK(error_of_folder(folder) == path + ": tensor 'w': expected in a.safetensors, found in no shard");
  }
  SUBCASE("a tensor in another shard") {
    const std::string path = index(R"({"x":"b.safetensors","y":"a.safetensors"})");
    CHECK(error_of_folder(folder) ==
          path + ": tensor 'x': expected in b.safetensors, found in " + (folder / "a.safetensors").string());
  }
  SUBCASE("a tensor in two shards") {
    write_shard(folder, "b.safetensors", {"y", "z"});
    index(R"({"x":"a.safetensors","z":"b.safetensors"})");
    CHECK(error_of_folder(folder) ==
          (folder / "b.safetensors").string() + ": tensor 'y' is also in " + (folder / "a.safetensors").string());
  }
  SUBCASE("a missing shard") {
    const std::string path = index(R"({"x":"a.safetensors","z":"c.safetensors"})");
    CHECK(error_of_folder(folder) == path +
                                         ": of the 2 files that it lists 1 are there; the download may be incomplete. "
                                         "Missing:\n  c.safetensors");
  }
  SUBCASE("a truncated last shard") {
    index(R"({"x":"a.safetensors","z":"b.safetensors"})");
    std::filesystem::resize_file(folder / "b.safetensors", std::filesystem::file_size(folder / "b.safetensors") - 1);
    CHECK(error_of_folder(folder) ==
          (folder / "b.safetensors").string() +
              ": header: tensor 'z': data_offsets [0, 1] reach beyond the file, which holds 0 data bytes");
  }
  SUBCASE("no weight_map") {
    const std::string path = folder.write("model.safetensors.index.json", "{}").string();
    CHECK(error_of_folder(folder) == path + ": weight_map: expected an object, found none");
  }
  SUBCASE("a shard that is no name") {
    const std::string path = index(R"({"x":7})");
    CHECK(error_of_folder(folder) == path + ": weight_map: 'x': expected a string, found 7");
  }
  for (const char* name : {"../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..\\\\a.safetensors", "..",
                           "", "a\\u0000.safetensors", "a.bin"}) {
    SUBCASE(name) {
      const std::string path = index(std::string("{\"x\":\"") + name + "\"}");
      CHECK(error_of_folder(folder).starts_with(
          path + ": weight_map: 'x': expected the plain name of a .safetensors file in the same folder, found '"));
    }
  }
}

TEST_CASE("shards without their list are refused") {
  const test::TemporaryFolder folder;
  write_shard(folder, "model-00002-of-00004.safetensors", {"x"});
  CHECK(error_of_folder(folder) ==
        folder.path().string() +
            ": found shards of weights (model-00002-of-00004.safetensors; 1 files) but not their list, "
            "model.safetensors.index.json: the download may be incomplete");
}

TEST_CASE("a path without tensors is refused") {
  const test::TemporaryFolder folder;
  CHECK(error_of_folder(folder) ==
        folder.path().string() +
            ": expected model.safetensors or model.safetensors.index.json in this folder, found neither");
  CHECK(test::error_of<FileError>([&] { Safetensors tensors(folder / "nothing"); }) ==
        (folder / "nothing").string() + ": cannot open: No such file or directory");
}
