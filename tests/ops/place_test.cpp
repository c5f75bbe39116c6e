#include "ivl/cpu/place.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/cpu/linear.hpp"
#include "tests/support/file_matrix.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// A tensor as a file may hold it: at an odd address.
template <class Scalar>
struct FileTensor {
  Shape shape;
  std::vector<Scalar> values;
  std::vector<std::byte> file;

  FileTensor(Shape shape, unsigned seed) : shape(shape), values(std::size_t(*elements_of(shape))) {
    std::mt19937 random(seed);
    for (Scalar& value : values) {
      // Any finite bit pattern, subnormals included.
      do {
        const auto bits = std::uint32_t(random());
        std::memcpy(&value, &bits, sizeof value);
      } while (!std::isfinite(to_float(value)));
    }
    file.resize(values.size() * sizeof(Scalar) + 1);
    if (!values.empty()) std::memcpy(file.data() + 1, values.data(), file.size() - 1);
  }
  TensorView view() const { return {dtype_of(kind_of<Scalar>), shape, std::span(file).subspan(1)}; }
  SourceMatrix source() const { return source_matrix(view()); }
};

/// Column `column`, depth `k` of a placed matrix, by the page of panels.hpp.
template <class Scalar>
Scalar panel_scalar(const PlacedMatrix& w, std::int64_t panel, int column, std::int64_t k) {
  std::int64_t at = panel * (w.format() == Format::bf16 ? round_up(w.in, 2) : w.in) * 16;
  at += w.format() == Format::bf16 ? k / 2 * 32 + column * 2 + k % 2 : k * 16 + column;
  Scalar value;
  std::memcpy(&value, w.memory().data + std::size_t(at) * sizeof(Scalar), sizeof value);
  return value;
}

template <class Scalar>
bool same_bits(Scalar a, Scalar b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace

TEST_CASE_TEMPLATE("stacked parts lie one below the other in panels, bit for bit, and padding is zero", Scalar, bf16,
                   half, float) {
  cpu::Context ctx(3);
  for (const int in : {1, 2, 48, 131, 588}) {
    const FileTensor<Scalar> a({33, in}, 1), b({1, in}, 2), c({50, in}, 3);
    const SourceMatrix parts[] = {a.source(), b.source(), c.source()};
    const PlacedMatrix w = place_matrix(ctx, parts, Fusion::stacked);
    CHECK(w.format() == format_of(kind_of<Scalar>));
    CHECK(w.out == 84);
    CHECK(w.in == in);
    const std::int64_t depth = std::is_same_v<Scalar, bf16> ? round_up(in, 2) : in;
    REQUIRE(w.memory().bytes == std::size_t(6 * 16 * depth) * sizeof(Scalar));
    for (int row = 0; row < 96; ++row) {
      for (int k = 0; k < depth; ++k) {
        Scalar want{};
        if (row < 84 && k < in) {
          const FileTensor<Scalar>& part = row < 33 ? a : row < 34 ? b : c;
          want = part.values[std::size_t((row < 33 ? row : row < 34 ? 0 : row - 34) * in + k)];
        }
        if (!same_bits(panel_scalar<Scalar>(w, row / 16, row % 16, k), want)) {
          CAPTURE(row);
          CAPTURE(k);
          REQUIRE(to_float(panel_scalar<Scalar>(w, row / 16, row % 16, k)) == to_float(want));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("interleaved gate and up take turns panel by panel", Scalar, bf16, half, float) {
  cpu::Context ctx(2);
  const int in = 37, height = 21;
  const FileTensor<Scalar> gate({height, in}, 1), up({height, in}, 2);
  const SourceMatrix parts[] = {gate.source(), up.source()};
  const PlacedMatrix w = place_matrix(ctx, parts, Fusion::interleaved);
  CHECK(w.out == 2 * height);
  for (int panel = 0; panel < 4; ++panel) {
    for (int column = 0; column < 16; ++column) {
      const int row = panel / 2 * 16 + column;
      for (int k = 0; k < in; ++k) {
        const Scalar want = row < height ? (panel % 2 ? up : gate).values[std::size_t(row * in + k)] : Scalar{};
        REQUIRE(same_bits(panel_scalar<Scalar>(w, panel, column, k), want));
      }
    }
  }
}

TEST_CASE_TEMPLATE("rows of the identity bring a placed matrix back", Scalar, bf16, half, float) {
  cpu::Context ctx(2);
  const int out = 41, in = 67;
  const FileTensor<Scalar> part({out, in}, 1);
  const SourceMatrix parts[] = {part.source()};
  const PlacedMatrix w = place_matrix(ctx, parts, Fusion::stacked);
  std::vector<float> identity(in * in, 0), y(in * out);
  for (int k = 0; k < in; ++k) identity[std::size_t(k * in + k)] = 1;
  linear(ctx, Rows<const float>(identity.data(), in, in), w, Epilogue{}, Rows<float>(y.data(), in, out));
  for (int k = 0; k < in; ++k) {
    for (int o = 0; o < out; ++o)
      REQUIRE(y[std::size_t(k * out + o)] == to_float(part.values[std::size_t(o * in + k)]));
  }
}

TEST_CASE("rows of the identity bring a matrix of every format back, exactly") {
  cpu::Context ctx(2);
  std::mt19937 random(4);
  const auto check = [&](const FileMatrix& file) {
    const int out = file.out, in = file.in;
    std::vector<float> identity(std::size_t(in * in), 0), y(std::size_t(in * out));
    for (int k = 0; k < in; ++k) identity[std::size_t(k * in + k)] = 1;
    const SourceMatrix source = file.source();
    const PlacedMatrix w = place_matrix(ctx, {&source, 1}, Fusion::stacked);
    CHECK(w.format() == file.format);
    for (const int rows : {1, 8, in}) {  // of so many at once
      for (int first = 0; first < in; first += rows) {
        linear(ctx, Rows<const float>(identity.data() + first * in, rows, in), w, Epilogue{},
               Rows<float>(y.data() + first * out, rows, out));
      }
      int wrong = 0;
      for (int k = 0; k < in; ++k) {
        for (int o = 0; o < out; ++o) wrong += !(double(y[std::size_t(k * out + o)]) == file.at(o, k));
      }
      CAPTURE(in);
      CAPTURE(rows);
      CHECK(wrong == 0);
    }
  };
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    check(FileMatrix(format, 40, 256, random));
    // Half a group at the end of rows, and columns that are no multiple of anything.
    check(FileMatrix(format, format == Format::awq ? 72 : 37, std::max(96, 3 * block_of(format)), random));
  }
}

TEST_CASE("panels of whole groups take at most a tenth more than the file") {
  cpu::Context ctx(1);
  std::mt19937 random(6);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, 32, 512, random);
    const SourceMatrix source = file.source();
    const PlacedMatrix w = place_matrix(ctx, {&source, 1}, Fusion::stacked);
    CHECK(10 * w.strips[0].bytes <= 11 * packed_planes(format, 32, 512).total);
  }
}

TEST_CASE("views into a file with gaps make the same panels as files of their own") {
  cpu::Context ctx(3);
  std::mt19937 random(5);
  const auto same = [&](std::span<const SourceMatrix> a, std::span<const SourceMatrix> b, Fusion fusion) {
    const PlacedMatrix x = place_matrix(ctx, a, fusion), y = place_matrix(ctx, b, fusion);
    REQUIRE(x.strips[0].bytes == y.strips[0].bytes);
    CHECK(std::memcmp(x.memory().data, y.memory().data, std::size_t(x.strips[0].bytes)) == 0);
  };
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, 80, 256, random), some = file.rows(24, 1, 40), more = file.rows(0, 1, 40);
    const SourceMatrix views[] = {file.source().outputs(24, 40), file.source().outputs(0, 40)},
                       alone[] = {some.source(), more.source()};
    same(views, alone, Fusion::stacked);
    same(views, alone, Fusion::interleaved);
    if (format == Format::awq) continue;
    const FileMatrix gate = file.rows(0, 2, 40), up = file.rows(1, 2, 40);
    const SourceMatrix turns[] = {file.source().every_other(0), file.source().every_other(1)},
                       apart[] = {gate.source(), up.source()};
    same(turns, apart, Fusion::interleaved);
  }
}

TEST_CASE("vectors become floats and parts are joined, whatever their types") {
  cpu::Context ctx(1);
  const FileTensor<bf16> a({7}, 1);
  const FileTensor<half> b({1, 5}, 2);
  const FileTensor<float> c({3}, 3);
  const TensorView parts[] = {a.view(), b.view(), c.view()};
  const PlacedVector vector = place_vector(ctx, parts);
  REQUIRE(vector.width == 15);
  for (int i = 0; i < 7; ++i) CHECK(vector.data()[i] == to_float(a.values[std::size_t(i)]));
  for (int i = 0; i < 5; ++i) CHECK(vector.data()[7 + i] == to_float(b.values[std::size_t(i)]));
  for (int i = 0; i < 3; ++i) CHECK(vector.data()[12 + i] == c.values[std::size_t(i)]);
}

TEST_CASE("no parts make an empty vector, whose data is null") {
  cpu::Context ctx(1);
  CHECK(place_vector(ctx, std::span<const TensorView>()).data() == nullptr);
}

TEST_CASE("a table keeps its bytes") {
  cpu::Context ctx(1);
  const FileTensor<half> table({9, 11}, 1);
  const PlacedTable placed = place_table(ctx, table.source());
  CHECK(placed.format == Format::f16);
  CHECK(placed.rows == 9);
  CHECK(placed.width == 11);
  REQUIRE(placed.memory.bytes == table.values.size() * 2);
  CHECK(std::memcmp(placed.memory.data, table.values.data(), placed.memory.bytes) == 0);
}

TEST_CASE("types that cannot be placed are named") {
  cpu::Context ctx(1);
  const std::byte bytes[16] = {};
  const TensorView integers{Dtype::i8, {4, 4}, bytes};
  CHECK_THROWS_WITH_AS(source_matrix(integers), "cannot place a tensor of type I8: expected F32, BF16 or F16",
                       FileError);
  CHECK_THROWS_AS(place_vector(ctx, {&integers, 1}), FileError);
}

TEST_CASE("memory is aligned, and copies arrive") {
  cpu::Context ctx(1);
  for (const std::size_t bytes : {std::size_t(1), std::size_t(100), std::size_t(5) << 20}) {
    const Memory memory = allocate(ctx, bytes);
    CHECK(memory.bytes == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(memory.data) % 64 == 0);
    const std::vector<char> from(bytes, 'x');
    std::vector<char> to(bytes, 'y');
    upload(ctx, memory.data, from.data(), bytes);
    download(ctx, to.data(), memory.data, bytes);
    CHECK(to == from);
  }
  CHECK(allocate(ctx, 0).data == nullptr);
}

/// Random codes in a format that FileMatrix does not know, and the floats that dequantise makes of them, each as a
/// file.
struct CodesAndFloats {
  std::vector<std::byte> codes, floats;
  SourceMatrix stored, meant;

  template <class Random>
  CodesAndFloats(Format format, std::int64_t out, std::int64_t in, Random& random)
      : codes(std::size_t(packed_planes(format, out, in).total) + 1), floats(std::size_t(out * in) * sizeof(float)) {
    for (std::byte& byte : codes) byte = std::byte(random());
    stored = packed_source(format, out, in, codes.data() + 1);
    with_format(format, [&](auto tag) {
      using F = decltype(tag);
      if constexpr (requires { typename F::Scalar; }) {
        for (std::byte& byte : codes) byte &= std::byte(0xb7);  // no number is infinite or NaN
      }
      if constexpr (requires { F::refused; }) {
        for (const Refused& refused : F::refused)
          std::replace(codes.begin() + 1, codes.end(), refused.value, std::byte(0));
      }
      if constexpr (requires { typename F::Block; }) {
        for (std::size_t at = 1; at < codes.size(); at += sizeof(typename F::Block)) {
          const auto is_number = [&] {
            return !find_not_a_number(packed_source(format, 1, F::block, codes.data() + at));
          };
          while (!is_number())
            std::generate_n(codes.begin() + std::ptrdiff_t(at), sizeof(typename F::Block),
                            [&] { return std::byte(random()); });
        }
      }
      // Scales whose products round: every bit of the scalar is drawn, near 1.
      if constexpr (requires { typename F::Scale; }) {
        const auto plane = std::size_t(packed_planes(format, out, in).begin[F::scale_plane]);
        const auto bytes = std::size_t(packed_planes(format, out, in).bytes[F::scale_plane]);
        for (std::size_t at = plane; at < plane + bytes; at += sizeof(typename F::Scale)) {
          const auto scale =
              round_to<typename F::Scale>((random() % 2 ? 1.0f : -1.0f) *
                                          std::ldexp(1 + float(random() % (1 << 23)) * 0x1p-23f, -int(random() % 4)));
          std::memcpy(codes.data() + 1 + at, &scale, sizeof scale);
        }
      }
    });
    for (std::int64_t row = 0; row < out; ++row)
      dequantise_row(stored, row, reinterpret_cast<float*>(floats.data()) + row * in);
    meant = source_matrix({Dtype::f32, {out, in}, floats});
  }
};

TEST_CASE("a product with codes of any format has the bits of the product with the floats that they mean") {
  std::mt19937 random(20);
  cpu::Context ctx(2);
  for (std::size_t f = 0; f < format_count; ++f) {
    const auto format = Format(f);
    const auto [block, inputs_first] =
        with_format(format, [](auto tag) { return std::pair(decltype(tag)::block, decltype(tag)::inputs_first); });
    if (format == Format::mxfp4 || format == Format::gguf_mxfp4) continue;  // these scale sums, not weights
    CAPTURE(name_of(format));
    // Whole groups; part of a group at the end of rows, and a height that fills no panel.
    for (const bool whole : {true, false}) {
      const std::int64_t in = whole ? 512 : 256 + std::max(block, 32), out = whole ? 96 : inputs_first ? 72 : 75;
      CAPTURE(in);
      const CodesAndFloats one(format, out, in, random), other(format, 24, in, random);
      const SourceMatrix stored[] = {one.stored, other.stored}, meant[] = {one.meant, other.meant};
      const PlacedMatrix w = place_matrix(ctx, stored, Fusion::stacked),
                         as_floats = place_matrix(ctx, meant, Fusion::stacked);
      const bool has_panels =
          format != Format::awq_f32 && format != Format::int4_by_32 && format != Format::int4_by_128;
      CHECK(w.format() == (has_panels ? format : Format::f32));
      CHECK(w.strips[0].bytes == cpu::placed_bytes(format, w.out, in));
      std::normal_distribution<float> normal;
      std::vector<float> x(std::size_t(20 * in)), y(std::size_t(20 * w.out)), expected = y;
      for (float& value : x) value = normal(random);
      for (const int rows : {1, 2, 5, 20}) {
        CAPTURE(rows);
        linear(ctx, Rows<const float>(x.data(), rows, in), w, Epilogue{}, Rows<float>(y.data(), rows, w.out));
        linear(ctx, Rows<const float>(x.data(), rows, in), as_floats, Epilogue{},
               Rows<float>(expected.data(), rows, w.out));
        CHECK(std::memcmp(y.data(), expected.data(), std::size_t(rows * w.out) * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("one scale may stand for all rows of FP8 and int8") {
  std::mt19937 random(22);
  cpu::Context ctx(1);
  std::vector<std::byte> codes(40 * 256);
  for (std::byte& byte : codes) byte = std::byte(random() & 0x77);
  const float scale = 0.7f;
  for (const Format format : {Format::f8_rows, Format::i8_rows}) {
    const SourceMatrix source = source_matrix(format, 40, 256, {codes, std::as_bytes(std::span(&scale, 1))});
    const PlacedMatrix w = place_matrix(ctx, {&source, 1}, Fusion::stacked);
    std::vector<float> x(256, 0), y(40), row(256);
    x[77] = 1;
    linear(ctx, Rows<const float>(x.data(), 1, 256), w, Epilogue{}, Rows<float>(y.data(), 1, 40));
    for (int o = 0; o < 40; ++o) {
      dequantise_row(source, o, row.data());
      CHECK(y[std::size_t(o)] == row[77]);
    }
  }
}

TEST_CASE("a scale with which the largest code is no longer a number is refused") {
  cpu::Context ctx(1);
  const std::vector<std::byte> codes(2 * 128);
  const auto place = [&](Format format, float scale) {
    const SourceMatrix source = source_matrix(format, 2, 128, {codes, std::as_bytes(std::span(&scale, 1))});
    place_matrix(ctx, {&source, 1}, Fusion::stacked);
  };
  CHECK_NOTHROW(place(Format::f8_rows, 7e35f));
  CHECK_THROWS_WITH_AS(place(Format::f8_rows, 8e35f), "a scale is so large that weights may be infinite", FileError);
  CHECK_NOTHROW(place(Format::i8_rows, 2e36f));
  CHECK_THROWS_WITH_AS(place(Format::i8_rows, 3e36f), "a scale is so large that weights may be infinite", FileError);
  const auto place_int4 = [&](float scale) {
    const PackedPlanes planes = packed_planes(Format::int4_by_128_bf16, 8, 128);
    std::vector<std::byte> bytes(std::size_t(planes.total));
    const bf16 rounded = round_to<bf16>(scale);
    for (std::size_t row = 0; row < 8; ++row)
      std::memcpy(bytes.data() + std::size_t(planes.begin[1]) + row * sizeof rounded, &rounded, sizeof rounded);
    const SourceMatrix source = packed_source(Format::int4_by_128_bf16, 8, 128, bytes.data());
    place_matrix(ctx, {&source, 1}, Fusion::stacked);
  };
  CHECK_NOTHROW(place_int4(2e37f));
  CHECK_THROWS_WITH_AS(place_int4(3e37f), "a scale is so large that weights may be infinite", FileError);
}

TEST_CASE("a block of any format whose scale is not a number is refused") {
  std::mt19937 random(21);
  cpu::Context ctx(1);
  // Where each format has its scale, the high byte of a half; MXFP4's is a byte, IQ1_M's lies in pieces.
  struct Scale {
    Format format;
    int at;
  };
  constexpr Scale scales[] = {{Format::q4_0, 1},   {Format::q4_1, 3},   {Format::q5_0, 1},    {Format::q5_1, 3},
                              {Format::q8_0, 1},   {Format::q2_k, 83},  {Format::q3_k, 109},  {Format::q4_k, 1},
                              {Format::q5_k, 3},   {Format::q6_k, 209}, {Format::iq1_s, 1},   {Format::iq2_xxs, 1},
                              {Format::iq2_xs, 1}, {Format::iq2_s, 1},  {Format::iq3_xxs, 1}, {Format::iq3_s, 1},
                              {Format::iq4_nl, 1}, {Format::iq4_xs, 1}, {Format::iq1_m, 55},  {Format::gguf_mxfp4, 0}};
  for (const auto [format, at] : scales) {
    CAPTURE(name_of(format));
    std::vector<std::byte> file(std::size_t(packed_planes(format, 3, 512).total));
    for (std::byte& byte : file) byte = std::byte(random() & 0xbf);
    if (format == Format::iq1_m)
      for (std::size_t word = 0; word < 4; ++word) file[file.size() - 8 + 2 * word + 1] = std::byte{0x3f};
    const auto place = [&] {
      const SourceMatrix source = source_matrix(format, 3, 512, {file});
      cpu::place_matrix(ctx, {&source, 1}, Fusion::stacked);
    };
    CHECK_NOTHROW(place());
    const std::size_t blocks =
        3 * 512 / std::size_t(with_format(format, [](auto tag) { return decltype(tag)::block; }));
    file[file.size() / blocks * (blocks - 1) + std::size_t(at)] = std::byte{0xff};
    if (format == Format::iq1_m)
      for (std::size_t word = 0; word < 4; ++word) file[file.size() - 8 + 2 * word + 1] = std::byte{0xff};
    CHECK_THROWS_WITH_AS(place(), "a scale is not a finite number", FileError);
  }
}
