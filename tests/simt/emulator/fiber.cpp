// Fibers, see fiber.hpp: the stack pool, the switch, and what the address sanitizer must be told.
#include "tests/simt/emulator/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old,
                                                           std::size_t* size_old);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
}

#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
// void simt_switch(void** save_stack_pointer, void* stack_pointer): keeps what the System V ABI says a callee keeps.
asm(R"(
.text
.globl simt_switch
.hidden simt_switch
.type simt_switch, @function
.p2align 4
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");
extern "C" void simt_switch(void** save_stack_pointer, void* stack_pointer);
#endif

namespace simt {
namespace {

constexpr std::size_t guard_bytes = 4096;  // below each stack: an overflow faults instead of reaching a neighbour

unsigned char* stack_number(int index) {
  static std::vector<unsigned char*> pool;
  while (int(pool.size()) <= index) {
    void* memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, guard_bytes, PROT_NONE);
    pool.push_back(static_cast<unsigned char*>(memory) + guard_bytes);
  }
  return pool[std::size_t(index)];
}

Fiber* came_from = nullptr;

void finish_switch(void* fake_stack) {
  if (!__sanitizer_finish_switch_fiber) return;
  const void* bottom;
  std::size_t size;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
  if (came_from->stack == nullptr) {
    came_from->stack = static_cast<unsigned char*>(const_cast<void*>(bottom));
    came_from->size = size;
  }
}

}  // namespace

void prepare(Fiber& fiber, int index, void (*entry)()) {
  fiber.stack = stack_number(index);
  fiber.size = stack_bytes;
  fiber.fake_stack = nullptr;
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(fiber.stack, fiber.size);
#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
  // Different tops in different cache sets: page-aligned ones would all alias.
  auto* top = reinterpret_cast<void**>(fiber.stack + fiber.size - 64 * std::size_t(1 + index * 5 % 61));
  *--top = nullptr;  // where entry() would return to; also puts the stack at the alignment a call leaves
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = fiber.size;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void entered_first_time() { finish_switch(nullptr); }

void switch_fiber(Fiber& from, Fiber& to, Leaving leaving) {
  came_from = &from;
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(leaving == Leaving::for_good ? nullptr : &from.fake_stack, to.stack, to.size);
  }
#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
  simt_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
  finish_switch(from.fake_stack);
}

}  // namespace simt
