// A user's program: it prints what it was compiled for, a fact about a checkpoint and the size of a JPEG.
#include <cstdio>

#include "ivl/config/checkpoints.hpp"
#include "ivl/core/level.hpp"
#include "ivl/image/decode.hpp"

int layers_seen_by_another_file();

int main(int, char** arguments) {
  constexpr int layers = ivl::internvl3_5_1b.decoder.layers;
  const ivl::Image picture = ivl::read_image(arguments[1]);
  std::printf("%s, %d layers, %d x %d pixels\n", ivl::name_of(ivl::compiled_level).data(), layers, picture.width,
              picture.height);
  return layers == 28 && layers_seen_by_another_file() == layers ? 0 : 1;
}
