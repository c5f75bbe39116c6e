#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "tests/support/file_matrix.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

static_assert(name_of(Format::f32) == "f32" && name_of(Format::bf16) == "bf16" && name_of(Format::f16) == "f16");
static_assert(name_of(Format::mxfp4) == "mxfp4" && name_of(Format::q8_0) == "q8_0" && name_of(Format::awq) == "awq");

TEST_CASE("a row of every format becomes the floats that its formula gives, exactly") {
  std::mt19937 random(1);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, 24, 768, random);
    std::vector<float> row(768);
    int wrong = 0;
    for (int o = 0; o < file.out; ++o) {
      dequantise_row(file.source(), o, row.data());
      for (int k = 0; k < file.in; ++k) wrong += !(double(row[std::size_t(k)]) == file.at(o, k));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a block of Q8_0 is what ggml makes of it") {
  // Bytes 37 i + 11 behind the scale 0x2e66; values and sums from the package gguf 0.17 and from ggml's C code.
  std::vector<std::byte> block;
  for (int i = 0; i < 34; ++i) block.push_back(std::byte(37 * i + 11));
  block[0] = std::byte{0x66};
  block[1] = std::byte{0x2e};
  float y[32];
  dequantise_row(source_matrix(Format::q8_0, 1, 32, {block}), 0, y);
  CHECK(y[0] == 8.4979248f);
  CHECK(y[1] == 12.1970215f);
  CHECK(y[15] == -12.796875f);
  CHECK(y[16] == -9.09777832f);
  CHECK(y[31] == -4.79882812f);
  double sum = 0, weighted = 0;
  for (int k = 0; k < 32; ++k) {
    sum += double(y[k]);
    weighted += (k + 1) * double(y[k]);
  }
  CHECK(sum == -17.595703125);
  CHECK(weighted == -807.802734375);
}

TEST_CASE("AWQ's words hold outputs 0, 2, 4, 6, 1, 3, 5, 7, and zero points lie alike") {
  // One word: nibbles 0 ... 7 from the lowest. Column 8c + j sits in nibble 0, 4, 1, 5, 2, 6, 3, 7 of its word.
  const std::uint32_t word = 0x76543210u, zeros = 0x1111ffffu;
  const std::uint16_t half_one = 0x3c00, half_two = 0x4000;
  std::vector<std::byte> qweight(128 * 4), scales(8 * 2), qzeros(4);
  for (std::size_t k = 0; k < 128; ++k) std::memcpy(&qweight[4 * k], &word, 4);
  for (std::size_t o = 0; o < 8; ++o) std::memcpy(&scales[2 * o], o == 3 ? &half_two : &half_one, 2);
  std::memcpy(qzeros.data(), &zeros, 4);
  const SourceMatrix source = source_matrix(Format::awq, 8, 128, {qweight, scales, qzeros});
  const int nibble_of[] = {0, 4, 1, 5, 2, 6, 3, 7};
  for (int o = 0; o < 8; ++o) {
    float row[128];
    dequantise_row(source, o, row);
    const int zero = nibble_of[o] < 4 ? 15 : 1;
    for (const float x : row) CHECK(x == float(nibble_of[o] - zero) * (o == 3 ? 2 : 1));
  }
}

TEST_CASE("some outputs, some inputs, and every other output of a matrix are views of it") {
  std::mt19937 random(2);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, 24, 768, random);
    const auto check = [&](const SourceMatrix& part, int first, int step, int column) {
      std::vector<float> row(std::size_t(part.in));
      int wrong = 0;
      for (int o = 0; o < int(part.out); ++o) {
        dequantise_row(part, o, row.data());
        for (int k = 0; k < int(part.in); ++k)
          wrong += !(double(row[std::size_t(k)]) == file.at(first + o * step, column + k));
      }
      CHECK(wrong == 0);
    };
    check(file.source().outputs(8, 16), 8, 1, 0);
    check(file.source().inputs(256, 512), 0, 1, 256);
    check(file.source().outputs(16, 8).inputs(512, 256), 16, 1, 512);
    if (format == Format::awq) continue;  // a word holds eight outputs
    check(file.source().every_other(0), 0, 2, 0);
    check(file.source().every_other(1), 1, 2, 0);
  }
}

TEST_CASE("a matrix of scalars may lie as [in, out]") {
  const float file[] = {1, 2, 3, 4, 5, 6};  // [3, 2]
  const SourceMatrix source =
      source_matrix({Dtype::f32, {3, 2}, std::as_bytes(std::span(file))}, SourceOrder::transposed);
  CHECK(source.out == 2);
  CHECK(source.in == 3);
  float row[3];
  dequantise_row(source, 1, row);
  CHECK((row[0] == 2 && row[1] == 4 && row[2] == 6));
}

TEST_CASE("planes of a wrong size are named, with what was expected and found") {
  const std::vector<std::byte> bytes(1024);
  const std::span<const std::byte> all(bytes);
  CHECK_THROWS_WITH_AS(source_matrix(Format::q8_0, 2, 64, {all.first(135)}),
                       "a matrix [2, 64] in q8_0: expected 136 bytes of blocks, found 135", FileError);
  CHECK_THROWS_WITH_AS(source_matrix(Format::awq, 8, 128, {all.first(512), all.first(16), all.first(8)}),
                       "a matrix [8, 128] in awq: expected 4 bytes of qzeros, found 8", FileError);
  CHECK_THROWS_WITH_AS(source_matrix(Format::mxfp4, 1, 48, {all.first(24), all.first(1)}),
                       "a matrix in mxfp4: expected rows of whole blocks of 32, found 48 columns", FileError);
  CHECK_THROWS_WITH_AS(source_matrix(Format::awq, 12, 128, {all.first(768), all.first(24), all.first(6)}),
                       "a matrix in awq: expected a multiple of 8 rows, found 12", FileError);
  CHECK_THROWS_WITH_AS(source_matrix(Format::bf16, 3, 5, {all.first(31)}),
                       "a matrix [3, 5] in bf16: expected 30 bytes of data, found 31", FileError);
}

TEST_CASE("the planes of a matrix can be packed one behind the other, from whatever strides") {
  std::mt19937 random(3);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, 16, 512, random);
    const auto check = [&](const SourceMatrix& source) {
      const PackedPlanes packed = packed_planes(format, source.out, source.in);
      std::vector<std::byte> memory(std::size_t(packed.total) + 64);
      each_packed_piece(source, [&](std::int64_t to, const std::byte* from, std::int64_t bytes) {
        REQUIRE(to + bytes <= packed.total);
        std::memcpy(memory.data() + to, from, std::size_t(bytes));
      });
      const SourceMatrix again = packed_source(format, source.out, source.in, memory.data());
      std::vector<float> a(std::size_t(source.in)), b = a;
      for (std::int64_t o = 0; o < source.out; ++o) {
        dequantise_row(source, o, a.data());
        dequantise_row(again, o, b.data());
        CHECK(a == b);
      }
    };
    check(file.source());
    check(file.source().outputs(8, 8));
    check(file.source().inputs(256, 256));
    if (format != Format::awq) check(file.source().every_other(1));
  }
  const std::vector<std::byte> bytes(2 * 3 * 5, std::byte{1});
  const SourceMatrix turned = source_matrix(Format::bf16, 3, 5, {bytes}, SourceOrder::transposed);
  int pieces = 0;
  each_packed_piece(turned, [&](std::int64_t, const std::byte*, std::int64_t) { ++pieces; });
  CHECK(pieces == 15);
}

TEST_CASE("matrices with planes of scales have parts, ends that are cut, and are packed like any other") {
  std::mt19937 random(4);
  for (int number = int(Format::awq_f32); number < int(format_count); ++number) {
    const auto format = Format(number);
    CAPTURE(name_of(format));
    const std::int64_t out = 200, in = 384;  // a block of 128 rows is cut
    std::vector<std::byte> file(std::size_t(packed_planes(format, out, in).total));
    for (std::byte& byte : file) byte = std::byte(random() & 0xf7);  // no NaN
    const SourceMatrix whole = packed_source(format, out, in, file.data());
    const auto check = [&](const SourceMatrix& part, std::int64_t first, std::int64_t column) {
      std::vector<std::byte> memory(std::size_t(packed_planes(format, part.out, part.in).total));
      each_packed_piece(part, [&](std::int64_t to, const std::byte* from, std::int64_t bytes) {
        REQUIRE(to + bytes <= std::int64_t(memory.size()));
        std::memcpy(memory.data() + to, from, std::size_t(bytes));
      });
      const SourceMatrix packed = packed_source(format, part.out, part.in, memory.data());
      std::vector<float> expected(384), row(std::size_t(part.in)), again = row;
      for (std::int64_t o = 0; o < part.out; ++o) {
        dequantise_row(whole, first + o, expected.data());
        dequantise_row(part, o, row.data());
        dequantise_row(packed, o, again.data());
        CHECK(std::memcmp(row.data(), expected.data() + column, row.size() * sizeof(float)) == 0);
        CHECK(row == again);
      }
    };
    check(whole, 0, 0);
    check(whole.outputs(128, 72), 128, 0);
    check(whole.inputs(128, 256), 0, 128);
    check(whole.outputs(128, 64).inputs(256, 128), 128, 256);
  }
}

TEST_CASE("one cell of scales may stand for all rows, where the format lets it") {
  const std::vector<std::byte> codes(2 * 32, std::byte{0x38});  // 1 in FP8
  const float scale = 3;
  const SourceMatrix source = source_matrix(Format::f8_rows, 2, 32, {codes, std::as_bytes(std::span(&scale, 1))});
  for (const std::int64_t first : {0, 1}) {
    float row[32];
    dequantise_row(source.outputs(first, 1), 0, row);
    CHECK((row[0] == 3 && row[31] == 3));
  }
  CHECK_THROWS_WITH_AS(source_matrix(Format::f8_rows, 3, 32, {std::vector<std::byte>(96), std::vector<std::byte>(8)}),
                       "a matrix [3, 32] in FP8 in rows with F32 scales: expected 12 bytes of scales, found 8",
                       FileError);
}

TEST_CASE("the codes of FP8 mean the numbers of e4m3 without infinities") {
  CHECK(e4m3_value(0x01) == 0x1p-9f);
  CHECK(e4m3_value(0x07) == 7 * 0x1p-9f);
  CHECK(e4m3_value(0x08) == 0x1p-6f);
  CHECK(e4m3_value(0x7e) == 448);
  CHECK(e4m3_value(0xb8) == -1);
  CHECK((e4m3_value(0x80) == 0 && std::signbit(e4m3_value(0x80))));
  CHECK((std::isnan(e4m3_value(0x7f)) && std::isnan(e4m3_value(0xff))));
}

}  // namespace
