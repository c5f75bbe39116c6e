#include "bench/model_cuda/machine.cuh"

ivl::bench::CheckpointTypes ivl::bench::internvl3_5_on_cuda() {
  return {
      {"drawn_scenes", run_cuda<drawn_scenes>},       {"internvl3_5_1b", run_cuda<internvl3_5_1b>},
      {"internvl3_5_2b", run_cuda<internvl3_5_2b>},   {"internvl3_5_4b", run_cuda<internvl3_5_4b>},
      {"internvl3_5_8b", run_cuda<internvl3_5_8b>},   {"internvl3_5_14b", run_cuda<internvl3_5_14b>},
      {"internvl3_5_38b", run_cuda<internvl3_5_38b>},
  };
}

void ivl::bench::run_on_cuda(const std::string& checkpoint_type, const Options& options) {
  CheckpointTypes types = internvl3_5_on_cuda();
  types.merge(internvl3_on_cuda());
  types.merge(mixtures_on_cuda());
  run_type(types, checkpoint_type, options);
}
