// Rows and other values between the host and a context's memory, for code that looks at a few of them: experiments,
// tests, examples. The engine keeps its memory in other ways.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl {

/// `size()` values in a context's memory, which copies share.
template <class Value>
class Array {
 public:
  Array() = default;
  /// Not initialised.
  template <class Context>
  Array(Context& ctx, std::int64_t size) : memory_(allocate(ctx, std::size_t(size) * sizeof(Value))), size_(size) {}
  template <class Context>
  Array(Context& ctx, std::span<const Value> values) : Array(ctx, std::int64_t(values.size())) {
    upload(ctx, memory_.data, values.data(), values.size_bytes());
  }
  Value* data() const { return reinterpret_cast<Value*>(memory_.data); }
  std::int64_t size() const { return size_; }

 private:
  Memory memory_;
  std::int64_t size_ = 0;
};

/// Rows without gaps together with their memory, which copies share: a view that owns.
template <class Scalar, int Width>
  requires(Width != dynamic)
struct OwnedRows : Rows<Scalar, Width> {
  OwnedRows() = default;
  /// Not initialised.
  template <class Context>
  OwnedRows(Context& ctx, std::int64_t count) : OwnedRows(Array<Scalar>(ctx, count * Width)) {}
  /// `values` [count, Width] of the host, each rounded to `Scalar`. Throws RequestError unless they fill whole rows.
  template <class Context>
  OwnedRows(Context& ctx, std::span<const float> values) {
    if (values.size() % Width != 0)
      fail<RequestError>("rows: expected a multiple of ", Width, " values, found ", values.size());
    std::vector<Scalar> rounded(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = round_to<Scalar>(values[i]);
    *this = OwnedRows(Array<Scalar>(ctx, std::span<const Scalar>(rounded)));
  }
  template <class Context>
  OwnedRows(Context& ctx, const std::vector<float>& values) : OwnedRows(ctx, std::span<const float>(values)) {}

  Rows<Scalar, Width> view() const { return *this; }

 private:
  explicit OwnedRows(Array<Scalar> array)
      : Rows<Scalar, Width>(array.data(), array.size() / Width), array_(std::move(array)) {}
  Array<Scalar> array_;
};

/// Rows on the host, as floats.
struct HostRows {
  std::vector<float> values;  ///< [count, width]
  std::int64_t count = 0, width = 0;

  std::span<const float> operator[](std::int64_t row) const {
    return std::span(values).subspan(std::size_t(row * width), std::size_t(width));
  }
};

template <class Value, class Context>
std::vector<Value> to_host(Context& ctx, const Value* values, std::int64_t number) {
  std::vector<Value> result(static_cast<std::size_t>(number));
  download(ctx, result.data(), values, result.size() * sizeof(Value));
  return result;
}

template <class Context, class Scalar, int Width>
HostRows to_floats(Context& ctx, Rows<Scalar, Width> rows) {
  HostRows result{{}, rows.count, rows.width()};
  result.values.reserve(std::size_t(rows.count * rows.width()));
  const auto append = [&](Scalar* from, std::int64_t number) {
    for (const auto value : to_host<std::remove_const_t<Scalar>>(ctx, from, number))
      result.values.push_back(to_float(value));
  };
  if (rows.stride == rows.width()) {
    append(rows.data, rows.count * rows.width());
  } else {
    for (std::int64_t row = 0; row < rows.count; ++row) append(rows[row], rows.width());
  }
  return result;
}

/// What a layer works in, with its memory. `Scratch::carve(carver, number)` says how much that is.
template <class Scratch>
struct OwnedScratch : Scratch {
  template <class Context>
  OwnedScratch(Context& ctx, std::int64_t number) {
    Carver measure;
    Scratch::carve(measure, number);
    memory = allocate(ctx, measure.used());
    Carver place(memory.data);
    static_cast<Scratch&>(*this) = Scratch::carve(place, number);
  }
  Memory memory;
};

}  // namespace ivl
