// A user's program: it prints what it was compiled for and a fact about a checkpoint.
#include <cstdio>

#include "ivl/config/checkpoints.hpp"
#include "ivl/core/level.hpp"

int layers_seen_by_another_file();

int main() {
  constexpr int layers = ivl::internvl3_5_1b.decoder.layers;
  std::printf("%s, %d layers\n", ivl::name_of(ivl::compiled_level).data(), layers);
  return layers == 28 && layers_seen_by_another_file() == layers ? 0 : 1;
}
