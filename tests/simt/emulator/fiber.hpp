// Fibers: one stack per CUDA thread, switched by hand, so that a kernel's thread can stop in the middle of a function
// at a barrier and go on later. x86-64 switches in a dozen instructions; elsewhere ucontext does it, about ten times
// slower.
//
// The address sanitizer is told of every switch. Its functions are weak symbols here, null where it is not linked, so
// the emulator is compiled once, without instrumentation, for all builds of the kernels.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || defined(SIMT_UCONTEXT)
#include <ucontext.h>
#endif

namespace simt {

inline constexpr std::size_t stack_bytes = 256 * 1024;  // address space: only touched pages cost memory

struct Fiber {
#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  unsigned char* stack = nullptr;  // its lowest byte; the host's is learnt at the first switch away from it
  std::size_t size = 0;
  void* fake_stack = nullptr;  // the address sanitizer's
};

/// Makes `fiber` start in `entry()` on stack number `index` of a pool that lives as long as the process. `entry` must
/// not return. What ran on that stack before is forgotten.
void prepare(Fiber& fiber, int index, void (*entry)());

/// First thing to call in `entry`.
void entered_first_time();

enum class Leaving { for_a_while, for_good };
void switch_fiber(Fiber& from, Fiber& to, Leaving leaving = Leaving::for_a_while);

}  // namespace simt
