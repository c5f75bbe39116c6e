"""Writes include/ivl/formats/gguf_grids.hpp: the codebooks of ggml's IQ formats, read from the installed gguf package.

    python make_grids.py && clang-format-16 -i ../../include/ivl/formats/gguf_grids.hpp
"""

from importlib.metadata import version
from pathlib import Path

import numpy
from gguf import quants

OUT = Path(__file__).resolve().parents[2] / "include/ivl/formats/gguf_grids.hpp"
GRIDS = {
    "iq1_s": "IQ1_S", "iq2_s": "IQ2_S", "iq2_xs": "IQ2_XS", "iq2_xxs": "IQ2_XXS", "iq3_s": "IQ3_S", "iq3_xxs": "IQ3_XXS",
}  # fmt: skip
HEAD = """// The grids of ggml's IQ formats: the rows of values that their codes number. They are codebooks, found by their author
// in a search over real weights; no formula gives them. Written by tests/golden/make_grids.py from the Python package
// gguf %s (MIT licence, https://github.com/ggml-org/llama.cpp). They are unpacked when the program starts: the compiler
// would take half a second for them in every file.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace ivl {

namespace detail {

/// Rows of a grid, each packed into 16 bits: the first value lowest, as the number of its letter in the alphabet.
template <std::size_t width, std::size_t rows, std::size_t letters>
inline auto unpacked_grid(const std::uint16_t (&packed)[rows], const std::int8_t (&alphabet)[letters]) {
  constexpr std::size_t bits = 16 / width;
  std::array<std::array<std::int8_t, width>, rows> grid{};
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t j = 0; j < width; ++j)
      grid[row][j] = alphabet[packed[row] >> bits * j & ((1u << bits) - 1)];
  }
  return grid;
}

"""


def main() -> None:
    text, tail = HEAD % version("gguf"), "}  // namespace detail\n\n"
    for name, quant_name in GRIDS.items():
        quant = getattr(quants, quant_name)
        quant.init_grid()
        grid = quant.grid.reshape(quant.grid_shape).astype(numpy.int8)
        alphabet, width = [int(value) for value in quant.grid_map], grid.shape[1]
        letters = numpy.array([alphabet.index(value) for value in grid.flat]).reshape(grid.shape)
        packed = (letters << (16 // width * numpy.arange(width))).sum(axis=1)
        text += f"inline constexpr std::uint16_t packed_{name}_grid[] = {{{', '.join(f'{row:#06x}' for row in packed)}}};\n\n"
        tail += (
            f"inline const auto {name}_grid = detail::unpacked_grid<{width}>(detail::packed_{name}_grid, "
            f"{{{', '.join(map(str, alphabet))}}});\n"
            "\n"
        )
    OUT.write_text(text + tail + "}  // namespace ivl\n")


main()
