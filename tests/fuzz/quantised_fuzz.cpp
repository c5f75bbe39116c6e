// Whatever tensors a folder holds in place of a matrix: a list of what is wrong, a FileError, or a matrix whose rows
// can be read, whole and in parts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/place_weights.hpp"

namespace {

/// Numbers from the fuzzer's bytes; zeros behind their end.
class Numbers {
 public:
  explicit Numbers(std::span<const std::byte> bytes) : bytes_(bytes) {}
  int operator()(int below) {
    if (bytes_.empty()) return 0;
    const int number = std::to_integer<int>(bytes_[0]);
    bytes_ = bytes_.subspan(1);
    return number % below;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Of a quantised matrix mostly what its layout wants, else any type and any small shape. The bytes are as many as
/// those say, as a reader of safetensors has checked.
struct DrawnTensors {
  std::map<std::string, std::vector<std::byte>> bytes;
  ivl::TensorMap tensors;

  void add(Numbers& draw, const std::string& name, ivl::Dtype dtype, ivl::Shape shape) {
    if (draw(8) == 7) dtype = ivl::Dtype(draw(int(ivl::Dtype::u64) + 1));
    if (draw(8) == 7) {
      shape = {};
      for (int rank = draw(4); rank > 0; --rank) shape.push_back(draw(40));
    }
    const auto size = ivl::bytes_of(dtype, shape);
    if (draw(16) == 15 || !size) return;
    std::vector<std::byte>& all = bytes[name];
    all.resize(std::size_t(*size));
    for (std::size_t i = 0; i < all.size() && i < 64; ++i) all[i] = std::byte(draw(256));
    tensors[name] = {dtype, shape, all};
  }
};

void read_rows(const ivl::SourceMatrix& matrix) {
  std::vector<float> row(std::size_t(matrix.in));
  for (std::int64_t o = 0; o < matrix.out; ++o) ivl::dequantise_row(matrix, o, row.data());
}

void read_matrix(const ivl::BoundWeight& weight) {
  for (const ivl::SourceMatrix& matrix : ivl::detail::matrices_of(weight)) {
    (void)ivl::find_not_a_number(matrix);
    read_rows(matrix);
    std::vector<std::byte> packed(std::size_t(ivl::packed_planes(matrix.format, matrix.out, matrix.in).total));
    ivl::each_packed_piece(matrix, [&](std::int64_t to, const std::byte* from, std::int64_t bytes) {
      if (to + bytes > std::int64_t(packed.size())) std::abort();
      std::copy_n(from, bytes, packed.data() + to);
    });
    read_rows(ivl::packed_source(matrix.format, matrix.out, matrix.in, packed.data()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ivl;
  Numbers draw(std::as_bytes(std::span(data, size)));
  const int out = 8 * (1 + draw(34)), in = 32 * (1 + draw(12));
  const std::string stem = "language_model.model.layers.0.mlp.down_proj";
  constexpr Dtype scalars[] = {Dtype::f32, Dtype::bf16, Dtype::f16};
  DrawnTensors drawn;
  const auto add = [&](const char* suffix, Dtype dtype, const Shape& shape) {
    drawn.add(draw, stem + suffix, dtype, shape);
  };
  const Dtype scale = scalars[draw(3)], code = draw(2) ? Dtype::f8_e4m3 : Dtype::i8;
  const std::int64_t block_outs = cells_of(out, 128), block_ins = cells_of(in, 128);
  for (int number = 1 + draw(2); number > 0; --number) {  // two forms in one place are none
    switch (draw(6)) {
      case 0:
        add(".qweight", Dtype::i32, {in, out / 8});
        add(".qzeros", Dtype::i32, {block_ins, out / 8});
        add(".scales", scale, {block_ins, out});
        break;
      case 1:
        add(".weight", Dtype::f8_e4m3, {out, in});
        add(draw(2) ? ".weight_scale_inv" : ".weight_scale", scale, {block_outs, block_ins});
        break;
      case 2:
        add(".weight", code, {out, in});
        add(draw(2) ? ".scale" : ".weight_scale", scale, draw(2) ? Shape{out, 1} : draw(2) ? Shape{1} : Shape{});
        break;
      case 3: {
        const std::int64_t groups = cells_of(in, draw(2) ? 32 : 128);
        add(".weight_packed", Dtype::i32, {out, in / 8});
        add(".weight_scale", scale, {out, groups});
        if (draw(2)) add(".weight_zero_point", Dtype::i32, {out / 8, groups});
        break;
      }
      case 4:
        add(".weight", Dtype::i8, {out, in});
        add(".SCB", Dtype::f32, {out});
        if (draw(2)) add(".weight_format", Dtype::u8, {});
        break;
      default:
        add(".weight", scale, {out, in});
    }
  }
  const WeightSlot slot{
      .canonical = "language.blocks.#.down.weight", .layer = 0, .heights = {out}, .in = in, .shape = {}};
  ModelFacts facts;
  facts.family = Family::qwen3;
  const MapSource source{drawn.tensors};
  const Binding binding = bind_weights({slot}, facts, source);
  if (!binding_differences(binding).empty()) return 0;
  try {
    read_matrix(binding.weights[0]);
  } catch (const FileError&) {
  }
  return 0;
}
