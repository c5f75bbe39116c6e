// Everything that needs no CUDA.
#pragma once
#include "ivl/config/checkpoints.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/serve/chat.hpp"
