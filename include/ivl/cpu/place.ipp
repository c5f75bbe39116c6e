// The bodies of place.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/int8_codes.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/cpu/panel_choice.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

namespace detail {

IVL_INLINE PlacedAs panels_in(const Context& ctx) {
  return ctx.numbers() == Numbers::int8 ? int8_panels_for : panels_for;
}

IVL_INLINE void note_exact_formats(Context& ctx, const PlacedMatrix& w) {
  static_assert(format_count <= 64);
  if (ctx.numbers() == Numbers::exact) return;
  for (int i = 0; i < w.strip_count; ++i) {
    const Format format = w.strips[std::size_t(i)].format;
    if (!takes_int8(format)) ctx.exact_formats |= std::uint64_t(1) << int(format);
  }
}

/// The columns of one panel of a strip. `parts`: those of the strip.
inline PanelColumns columns_of(std::span<const SourceMatrix> parts, bool interleaved, std::int64_t panel) {
  PanelColumns columns;
  for (std::size_t c = 0; c < panel_columns; ++c) {
    std::int64_t row = (interleaved ? panel / 2 : panel) * panel_columns + std::int64_t(c);
    std::size_t part = interleaved ? std::size_t(panel % 2) : 0;
    while (!interleaved && part < parts.size() && row >= parts[part].out) row -= parts[part++].out;
    if (part == parts.size() || row >= parts[part].out) continue;
    columns.sources[c] = &parts[part];
    columns.rows[c] = row;
  }
  return columns;
}

inline void pack(const PanelColumns& columns, Format format, std::int64_t first, std::int64_t number,
                 std::byte* panel) {
  with_panels(format, [&](auto tag) { PanelFormat<decltype(tag)>::pack(columns, first, number, panel); });
}

/// Whole columns of any formats as floats.
inline void pack_as_floats(const PanelColumns& columns, std::int64_t depth, std::byte* panel) {
  std::vector<float> row(static_cast<std::size_t>(depth));
  auto* const to = reinterpret_cast<float*>(panel);
  for (std::size_t c = 0; c < panel_columns; ++c) {
    if (columns.sources[c])
      dequantise_row(*columns.sources[c], columns.rows[c], row.data());
    else
      std::ranges::fill(row, 0.0f);
    for (std::size_t k = 0; k < row.size(); ++k) to[k * panel_columns + c] = row[k];
  }
}

/// Columns of any formats as int8: those that a file has so as they are, others with a scale for every int8_block of k.
/// `first`: a multiple of that.
inline void pack_as_int8(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
  using Panel = PanelFormat<I8Rows<float>>;
  static_assert(Panel::block == int8_block && Panel::group == int8_block);
  PanelColumns stored = columns;
  for (const SourceMatrix*& source : stored.sources) {
    if (source && source->format != Format::i8_rows) source = nullptr;
  }
  Panel::pack(stored, first, number, panel);
  std::vector<float> row(static_cast<std::size_t>(number));
  for (std::size_t c = 0; c < panel_columns; ++c) {
    if (!columns.sources[c] || stored.sources[c]) continue;
    dequantise_row(columns.sources[c]->inputs(first, number), columns.rows[c], row.data());
    for (std::int64_t k = 0; k < number; k += int8_block) {
      std::int8_t codes[int8_block];
      const float scale = quantise_block(row.data() + k, std::min<std::int64_t>(int8_block, number - k), codes);
      Panel::CodeScales::put_scale(scale, c, panel + Panel::scales_at(first + k));
      for (int i = 0; i < int8_block; i += Panel::step) {
        Panel::CodeChunks::put(reinterpret_cast<const std::uint8_t*>(codes) + i, c,
                               panel + Panel::chunk_at(first + k + i));
      }
    }
  }
}

/// Whether a file holds one k of all rows together, so that it is read along the rows.
inline bool inputs_first(const SourceMatrix& part) {
  return part.planes[0].to_next_input > part.planes[0].to_next_output;
}

IVL_INLINE void place_strips(Context& ctx, MatrixOutline& outline, int experts, std::span<const SourceMatrix> parts) {
  PlacedMatrix& w = outline.placed;
  const std::size_t of_each = parts.size() / std::size_t(experts);
  for (std::size_t i = 0; i < std::size_t(w.strip_count); ++i) {
    Strip& strip = w.strips[i];
    const std::int64_t panels = panels_of(w, strip), stride = panel_bytes(strip.format, w.in);
    strip.bytes = panels * stride;
    strip.memory = allocate(ctx, std::size_t(experts * strip.bytes) + read_behind(strip.format));
    const auto [first_part, part_count] = outline.parts[i];
    const bool interleaved = w.fusion == Fusion::interleaved && !w.split();
    const auto pack_some = [&, first_part = first_part, part_count = part_count](
                               std::int64_t expert, std::int64_t panel, std::int64_t first, std::int64_t number) {
      const auto of_strip =
          parts.subspan(std::size_t(expert) * of_each + std::size_t(first_part), std::size_t(part_count));
      const PanelColumns columns = columns_of(of_strip, interleaved, panel);
      std::byte* const to = strip.memory.data + expert * strip.bytes + panel * stride;
      const bool as_stored =
          std::ranges::all_of(of_strip, [&](const SourceMatrix& part) { return part.format == strip.format; });
      if (as_stored)
        pack(columns, strip.format, first, number, to);
      else if (strip.format == Format::i8_rows)
        pack_as_int8(columns, first, number, to);
      else
        pack_as_floats(columns, w.in, to);
    };
    if (inputs_first(parts[std::size_t(first_part)])) {
      const std::int64_t block = round_up(64, panel_group(strip.format)), blocks = ceil_div(w.in, block);
      ctx.pool.run(experts * blocks, [&](std::int64_t task) {
        const std::int64_t first = task % blocks * block;
        for (std::int64_t panel = 0; panel < panels; ++panel)
          pack_some(task / blocks, panel, first, std::min(block, w.in - first));
      });
    } else {
      ctx.pool.run(experts * panels, [&](std::int64_t task) { pack_some(task / panels, task % panels, 0, w.in); });
    }
  }
}

}  // namespace detail

IVL_INLINE PlacedMatrix place_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion) {
  MatrixOutline outline = outline_matrix(parts, fusion, detail::panels_in(ctx));
  detail::place_strips(ctx, outline, 1, parts);
  detail::note_exact_formats(ctx, outline.placed);
  return outline.placed;
}

IVL_INLINE PlacedMatrix place_exact_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion) {
  MatrixOutline outline = outline_matrix(parts, fusion, detail::panels_for);
  detail::place_strips(ctx, outline, 1, parts);
  return outline.placed;
}

IVL_INLINE std::string exact_formats(const Context& ctx) {
  std::string names;
  for (std::size_t i = 0; i < format_count; ++i) {
    if (ctx.exact_formats >> i & 1) names += (names.empty() ? "" : ", ") + std::string(name_of(Format(i)));
  }
  return names;
}

IVL_INLINE std::int64_t placed_bytes(Format format, std::int64_t out, std::int64_t in) {
  return ceil_div(out, panel_columns) * detail::panel_bytes(detail::panels_for(format), in);
}

IVL_INLINE PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts) {
  PlacedVector vector{vector_width(parts), {}};
  vector.memory = allocate(ctx, std::size_t(vector.width) * sizeof(float));
  join_as_floats(parts, reinterpret_cast<float*>(vector.memory.data));
  return vector;
}

IVL_INLINE PlacedTable place_table(Context& ctx, const SourceMatrix& rows) {
  check_numbers(rows);
  const std::int64_t bytes = packed_planes(rows.format, rows.out, rows.in).total;
  PlacedTable table{rows.format, rows.out, rows.in, allocate(ctx, std::size_t(bytes))};
  each_packed_piece(rows, [&](std::int64_t to, const std::byte* from, std::int64_t number) {
    upload(ctx, table.memory.data + to, from, std::size_t(number));
  });
  return table;
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
