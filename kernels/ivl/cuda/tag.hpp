// All of the backend lies in an inline namespace of `ivl::cuda` that names the architectures it is compiled for, such
// as sm_800_900: two libraries of one program that were compiled for different ones share no function, so that neither
// launches the other's kernels. Who writes `ivl::cuda` does not see it.
//
// Kernels themselves are hidden in what nvcc 13 makes; launchers are inline functions like any other.
#pragma once

#define IVL_CUDA_JOIN(a, b, c, d, e, f, g, h, ...) sm_##a##_##b##_##c##_##d##_##e##_##f##_##g##_##h
#define IVL_CUDA_TAG_OF(...) IVL_CUDA_JOIN(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0, 0)

// Opened as `namespace ivl::IVL_CUDA {`.
#if defined(__CUDA_ARCH_LIST__)
#define IVL_CUDA cuda::inline IVL_CUDA_TAG_OF(__CUDA_ARCH_LIST__)  // of the first eight
#else
#define IVL_CUDA cuda::inline on_host  // plain C++: choices, and the emulator
#endif
