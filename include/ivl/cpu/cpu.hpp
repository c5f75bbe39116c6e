// The CPU backend: everything a model needs from it.
#pragma once
#include "ivl/cpu/attention.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/linear.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/cpu/moe.hpp"
#include "ivl/cpu/move.hpp"
#include "ivl/cpu/norm.hpp"
#include "ivl/cpu/picture.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/cpu/replay.hpp"
#include "ivl/cpu/rope.hpp"
#include "ivl/cpu/sample.hpp"
