#include "ivl/config/checkpoints.hpp"

int layers_seen_by_another_file() { return ivl::internvl3_5_1b.decoder.layers; }
