#include "ivl/files/gguf_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/files/mapped_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

std::string bytes_written(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The tensor's bytes, in two pieces.
GgufTensorToWrite in_two_pieces(std::string name, GgmlType type, Shape shape, std::span<const std::byte> bytes) {
  return {std::move(name), type, shape, [bytes](const ByteSink& write) {
            write(bytes.first(bytes.size() / 2));
            write(bytes.subspan(bytes.size() / 2));
          }};
}

/// The entries of a map in the order in which the file has them.
template <class Map>
auto in_file_order(const Map& map) {
  std::vector<std::pair<std::string_view, typename Map::mapped_type>> entries(map.begin(), map.end());
  std::ranges::sort(entries, {}, [](const auto& entry) { return entry.second.bytes.data(); });
  return entries;
}

std::string writing_error(const GgufMetadata& metadata, std::vector<GgufTensorToWrite> tensors) {
  const test::TemporaryFolder folder;
  const std::string error = test::error_of<Error>([&] { write_gguf(folder / "x.gguf", metadata, tensors); });
  CHECK(std::filesystem::is_empty(folder.path()));
  return error.substr(error.find("x.gguf"));
}

TEST_CASE("Keys and tensors of files that the gguf package wrote give the same bytes when they are written again") {
  const std::filesystem::path golden = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden";
  const test::TemporaryFolder folder;
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden / "models")) {
    if (entry.path().extension() != ".gguf") continue;
    CAPTURE(entry.path().string());
    const MappedFile file(entry.path());
    const GgufContent content = parse_gguf(file.bytes(), "golden");
    GgufMetadata metadata;
    for (const auto& [key, value] : in_file_order(content.values)) metadata.add(key, value);
    std::vector<GgufTensorToWrite> tensors;
    for (const auto& [name, tensor] : in_file_order(content.tensors))
      tensors.push_back(in_two_pieces(std::string(name), tensor.type, tensor.shape, tensor.bytes));
    write_gguf(folder / "again.gguf", metadata, tensors);
    CHECK(bytes_written(folder / "again.gguf") == bytes_written(entry.path()));
    ++files;
  }
  CHECK(files >= 13);
}

TEST_CASE("What is written is read: every kind of value, and tensors with their shapes") {
  const test::TemporaryFolder folder;
  GgufMetadata metadata;
  metadata.add("bool", true);
  metadata.add("u8", std::uint8_t(200));
  metadata.add("i16", std::int16_t(-3));
  metadata.add("u32", 7u);
  metadata.add("i32", -7);
  metadata.add("u64", std::uint64_t(1) << 40);
  metadata.add("f32", 0.5f);
  metadata.add("f64", 0.1);
  metadata.add("text", "two words");
  metadata.add("texts", std::vector<std::string>{"a", "", "bc"});
  metadata.add("floats", std::vector<float>{1, 2});
  const std::vector<float> numbers{1, 2, 3, 4, 5, 6};
  const std::string block(34, 'b');
  const std::vector<GgufTensorToWrite> tensors{
      in_two_pieces("matrix", GgmlType::f32, {2, 3}, std::as_bytes(std::span(numbers))),
      in_two_pieces("blocks", GgmlType::q8_0, {1, 1, 32}, std::as_bytes(std::span(block)))};
  write_gguf(folder / "x.gguf", metadata, tensors);

  const Gguf file(folder / "x.gguf");
  CHECK(file.get<bool>("bool"));
  CHECK(file.get<int>("u8") == 200);
  CHECK(file.get<int>("i16") == -3);
  CHECK(file.get<int>("u32") == 7);
  CHECK(file.get<int>("i32") == -7);
  CHECK(file.get<std::uint64_t>("u64") == std::uint64_t(1) << 40);
  CHECK(file.get<float>("f32") == 0.5f);
  CHECK(file.get<double>("f64") == 0.1);
  CHECK(file.get<std::string_view>("text") == "two words");
  CHECK(file.get<std::vector<std::string_view>>("texts") == std::vector<std::string_view>{"a", "", "bc"});
  CHECK(file.get<std::vector<float>>("floats") == std::vector<float>{1, 2});
  CHECK(file.find("matrix")->shape == Shape{2, 3});
  CHECK(std::ranges::equal(file.find("matrix")->bytes, std::as_bytes(std::span(numbers))));
  CHECK(file.find("blocks")->type == GgmlType::q8_0);
  CHECK(std::ranges::equal(file.find("blocks")->bytes, std::as_bytes(std::span(block))));
}

TEST_CASE("What no reader takes is refused by name, and no file is left") {
  const std::vector<float> numbers{1, 2, 3, 4};
  const auto tensor = [&](std::string name, GgmlType type, Shape shape) {
    return in_two_pieces(std::move(name), type, shape, std::as_bytes(std::span(numbers)));
  };
  const GgufMetadata none;
  CHECK(writing_error(none, {tensor("w", GgmlType::f32, {4}), tensor("w", GgmlType::f32, {4})}) ==
        "x.gguf: tensor 'w': the name is taken");
  CHECK(writing_error(none, {tensor("w", GgmlType::f32, {5})}) == "x.gguf: tensor 'w': expected 20 bytes, found 16");
  CHECK(writing_error(none, {tensor("w", GgmlType::q8_0, {2, 31})}) ==
        "x.gguf: tensor 'w': q8_0 has blocks of 32: expected rows of whole blocks, found [2, 31]");
  CHECK(writing_error(none, {tensor("w", GgmlType::f32, {1, 1, 1, 1, 4})}) ==
        "x.gguf: tensor 'w': expected 1 to 4 dimensions, found [1, 1, 1, 1, 4]");
  CHECK(writing_error(none, {tensor(std::string(64, 'n'), GgmlType::f32, {4})}).ends_with("found 64"));
  GgufMetadata metadata;
  metadata.add("k", 1);
  CHECK(test::error_of<Error>([&] { metadata.add("k", 2); }) == "key 'k': the name is taken");
  CHECK(test::error_of<Error>([&] { metadata.add("general.alignment", 64u); }) ==
        "key 'general.alignment': expected none, since the alignment is always 32");
  CHECK(test::error_of<FileError>([&] {
          write_gguf("/no/such/folder/x.gguf", none, {});
        }).ends_with("cannot create: No such file or directory"));
}

}  // namespace
