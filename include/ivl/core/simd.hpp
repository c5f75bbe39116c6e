// The intrinsics of the instructions that core/level.hpp names. They take 0.2 s to compile, so bodies (.ipp) and what
// they are made of include this, and no interface does.
#pragma once
#include "ivl/core/level.hpp"

// g++ 12 sees 470 uninitialised variables inside this one header.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
