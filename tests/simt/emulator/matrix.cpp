// ldmatrix and mma.sync: the fragment maps of the PTX ISA, sections "ldmatrix" and "mma" (m16n8k16 for .bf16 and .f16,
// m16n8k32 for .s8). A lane's group is lane / 4, its place in the group lane % 4.
#include <algorithm>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

constexpr unsigned whole_warp = 0xffffffffu;

struct LoadArgument {
  std::uint32_t* fragment;
  int matrices;
  bool transposed;
  const unsigned char* row;
};

/// Rows of 16 bytes: eight of them fill the 32 banks once, if they all lie in different ones.
void count_bank_conflicts(const Round& round, int matrix) {
  int rows_in[8] = {}, most = 0;
  for (int r = 0; r < 8; ++r) {
    const auto address =
        reinterpret_cast<std::uintptr_t>(static_cast<LoadArgument*>(round.arguments[8 * matrix + r])->row);
    most = std::max(most, ++rows_in[address / 16 % 8]);
  }
  stats().bank_conflicts += most - 1;
}

void load_for_all(Round& round) {
  const auto& first = *static_cast<LoadArgument*>(round.arguments[0]);
  ++stats().ldmatrix_calls;
  for (int m = 0; m < first.matrices; ++m) {
    count_bank_conflicts(round, m);
    const auto element = [&](int row, int column) {
      std::uint16_t value;
      std::memcpy(&value, static_cast<LoadArgument*>(round.arguments[8 * m + row])->row + 2 * column, 2);
      return std::uint32_t(value);
    };
    for (int lane = 0; lane < 32; ++lane) {
      const int i = lane / 4, j = 2 * (lane % 4);
      const std::uint32_t low = first.transposed ? element(j, i) : element(i, j);
      const std::uint32_t high = first.transposed ? element(j + 1, i) : element(i, j + 1);
      static_cast<LoadArgument*>(round.arguments[lane])->fragment[m] = low | high << 16;
    }
  }
}

struct MultiplyArgument {
  Operands operands;
  void* accumulator;
  const std::uint32_t *a, *b;
};

float half_of(std::uint32_t word, int which, Operands operands) {
  const auto bits = std::uint16_t(word >> 16 * which);
  return operands == Operands::bf16 ? ivl::to_float(ivl::bf16{bits}) : ivl::to_float(ivl::half{bits});
}

/// A[16][K] and B[K][8], K = 16 or 32, from the fragments of all lanes; `E` elements a register.
template <class Value, int K, class Element>
void gather(const Round& round, Value (&a)[16][K], Value (&b)[K][8], const Element& element) {
  constexpr int E = K / 8;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& argument = *static_cast<MultiplyArgument*>(round.arguments[lane]);
    const int group = lane / 4, place = lane % 4;
    for (int reg = 0; reg < 4; ++reg) {
      for (int e = 0; e < E; ++e)
        a[group + 8 * (reg % 2)][E * place + e + K / 2 * (reg / 2)] = element(argument.a[reg], e);
    }
    for (int reg = 0; reg < 2; ++reg) {
      for (int e = 0; e < E; ++e) b[E * place + e + K / 2 * reg][group] = element(argument.b[reg], e);
    }
  }
}

template <class Value, int K>
void accumulate(const Round& round, const Value (&a)[16][K], const Value (&b)[K][8]) {
  Value sums[16][8] = {};
  for (int row = 0; row < 16; ++row) {  // in this order of loops the compiler makes vectors of columns
    for (int k = 0; k < K; ++k) {
      for (int column = 0; column < 8; ++column) sums[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* accumulator = static_cast<Value*>(static_cast<MultiplyArgument*>(round.arguments[lane])->accumulator);
    for (int i = 0; i < 4; ++i) accumulator[i] += sums[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
  }
}

void multiply_for_all(Round& round) {
  const Operands operands = static_cast<MultiplyArgument*>(round.arguments[0])->operands;
  if (operands == Operands::s8) {
    int a[16][32], b[32][8];
    gather(round, a, b, [](std::uint32_t word, int e) { return int(std::int8_t(word >> 8 * e)); });
    accumulate(round, a, b);
  } else {
    float a[16][16], b[16][8];
    gather(round, a, b, [operands](std::uint32_t word, int e) { return half_of(word, e, operands); });
    accumulate(round, a, b);
  }
}

}  // namespace

void load_matrices(std::uint32_t* fragment, int matrices, bool transposed, const void* row, Site at) {
  // Lanes beyond 8 * matrices give an address too, which hardware ignores.
  if (current->lane < 8 * matrices) {
    if (shared_offset(row, 16, at) % 16 != 0) report(Bug::misaligned, "ldmatrix: a row is not aligned to 16 bytes", at);
    check_access(row, 16, Access::read, at);
  }
  LoadArgument argument{fragment, matrices, transposed, static_cast<const unsigned char*>(row)};
  static constexpr const char* names[2][5] = {{"", "ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"},
                                              {"", "ldmatrix.x1.trans", "ldmatrix.x2.trans", "", "ldmatrix.x4.trans"}};
  collective(whole_warp, names[transposed][matrices], Together::same_line, &argument, load_for_all, at);
}

void multiply_matrices(Operands operands, void* accumulator, const std::uint32_t* a, const std::uint32_t* b, Site at) {
  MultiplyArgument argument{operands, accumulator, a, b};
  static constexpr const char* names[] = {"mma.m16n8k16.bf16", "mma.m16n8k16.f16", "mma.m16n8k32.s8"};
  collective(whole_warp, names[int(operands)], Together::same_line, &argument, multiply_for_all, at);
}

}  // namespace simt
