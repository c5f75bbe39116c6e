#include "ivl/cuda/linear/linear.cuh"

#include <cstring>

#include "ivl/core/error.hpp"
#include "tests/simt/support/product.hpp"

namespace {

using namespace ivl;

/// As layers call it.
template <class Scalar, class Weight, class Result>
void check(const Product<Scalar, Weight, Result>& product) {
  cuda::Context ctx;
  product.check([&](Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
    linear(ctx, x, w, epilogue, y);
  });
}

}  // namespace

TEST_CASE("on CUDA linear is right for few rows and for many") {
  check(Product<bf16, bf16, bf16>(1, 200, 336, EpilogueKind::add, Terms::bias_and_scale));
  check(Product<bf16, bf16, bf16>(16, 136, 192, EpilogueKind::swi_glu, Terms::none));
  check(Product<bf16, bf16, bf16>(17, 136, 192, EpilogueKind::swi_glu, Terms::none));
  check(Product<bf16, bf16, bf16>(129, 48, 16, EpilogueKind::gelu, Terms::bias_and_scale));
  // Patches of 2 x 2 pixels: a width that gemv does not take.
  check(Product<bf16, bf16, bf16>(4, 48, 12, EpilogueKind::store, Terms::bias_and_scale));
}

TEST_CASE("on CUDA linear makes float logits, of an odd number too") {
  check(Product<bf16, bf16, float>(2, 137, 48, EpilogueKind::store, Terms::none));
  check(Product<bf16, bf16, float>(17, 137, 48, EpilogueKind::store, Terms::none));
}

TEST_CASE("on CUDA linear takes weights of every format") {
  check(Product<bf16, half, bf16>(17, 48, 192, EpilogueKind::store, Terms::none));
  check(Product<bf16, float, bf16>(17, 48, 16, EpilogueKind::store, Terms::bias_and_scale));
  check(Product<float, bf16, float>(1, 48, 16, EpilogueKind::store, Terms::none));
  check(Product<float, half, float>(1, 48, 16, EpilogueKind::store, Terms::none));
}

TEST_CASE("on CUDA linear on floats is right at ragged edges, with every epilogue") {
  check(Product<float, float, float>(129, 136, 48, EpilogueKind::add, Terms::bias_and_scale));
  check(Product<float, float, float>(17, 200, 336, EpilogueKind::swi_glu, Terms::none));
  check(Product<float, float, float>(1, 48, 17, EpilogueKind::gelu, Terms::bias_and_scale));
  check(Product<float, float, float>(65, 67, 33, EpilogueKind::store, Terms::none));
}

TEST_CASE("on CUDA a row has the same bits among 1 to 40 rows, with its norm and without, and no rows are no work") {
  constexpr int most = 40, out = 72, in = 592;
  const std::vector<bf16> x_values = normal_values<bf16>(most * in, 1), w_values = normal_values<bf16>(out * in, 2);
  const std::vector<float> gain_values = normal_values<float>(in, 3);
  cuda::Context ctx;
  DeviceArray<bf16> x(x_values), w(w_values), room(most * in);
  DeviceArray<float> gain(gain_values);
  const PlacedMatrix placed = view_of(w, out, in);
  const auto rows_of = [&](int rows) { return Rows<const bf16>(x.data(), rows, in); };
  // Floats: a difference in the last bit of a sum would seldom survive the rounding to bf16.
  const auto plain = [&](int rows) {
    DeviceArray<float> y(std::size_t(rows * out));
    linear(ctx, rows_of(rows), placed, Epilogue{}, Rows<float>(y.data(), rows, out));
    return y.download();
  };
  const auto normed = [&](int rows) {
    DeviceArray<float> y(std::size_t(rows * out));
    norm_linear(ctx, rows_of(rows), gain.data(), 0.25f, placed, Epilogue{}, Rows<bf16>(room.data(), rows, in),
                Rows<float>(y.data(), rows, out));
    return y.download();
  };
  linear(ctx, rows_of(0), placed, Epilogue{}, Rows<float>(nullptr, 0, out));
  const std::vector<float> all_plain = plain(most), all_normed = normed(most);
  for (int rows = 1; rows < most; ++rows) {
    CAPTURE(rows);
    const std::vector<float> some_plain = plain(rows), some_normed = normed(rows);
    REQUIRE(std::memcmp(some_plain.data(), all_plain.data(), some_plain.size() * sizeof(float)) == 0);
    REQUIRE(std::memcmp(some_normed.data(), all_normed.data(), some_normed.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("on CUDA rows of linear and rms_norm may lie further apart than 32 bits count") {
  constexpr int in = 48, out = 24;
  const std::vector<bf16> values = normal_values<bf16>(FarRows<bf16>::rows * in, 1),
                          w_values = normal_values<bf16>(out * in, 2);
  const std::vector<float> ones(in, 1.0f);
  cuda::Context ctx;
  DeviceArray<bf16> near_x(values), near_normed(values.size()), w(w_values);
  DeviceArray<float> gain(ones), near_y(FarRows<float>::rows * out);
  FarRows<bf16> x(values), normed(in);
  FarRows<float> y(out);
  const Rows<const bf16> near_rows(near_x.data(), FarRows<bf16>::rows, in);
  const auto same = [](const auto& a, const auto& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  for (const cuda::Order order : {cuda::Order::fastest, cuda::Order::invariant}) {
    CAPTURE(int(order));
    ctx.order = order;
    linear(ctx, near_rows, view_of(w, out, in), Epilogue{}, Rows<float>(near_y.data(), near_rows.count, out));
    linear(ctx, Rows<const bf16>(x.view()), view_of(w, out, in), Epilogue{}, y.view());
    CHECK(same(near_y.download(), y.download()));
  }
  rms_norm(ctx, near_rows, gain.data(), 0.25f, Rows<bf16>(near_normed.data(), near_rows.count, in));
  rms_norm(ctx, Rows<const bf16>(x.view()), gain.data(), 0.25f, normed.view());
  CHECK(same(near_normed.download(), normed.download()));
  const std::vector<float> floats = normal_values<float>(FarRows<float>::rows * in, 3);
  DeviceArray<float> near_floats(floats);
  FarRows<float> far_floats(floats);
  linear(ctx, Rows<const float>(near_floats.data(), near_rows.count, in), view_of(w, out, in), Epilogue{},
         Rows<float>(near_y.data(), near_rows.count, out));
  linear(ctx, Rows<const float>(far_floats.view()), view_of(w, out, in), Epilogue{}, y.view());
  CHECK(same(near_y.download(), y.download()));
}

TEST_CASE("on CUDA norm_linear has the bits of rms_norm and linear, and few rows need no room") {
  constexpr int in = 592, out = 34, most = 17;
  const std::vector<bf16> x_values = normal_values<bf16>(most * in, 1), w_values = normal_values<bf16>(out * in, 2);
  const std::vector<half> half_values = normal_values<half>(out * in, 3);
  const std::vector<float> gain_values = normal_values<float>(4112, 4);
  cuda::Context ctx;
  ctx.order = cuda::Order::fastest;
  DeviceArray<bf16> x(x_values), w(w_values);
  DeviceArray<half> half_w(half_values);
  DeviceArray<float> gain(gain_values);
  const auto check = [&](const PlacedMatrix& matrix, EpilogueKind kind, int rows, bool needs_room) {
    CAPTURE(rows);
    CAPTURE(matrix.in);
    CAPTURE(int(kind));
    CAPTURE(needs_room);
    const int depth = int(matrix.in), width = int(kind == EpilogueKind::swi_glu ? matrix.out / 2 : matrix.out);
    DeviceArray<bf16> normed(std::size_t(rows * depth)), room(std::size_t(rows * depth));
    DeviceArray<bf16> wanted(std::size_t(rows * width)), y(std::size_t(rows * width));
    const Rows<const bf16> x_rows(x.data(), rows, depth);
    const Rows<bf16> normed_rows(normed.data(), rows, depth);
    rms_norm(ctx, x_rows, gain.data(), 0.25f, normed_rows);
    linear(ctx, Rows<const bf16>(normed_rows), matrix, Epilogue{kind}, Rows<bf16>(wanted.data(), rows, width));
    norm_linear(ctx, x_rows, gain.data(), 0.25f, matrix, Epilogue{kind}, Rows<bf16>(room.data(), rows, depth),
                Rows<bf16>(y.data(), rows, width));
    const std::vector<bf16> want = wanted.download(), found = y.download(), in_room = room.download();
    REQUIRE(std::memcmp(found.data(), want.data(), want.size() * sizeof(bf16)) == 0);
    REQUIRE(std::isnan(to_float(in_room[0])) != needs_room);
  };
  const PlacedMatrix stacked = view_of(w, out, in), gated = view_of(w, out, in, Fusion::interleaved);
  for (const int rows : {1, cuda::max_normed_rows}) check(stacked, EpilogueKind::store, rows, false);
  check(gated, EpilogueKind::swi_glu, 2, false);
  for (const int rows : {cuda::max_normed_rows + 1, most}) check(gated, EpilogueKind::swi_glu, rows, true);
  check(view_of(half_w, out, in), EpilogueKind::store, 1, true);
  check(view_of(w, 3, 4112), EpilogueKind::store, 1, false);
  check(view_of(w, 3, 4112), EpilogueKind::store, 2, true);  // more scalars than max_normed_scalars
  ctx.order = cuda::Order::invariant;
  check(stacked, EpilogueKind::store, 1, true);
}

TEST_CASE("on CUDA linear refuses shapes that do not fit together, and rows that copies cannot take") {
  cuda::Context ctx;
  alignas(16) bf16 scalars[1] = {};
  PlacedMatrix w{Format::bf16, Fusion::stacked, 48, 16, {nullptr, reinterpret_cast<std::byte*>(scalars), 0}};
  const Rows<bf16> y(scalars, 3, 48);
  const auto call = [&](Rows<const bf16> x, Rows<bf16> to, EpilogueKind kind) {
    linear(ctx, x, w, Epilogue{kind, nullptr, nullptr}, to);
  };
  const auto store = EpilogueKind::store;
  CHECK_THROWS_WITH_AS(call({scalars, 3, 20}, y, store),
                       "linear on CUDA: with a matrix [48, 16] expected x [3, 16] and y [3, 48], found x [3, 20] and y "
                       "[3, 48]",
                       RequestError);
  CHECK_THROWS_AS(call({scalars, 2, 16}, y, store), RequestError);
  CHECK_THROWS_AS(call({scalars, 3, 16}, {scalars, 3, 24}, store), RequestError);
  CHECK_THROWS_WITH_AS(call({scalars, 3, 16}, {scalars, 3, 24}, EpilogueKind::swi_glu),
                       "linear on CUDA: swi_glu goes with interleaved rows of gate and up, and with nothing else",
                       RequestError);
  CHECK_THROWS_AS(call({scalars, 3, 16, 18}, y, store), RequestError);  // 36 bytes from row to row
  w.in = 18;
  CHECK_THROWS_AS(call({scalars, 3, 18, 20}, y, store), RequestError);
}
