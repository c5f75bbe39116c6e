#include "ivl/cuda/linear/sm80_gemm.cuh"

#include <cstring>

#include "tests/simt/support/product.hpp"

namespace {

using namespace ivl;
using Bf16Product = Product<bf16, bf16, bf16>;

template <cuda::GemmPolicy P, class Weight, class Result>
void check_with(const Product<bf16, Weight, Result>& product) {
  cuda::Context ctx;
#if !defined(__CUDACC__)
  const auto conflicts = simt::stats().bank_conflicts;
#endif
  product.check([&](Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
    cuda::gemm<P>(ctx, x, w, epilogue, y);
  });
#if !defined(__CUDACC__)
  CHECK(simt::stats().bank_conflicts == conflicts);  // of ldmatrix
#endif
}

}  // namespace

TEST_CASE("on CUDA gemm with tiles of 128 x 256 is right at ragged edges, with every epilogue") {
  // More stages than the ring has; two tiles each way; a K of a quarter of a stage.
  check_with<cuda::tall_gemm>(Bf16Product(129, 264, 336, EpilogueKind::add, Terms::bias_and_scale));
  check_with<cuda::tall_gemm>(Bf16Product(17, 136, 192, EpilogueKind::gelu, Terms::bias_and_scale));
  check_with<cuda::tall_gemm>(Bf16Product(1, 48, 16, EpilogueKind::store, Terms::none));
  check_with<cuda::tall_gemm>(Bf16Product(17, 200, 48, EpilogueKind::swi_glu, Terms::bias_and_scale));
}

TEST_CASE("on CUDA gemm with tiles of 128 x 128 is right at ragged edges, with every epilogue") {
  check_with<cuda::square_gemm>(Bf16Product(129, 136, 336, EpilogueKind::gelu, Terms::bias_and_scale));
  check_with<cuda::square_gemm>(Bf16Product(17, 48, 192, EpilogueKind::store, Terms::bias_and_scale));
  check_with<cuda::square_gemm>(Bf16Product(1, 200, 16, EpilogueKind::swi_glu, Terms::bias_and_scale));
  check_with<cuda::square_gemm>(Bf16Product(17, 200, 48, EpilogueKind::add, Terms::none));
}

TEST_CASE("on CUDA gemm with tiles of 64 x 64 is right at ragged edges, with every epilogue") {
  // 1100 rows: more than a band of 8 tiles.
  check_with<cuda::narrow_gemm>(Bf16Product(550, 136, 48, EpilogueKind::store, Terms::none));
  check_with<cuda::narrow_gemm>(Bf16Product(129, 48, 336, EpilogueKind::swi_glu, Terms::bias_and_scale));
  check_with<cuda::narrow_gemm>(Bf16Product(17, 136, 192, EpilogueKind::gelu, Terms::bias_and_scale));
  check_with<cuda::narrow_gemm>(Bf16Product(1, 200, 16, EpilogueKind::add, Terms::bias_and_scale));
}

TEST_CASE("on CUDA gemm with tiles of 16 x 32 is right at ragged edges, with every epilogue") {
  check_with<cuda::few_gemm>(Bf16Product(1, 136, 1104, EpilogueKind::store, Terms::none));  // the ring wraps
  check_with<cuda::few_gemm>(Bf16Product(16, 48, 336, EpilogueKind::swi_glu, Terms::bias_and_scale));
  check_with<cuda::few_gemm>(Bf16Product(9, 137, 48, EpilogueKind::add, Terms::bias_and_scale));
  check_with<cuda::few_gemm>(Bf16Product(17, 40, 16, EpilogueKind::gelu, Terms::none));
}

TEST_CASE("on CUDA gemm takes widths that are a multiple of 4 only, and columns of y that are a multiple of nothing") {
  check_with<cuda::narrow_gemm>(Bf16Product(129, 48, 148, EpilogueKind::store, Terms::bias_and_scale));
  check_with<cuda::narrow_gemm>(Bf16Product(17, 137, 48, EpilogueKind::add, Terms::none));
}

TEST_CASE("on CUDA gemm with half weights is exact, though its products are those of bf16") {
  check_with<cuda::narrow_gemm>(Product<bf16, half, bf16>(17, 136, 336, EpilogueKind::store, Terms::none));
}

TEST_CASE("on CUDA a row's bits depend neither on the other rows nor on the policy") {
  constexpr int rows = 200, out = 136, in = 336, row = 130;
  const std::vector<bf16> x_values = normal_values<bf16>(rows * in, 1), w_values = normal_values<bf16>(out * in, 2);
  cuda::Context ctx;
  DeviceArray<bf16> x(x_values), w(w_values), all(rows * out), alone(out), square(out), narrow(3 * out), few(2 * out);
  const Rows<const bf16> x_rows(x.data(), rows, in);
  cuda::gemm<cuda::tall_gemm>(ctx, x_rows, view_of(w, out, in), Epilogue{}, Rows<bf16>(all.data(), rows, out));
  cuda::gemm<cuda::tall_gemm>(ctx, x_rows.slice(row, 1), view_of(w, out, in), Epilogue{},
                              Rows<bf16>(alone.data(), 1, out));
  cuda::gemm<cuda::square_gemm>(ctx, x_rows.slice(row, 1), view_of(w, out, in), Epilogue{},
                                Rows<bf16>(square.data(), 1, out));
  cuda::gemm<cuda::narrow_gemm>(ctx, x_rows.slice(row - 2, 3), view_of(w, out, in), Epilogue{},
                                Rows<bf16>(narrow.data(), 3, out));
  cuda::gemm<cuda::few_gemm>(ctx, x_rows.slice(row - 1, 2), view_of(w, out, in), Epilogue{},
                             Rows<bf16>(few.data(), 2, out));
  const std::vector<bf16> all_bits = all.download(), few_bits = few.download(), alone_bits = alone.download(),
                          square_bits = square.download(), narrow_bits = narrow.download();
  const auto same = [&](const std::vector<bf16>& bits, int first) {
    return std::memcmp(&all_bits[row * out], &bits[std::size_t(first)], out * sizeof(bf16)) == 0;
  };
  CHECK(same(alone_bits, 0));
  CHECK(same(square_bits, 0));
  CHECK(same(narrow_bits, 2 * out));
  CHECK(same(few_bits, out));
}
