// Everything that needs no CUDA.
#pragma once
#include "ivl/checkpoint/convert.hpp"
#include "ivl/config/checkpoints.hpp"
#include "ivl/config/published.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/video.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/runner.hpp"
#include "ivl/serve/chat.hpp"
#include "ivl/text/channels.hpp"
