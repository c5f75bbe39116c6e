#include "bench/model_cuda/machine.cuh"

ivl::bench::CheckpointTypes ivl::bench::mixtures_on_cuda() {
  return {
      {"internvl3_5_gpt_oss_20b_a4b", run_cuda<internvl3_5_gpt_oss_20b_a4b>},
      {"internvl3_5_30b_a3b", run_cuda<internvl3_5_30b_a3b>},
      {"internvl3_5_241b_a28b", run_cuda<internvl3_5_241b_a28b>},
  };
}
