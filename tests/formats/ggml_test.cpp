#include "ivl/formats/ggml.hpp"
#include "ivl/formats/gguf_grids.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/tensor.hpp"
#include "ivl/files/json.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

/// Bytes of blocks, where their halves are, and what ggml's C code makes of the block 37 i + 11 with the scale 0x2e66
/// and the minimum 0x2a66: elements 0, 1, 15, 16, n / 2 and n - 1, their sum, and the sum of (i + 1) times element i.
struct KnownBlock {
  GgmlType type;
  int bytes, scale_at, minimum_at;
  float values[6];
  double sum, weighted_sum;
};
constexpr KnownBlock known_blocks[] = {
    {GgmlType::q4_0,
     18,
     0,
     -1,
     {-0.299926758f, 0.199951172f, -0.799804688f, -0.299926758f, -0.299926758f, 0},
     -2.099487305,
     -51.78735352},
    {GgmlType::q4_1,
     20,
     0,
     2,
     {1.54962158f, 0.449890137f, 1.04974365f, 0.949768066f, 0.949768066f, 1.24969482f},
     26.09362793,
     424.5963135},
    {GgmlType::q5_0,
     22,
     0,
     -1,
     {0.899780273f, -0.199951172f, -1.19970703f, 1.3996582f, 1.3996582f, 0.0999755859f},
     1.499633789,
     11.19726562},
    {GgmlType::q5_1,
     24,
     0,
     2,
     {1.94952393f, 2.44940186f, 3.04925537f, 1.94952393f, 1.94952393f, 0.549865723f},
     52.08728027,
     816.3006592},
    {GgmlType::q8_0,
     34,
     0,
     -1,
     {8.4979248f, 12.1970215f, -12.796875f, -9.09777832f, -9.09777832f, -4.79882812f},
     -17.59570312,
     -807.8027344},
    {GgmlType::q2_k,
     84,
     80,
     82,
     {3.29919434f, 0, 2.19946289f, -0.149963379f, 0.749816895f, 0.449890137f},
     205.8497314,
     24307.06421},
    {GgmlType::q3_k,
     110,
     108,
     -1,
     {8.09802246f, -10.7973633f, -5.39868164f, -9.59765625f, 0.199951172f, 4.19897461f},
     95.77661133,
     17710.17517},
    {GgmlType::q4_k,
     144,
     0,
     2,
     {31.5422974f, -2.54937744f, 16.0460815f, 31.5422974f, 42.2896729f, 4.84881592f},
     5442.670898,
     757099.1162},
    {GgmlType::q5_k,
     176,
     0,
     2,
     {81.130188f, -2.54937744f, 16.0460815f, 81.130188f, 104.674438f, 10.8473511f},
     11618.7627,
     1602353.505},
    {GgmlType::q6_k,
     210,
     208,
     -1,
     {-143.065063f, 169.558594f, -31.7922363f, -43.1894531f, -35.0914307f, -5.99853516f},
     461.0874023,
     78422.84912},
    {GgmlType::iq4_nl,
     18,
     0,
     -1,
     {-3.49914551f, 2.49938965f, -12.6968994f, -3.49914551f, -3.49914551f, 0.0999755859f},
     -25.69372559,
     -691.7310791},
    {GgmlType::iq4_xs,
     136,
     0,
     -1,
     {6.49841309f, -0.0999755859f, -8.89782715f, 6.49841309f, -58.4857178f, -1.59960938f},
     -1100.231323,
     -209062.3469},
    {GgmlType::mxfp4, 17, -1, -1, {0, 0.375f, -0.1875f, 0.1875f, 0.1875f, 0.375f}, 1.5625, 39.875},
    {GgmlType::iq2_xxs,
     66,
     0,
     -1,
     {-5.91105652f, 5.91105652f, 1.09973145f, 3.43666077f, -9.68513489f, -8.06053162f},
     76.35635376,
     3678.401733},
    {GgmlType::iq2_xs,
     74,
     0,
     -1,
     {-1.09973145f, 3.43666077f, -1.09973145f, -1.89953613f, -1.89953613f, -1.89953613f},
     149.0136108,
     12316.80473},
    {GgmlType::iq2_s,
     82,
     0,
     -1,
     {-14.5089569f, 8.43544006f, 2.69934082f, -2.29943848f, -0.937271118f, 7.81059265f},
     -80.04295349,
     -6206.54686},
    {GgmlType::iq3_xxs,
     98,
     0,
     -1,
     {-1.29968262f, 0.899780273f, -0.899780273f, 0.699829102f, -5.49865723f, -1.49963379f},
     -68.38330078,
     302.2261963},
    {GgmlType::iq3_s,
     110,
     0,
     -1,
     {-8.09802246f, 24.2940674f, -13.4967041f, -18.8953857f, -10.4974365f, 22.4945068f},
     145.5644531,
     20274.04907},
    {GgmlType::iq1_s,
     50,
     0,
     -1,
     {-0.262435913f, 0.0374908447f, 0.337417603f, -0.262435913f, -0.787307739f, -0.437393188f},
     1.999511719,
     -1182.611206},
    {GgmlType::iq1_m,
     56,
     -1,
     -1,
     {-0.0874786377f, 0.612350464f, -0.787307739f, 0.187454224f, 0.187454224f, -0.187454224f},
     4.098999023,
     -223.5454102},
};

std::vector<float> floats_of(GgmlType type, std::span<const std::byte> blocks) {
  const std::int64_t in = block_elements(type), out = std::int64_t(blocks.size()) / block_bytes(type);
  std::vector<float> floats(std::size_t(out * in));
  dequantise_rows(type, blocks, out, in, floats.data());
  return floats;
}

constexpr std::uint64_t drawing_step = 0x9e3779b97f4a7c15;

constexpr std::uint64_t mixed(std::uint64_t word) {
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
  word = (word ^ word >> 27) * 0x94d049bb133111eb;
  return word ^ word >> 31;
}

/// As tests/golden/make_ggml.py draws them.
std::vector<std::byte> drawn_blocks(const KnownBlock& known, std::size_t count) {
  const auto size = std::size_t(known.bytes);
  std::vector<std::byte> bytes((count * size + 7) / 8 * 8);
  for (std::size_t n = 0; n < bytes.size() / 8; ++n) {
    const std::uint64_t word = mixed((n + 1) * drawing_step);
    std::memcpy(&bytes[8 * n], &word, 8);
  }
  bytes.resize(count * size);
  for (std::size_t block = 0; block < count; ++block) {
    std::byte* at = &bytes[block * size];
    for (const int half_at : {known.scale_at, known.minimum_at})
      if (half_at >= 0) at[half_at + 1] &= std::byte{0xbf};
    if (known.type == GgmlType::iq1_m) at[55] &= std::byte{0xbf};
    if (known.type == GgmlType::mxfp4 && *at == std::byte{255}) *at = std::byte{254};
  }
  return bytes;
}

TEST_CASE("a block of each type is what ggml's C code makes of it") {
  for (const KnownBlock& known : known_blocks) {
    CAPTURE(name_of(known.type));
    std::vector<std::byte> block;
    for (int i = 0; i < known.bytes; ++i) block.push_back(std::byte(37 * i + 11));
    const auto put = [&](int at, std::uint16_t bits) { std::memcpy(&block[std::size_t(at)], &bits, 2); };
    if (known.scale_at >= 0) put(known.scale_at, 0x2e66);
    if (known.minimum_at >= 0) put(known.minimum_at, 0x2a66);
    if (known.type == GgmlType::mxfp4) block[0] = std::byte{124};
    if (known.type == GgmlType::iq1_m) {  // the scale lies in the top four bits of four words
      for (std::size_t word = 0; word < 4; ++word) {
        std::byte& high = block[49 + 2 * word];
        high = (high & std::byte{15}) | std::byte(0x2e66 >> 4 * word << 4 & 0xf0);
      }
    }
    const std::vector<float> y = floats_of(known.type, block);
    const std::size_t n = y.size(), at[] = {0, 1, 15, 16, n / 2, n - 1};
    for (std::size_t i = 0; i < std::size(at); ++i) CHECK(y[at[i]] == known.values[i]);
    double sum = 0, weighted_sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += double(y[i]);
      weighted_sum += double(i + 1) * double(y[i]);
    }
    CHECK(sum == doctest::Approx(known.sum).epsilon(1e-9));
    CHECK(weighted_sum == doctest::Approx(known.weighted_sum).epsilon(1e-9));
  }
}

TEST_CASE("random blocks of each type are what the gguf package makes of them, to the last bit") {
#ifdef __SANITIZE_ADDRESS__
  const std::size_t count = 1000;
#else
  const std::size_t count = 100'000;
#endif
  const Json golden = read_json(std::string(IVL_SOURCE_DIR) + "/tests/golden/ggml/blocks.json").at("hashes");
  CHECK(golden.size() == std::size(known_blocks));
  for (const KnownBlock& known : known_blocks) {
    CAPTURE(name_of(known.type));
    const std::vector<float> floats = floats_of(known.type, drawn_blocks(known, count));
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < floats.size(); ++i)
      hash += mixed((i + 1) * drawing_step ^ std::bit_cast<std::uint32_t>(floats[i]));
    const auto expected = golden.at(std::string(name_of(known.type))).at(std::to_string(count)).get<std::string>();
    CHECK(hash == std::stoull(expected, nullptr, 16));
  }
}

TEST_CASE("every type with a tag has the size that files are read by") {
  int tags = 0;
  for (std::uint32_t number = 0; number < 64; ++number) {
    const std::optional<GgmlType> type = find_ggml_type(number);
    if (!type) continue;
    CAPTURE(name_of(*type));
    try {
      with_format(format_of(*type), [&](auto tag) {
        using F = decltype(tag);
        ++tags;
        CHECK(F::name == name_of(*type));
        CHECK(F::block == block_elements(*type));
        CHECK(std::size(F::planes) == 1);
        CHECK(F::planes[0].bytes == block_bytes(*type));
        CHECK(F::planes[0].ins == F::block);
      });
    } catch (const FileError& error) {
      CHECK(std::string(error.what())
                .starts_with("the tensor type " + std::string(name_of(*type)) + " is not supported"));
    }
  }
  CHECK(tags == std::size(known_blocks) + 3);  // the scalars
  for (const std::uint32_t removed : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 0xffffffffu})
    CHECK_FALSE(find_ggml_type(removed));
}

TEST_CASE("the scale 255 of MXFP4 is not a number in GGUF either, and the code 8 is +0 there") {
  std::vector<std::byte> block(17, std::byte{0x88});
  for (const float x : floats_of(GgmlType::mxfp4, block)) CHECK(std::bit_cast<std::uint32_t>(x) == 0);
  block[0] = std::byte{255};
  for (const float x : floats_of(GgmlType::mxfp4, block)) CHECK(x != x);
}

TEST_CASE("rows of scalars, of several blocks, and of another size than they should have") {
  const std::uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001};
  float y[512];
  dequantise_rows(GgmlType::f16, std::as_bytes(std::span(halves)), 2, 2, y);
  CHECK((y[0] == 1 && y[1] == -2 && y[2] == 65504 && y[3] == 0x1p-24f));
  dequantise_rows(GgmlType::bf16, std::as_bytes(std::span(halves)), 1, 4, y);
  CHECK((y[0] == 0x1.0p-7f && y[1] == -2));
  const std::vector<std::byte> bytes(144);
  const auto error = [&](GgmlType type, std::int64_t out, std::int64_t in) {
    return test::error_of<FileError>([&] { dequantise_rows(type, bytes, out, in, y); });
  };
  CHECK(error(GgmlType::q4_k, 1, 256).empty());
  CHECK(error(GgmlType::q4_k, 2, 256) == "2 rows of 256 in q4_k: expected 288 bytes, found 144");
  CHECK(error(GgmlType::q4_k, 1, 128) == "rows in q4_k: expected whole blocks of 256, found 128 columns");
  CHECK(error(GgmlType::q4_k, std::int64_t(1) << 62, 256)
            .ends_with("in q4_k: expected fewer than 2^63 bytes, found 144"));
  CHECK(error(GgmlType::tq1_0, 1, 256) ==
        "the tensor type tq1_0 is not supported: expected a scalar, Q*_0, Q*_1, Q*_K, IQ* or MXFP4");
}

/// FNV-1a, 32 bits.
template <class Grid>
std::uint32_t grid_hash(const Grid& grid) {
  std::uint32_t hash = 0x811c9dc5;
  for (const auto& row : grid)
    for (const std::int8_t value : row) hash = (hash ^ std::uint8_t(value)) * 0x01000193u;
  return hash;
}

TEST_CASE("the grids are those of ggml's C code") {
  CHECK(grid_hash(iq1_s_grid) == 0x2fe8cbce);
  CHECK(grid_hash(iq2_s_grid) == 0x82981110);
  CHECK(grid_hash(iq2_xs_grid) == 0xebeb17dd);
  CHECK(grid_hash(iq2_xxs_grid) == 0x3db4a16e);
  CHECK(grid_hash(iq3_s_grid) == 0x71cc6c89);
  CHECK(grid_hash(iq3_xxs_grid) == 0x49a45035);
}

}  // namespace
