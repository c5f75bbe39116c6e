// Stands in for the toolkit's <cuda_runtime.h> when kernels are built for the emulator: the language's extensions, its
// built-ins and the few functions of the run-time library that our launch code calls, under their own names.
#pragma once
#include "tests/simt/emulator/built_ins.hpp"
#include "tests/simt/emulator/runtime_api.hpp"
