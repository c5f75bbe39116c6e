// The bodies of resize.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/image/quads.hpp"
#include "ivl/image/resize.hpp"

namespace ivl {

namespace detail {

/// `x` as a rounded double. Compilers may fuse a product into the addition that follows it, which rounds once instead
/// of twice; they cannot see through this. Of 130 million weights tried, fusing changed none: this makes it certain.
inline double rounded(double x) {
#if defined(__x86_64__)
  asm("" : "+x"(x));
#else
  asm("" : "+m"(x));
#endif
  return x;
}

/// Keys' cubic convolution kernel with a = -0.5, multiplied out in Pillow's order.
inline double bicubic_kernel(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return rounded((rounded((a + 2) * x) - (a + 3)) * x * x) + 1;
  if (x < 2) return (rounded((rounded((x - 5) * x) + 8) * x) - 4) * a;
  return 0;
}

}  // namespace detail

IVL_INLINE BicubicAxis bicubic_axis(int source_px, int target_px) {
  const double scale = double(source_px) / target_px;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2 * filter_scale;
  const double inverse = 1 / filter_scale;

  BicubicAxis axis;
  axis.first.reserve(std::size_t(target_px));
  axis.begin.reserve(std::size_t(target_px) + 1);
  axis.begin.push_back(0);
  std::vector<double> row;
  for (int target = 0; target < target_px; ++target) {
    const double center = detail::rounded((target + 0.5) * scale);
    const int first = std::max(0, int(center - support + 0.5));
    const int last = std::min(source_px, int(center + support + 0.5));
    row.clear();
    double sum = 0;
    for (int i = first; i < last; ++i) {
      row.push_back(detail::bicubic_kernel(detail::rounded((i - center + 0.5) * inverse)));
      sum += row.back();
    }
    for (const double weight : row) {
      const double scaled = weight / sum * (1 << BicubicAxis::fraction_bits);
      axis.weights.push_back(std::int32_t(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
    axis.first.push_back(first);
    axis.begin.push_back(int(axis.weights.size()));
  }
  return axis;
}

// ---- passes --------------------------------------------------------------------------------------------------------

namespace detail {
inline namespace IVL_CPU_LEVEL {

/// What one band of the horizontal pass may hold.
inline constexpr std::int64_t band_bytes = 1 << 20;

/// An axis in quads: target pixel t weighs source quads first[t], first[t] + 1, ... with weights[begin[t]], ... up to
/// weights[begin[t + 1]]. The target is filled up to a multiple of four pixels by ones without weights.
template <class Quads>
struct QuadAxis {
  std::vector<int> first;  // [target]
  std::vector<int> begin;  // [target + 1]
  std::vector<typename Quads::Weights> weights;

  explicit QuadAxis(const BicubicAxis& axis) {
    const int target_px = int(axis.first.size());
    begin.push_back(0);
    for (int target = 0; target < target_px; ++target) {
      const int taps = axis.begin[std::size_t(target) + 1] - axis.begin[std::size_t(target)];
      const std::int32_t* q = axis.weights.data() + axis.begin[std::size_t(target)];
      const int offset = axis.first[std::size_t(target)] % 4;
      for (int at = -offset; at < taps; at += 4) {
        std::int32_t four[4];
        for (int i = 0; i < 4; ++i) four[i] = at + i >= 0 && at + i < taps ? q[at + i] : 0;
        weights.push_back(Quads::pack(four));
      }
      first.push_back(axis.first[std::size_t(target)] / 4);
      begin.push_back(int(weights.size()));
    }
    while (first.size() % 4 != 0) {
      first.push_back(0);
      begin.push_back(int(weights.size()));
    }
  }
};

/// One size that a picture is resized to.
template <class Quads>
struct ResizeTarget {
  static constexpr int lanes = Quads::lanes;
  int width, height;
  int stride;  // pixels; a multiple of what the vertical pass makes at once
  QuadAxis<Quads> across, down;

  ResizeTarget(const Image& source, PixelSize size)
      : width(size.width),
        height(size.height),
        stride(int(round_up(size.width, 4 * lanes))),
        across(bicubic_axis(source.width, size.width)),
        down(bicubic_axis(source.height, size.height)) {}
};

/// Rows [y_begin, y_end) of a target, and what the horizontal pass leaves for the vertical one: source quad rows (four
/// rows each) in blocks of `lanes` rows, [block_begin, block_end) of them.
template <class Quads>
struct ResizeBand {
  static constexpr int quads_per_block = Quads::lanes / 4;
  const ResizeTarget<Quads>& target;
  int y_begin, y_end;
  int block_begin = 0, block_end = 0;
  Buffer quads;  // [blocks * quads_per_block][3][stride][4 rows]

  ResizeBand(const ResizeTarget<Quads>& target, int y_begin, int y_end)
      : target(target), y_begin(y_begin), y_end(y_end) {
    if (y_begin == y_end) return;
    const auto& [first, begin, weights] = target.down;
    // First and last quads grow with y.
    const int last = first[std::size_t(y_end) - 1] + begin[std::size_t(y_end)] - begin[std::size_t(y_end) - 1];
    block_begin = first[std::size_t(y_begin)] / quads_per_block;
    block_end = int(ceil_div(last, quads_per_block));
    quads = Buffer(std::size_t(block_end - block_begin) * quads_per_block * std::size_t(quad_row_bytes()));
  }
  std::int64_t quad_row_bytes() const { return std::int64_t(3) * target.stride * 4; }
  std::uint8_t* quad_row(int row) const {
    return quads.as<std::uint8_t>() + (row - block_begin * quads_per_block) * quad_row_bytes();
  }
};

/// source rows [Quads::lanes * block, + Quads::lanes) -> out[ceil(width / 4)][3][lanes][4]. Rows and pixels beyond the
/// picture repeat its last ones; their weights are 0.
template <class Quads>
void quads_of_rows(const Image& source, int block, std::uint8_t* out) {
  constexpr int lanes = Quads::lanes, group_bytes = 3 * lanes * 4;
  const std::uint8_t* rows[lanes];
  for (int lane = 0; lane < lanes; ++lane) rows[lane] = source.row(std::min(block * lanes + lane, source.height - 1));

  const int groups = int(ceil_div(source.width, 4));
  const int inner = std::max(0, (source.width * 3 - 4) / 12);  // groups whose 16-byte loads stay in the row
  for (int group = 0; group < inner; ++group)
    Quads::gather(rows, std::ptrdiff_t(group) * 12, out + group * group_bytes);

  std::uint8_t edge[lanes][16] = {};
  const std::uint8_t* edge_rows[lanes];
  for (int group = inner; group < groups; ++group) {
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < 4; ++i)
        std::memcpy(edge[lane] + 3 * i, rows[lane] + 3 * std::min(4 * group + i, source.width - 1), 3);
      edge_rows[lane] = edge[lane];
    }
    Quads::gather(edge_rows, 0, out + group * group_bytes);
  }
}

/// The horizontal pass over one block of rows; `source` as quads_of_rows leaves it.
template <class Quads>
void resize_across(const std::uint8_t* source, int block, const ResizeBand<Quads>& band) {
  constexpr int lanes = Quads::lanes;
  const auto& [first, begin, weights] = band.target.across;
  std::uint8_t* out = band.quad_row(block * (lanes / 4));
  for (int x = 0; x < band.target.width; x += 4) {
    for (int colour = 0; colour < 3; ++colour) {
      typename Quads::Sum sums[4];
      for (int i = 0; i < 4; ++i) {
        sums[i] = Quads::one_half();
        const std::uint8_t* quads = source + (std::ptrdiff_t(first[std::size_t(x + i)]) * 3 + colour) * (lanes * 4);
        const int end = begin[std::size_t(x + i) + 1];
        for (int k = begin[std::size_t(x + i)]; k < end; ++k, quads += 3 * lanes * 4) {
          Quads::add(sums[i], quads, weights[std::size_t(k)]);
        }
      }
      Quads::store_quads(sums, out + (std::ptrdiff_t(colour) * band.target.stride + x) * 4, band.quad_row_bytes());
    }
  }
}

/// The vertical pass for one row and colour: out[stride] bytes; only [0, width) carry values.
template <class Quads>
void resize_down(const ResizeBand<Quads>& band, int y, int colour, std::uint8_t* out) {
  const auto& [first, begin, weights] = band.target.down;
  const std::uint8_t* column = band.quad_row(first[std::size_t(y)]) + std::ptrdiff_t(colour) * band.target.stride * 4;
  for (int x = 0; x < band.target.stride; x += 4 * Quads::lanes, column += 16 * Quads::lanes) {
    typename Quads::Sum sums[4];
    for (auto& sum : sums) sum = Quads::one_half();
    const std::uint8_t* quads = column;
    for (int k = begin[std::size_t(y)]; k < begin[std::size_t(y) + 1]; ++k, quads += band.quad_row_bytes()) {
      for (int i = 0; i < 4; ++i) Quads::add(sums[i], quads + i * Quads::lanes * 4, weights[std::size_t(k)]);
    }
    Quads::store_rows(sums, out + x);
  }
}

template <class Quads>
void resize_and_call(ThreadPool& pool, const Image& source, std::span<const PixelSize> sizes, RowCall row) {
  check_picture(source);
  std::vector<ResizeTarget<Quads>> targets;
  std::int64_t between_bytes = 0;  // of all that the horizontal pass makes
  for (const PixelSize size : sizes) {
    if (size.width < 1 || size.height < 1) {
      fail<ImageError>("resize: expected a size of at least 1 x 1, found ", size.width, " x ", size.height);
    }
    targets.emplace_back(source, size);
    between_bytes += std::int64_t(targets.back().stride) * source.height * 3;
  }

  // In bands, so that the vertical pass finds what the horizontal one made in the cache. A band repeats the horizontal
  // pass for the rows that it shares with the next one.
  const std::int64_t bands =
      std::max<std::int64_t>(ceil_div(between_bytes, band_bytes), pool.threads() == 1 ? 1 : 2 * pool.threads());
  pool.run(bands, [&](std::int64_t task) {
    std::vector<ResizeBand<Quads>> parts;
    int block_begin = source.height, block_end = 0;
    for (const auto& target : targets) {
      const auto& part =
          parts.emplace_back(target, int(target.height * task / bands), int(target.height * (task + 1) / bands));
      if (part.block_begin == part.block_end) continue;
      block_begin = std::min(block_begin, part.block_begin);
      block_end = std::max(block_end, part.block_end);
    }
    const Buffer quads(std::size_t(ceil_div(source.width, 4)) * 3 * Quads::lanes * 4);
    for (int block = block_begin; block < block_end; ++block) {
      quads_of_rows<Quads>(source, block, quads.as<std::uint8_t>());
      for (const auto& part : parts) {
        if (part.block_begin <= block && block < part.block_end) resize_across(quads.as<std::uint8_t>(), block, part);
      }
    }
    for (std::size_t index = 0; index < parts.size(); ++index) {
      const auto& part = parts[index];
      const Buffer planes(3 * std::size_t(part.target.stride));
      for (int y = part.y_begin; y < part.y_end; ++y) {
        for (int colour = 0; colour < 3; ++colour) {
          resize_down(part, y, colour, planes.as<std::uint8_t>() + std::ptrdiff_t(colour) * part.target.stride);
        }
        row.call(row.row, int(index), y, planes.as<const std::uint8_t>(), part.target.stride);
      }
    }
  });
}

}  // namespace IVL_CPU_LEVEL
}  // namespace detail

template <class Quads>
Image resize(ThreadPool& pool, const Image& source, PixelSize size) {
  Image image{size.width, size.height,
              std::vector<std::uint8_t>(std::size_t(size.width) * std::size_t(size.height) * 3)};
  resize_rows<Quads>(pool, source, std::span(&size, 1), [&](int, int y, const std::uint8_t* planes, int stride) {
    std::uint8_t* out = image.rgb.data() + std::int64_t(y) * size.width * 3;
    for (int x = 0; x < size.width; ++x) {
      for (int colour = 0; colour < 3; ++colour) out[3 * x + colour] = planes[colour * stride + x];
    }
  });
  return image;
}

#ifdef IVL_COMPILED
namespace detail {
inline namespace IVL_CPU_LEVEL {
template void resize_and_call<PlainQuads>(ThreadPool&, const Image&, std::span<const PixelSize>, RowCall);
#if defined(__AVX2__)
template void resize_and_call<Avx2Quads>(ThreadPool&, const Image&, std::span<const PixelSize>, RowCall);
#endif
#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
template void resize_and_call<VnniQuads>(ThreadPool&, const Image&, std::span<const PixelSize>, RowCall);
#endif
}  // namespace IVL_CPU_LEVEL
}  // namespace detail
template Image resize<detail::PlainQuads>(ThreadPool&, const Image&, PixelSize);
#if defined(__AVX2__)
template Image resize<detail::Avx2Quads>(ThreadPool&, const Image&, PixelSize);
#endif
#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
template Image resize<detail::VnniQuads>(ThreadPool&, const Image&, PixelSize);
#endif
#endif

}  // namespace ivl
