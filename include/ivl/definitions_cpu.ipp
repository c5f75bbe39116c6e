// The bodies of cpu/: the kernels (definitions.ipp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions_cpu.ipp: every file of the program defines IVL_COMPILED, as ivl::compiled does"
#endif
#include "ivl/cpu/attention.ipp"
#include "ivl/cpu/linear.ipp"
#include "ivl/cpu/memory.ipp"
#include "ivl/cpu/moe.ipp"
#include "ivl/cpu/move.ipp"
#include "ivl/cpu/norm.ipp"
#include "ivl/cpu/picture.ipp"
#include "ivl/cpu/place.ipp"
#include "ivl/cpu/reduce.ipp"
#include "ivl/cpu/rope.ipp"
#include "ivl/cpu/sample.ipp"
