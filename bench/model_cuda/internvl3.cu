#include "bench/model_cuda/machine.cuh"

ivl::bench::CheckpointTypes ivl::bench::internvl3_on_cuda() {
  return {
      {"internvl3_1b", run_cuda<internvl3_1b>},   {"internvl3_2b", run_cuda<internvl3_2b>},
      {"internvl3_8b", run_cuda<internvl3_8b>},   {"internvl3_9b", run_cuda<internvl3_9b>},
      {"internvl3_14b", run_cuda<internvl3_14b>}, {"internvl3_38b", run_cuda<internvl3_38b>},
      {"internvl3_78b", run_cuda<internvl3_78b>},
  };
}
