// Atomics: one after the other, in the order in which threads come. Floating-point minima do not exist, as on hardware.
#include <algorithm>
#include <type_traits>

#include "tests/simt/emulator/internal.hpp"

namespace simt {

template <class T>
T atomic(T* address, T operand, Atomic kind, Site at) {
  check_access(address, sizeof(T), Access::atomic, at);
  touch_relaxed(address);
  const T old = *address;
  made_progress();
  switch (kind) {
    case Atomic::add:
      *address = old + operand;
      break;
    case Atomic::min:
      *address = std::min(old, operand);
      break;
    case Atomic::max:
      *address = std::max(old, operand);
      break;
    case Atomic::exchange:
      *address = operand;
      break;
    case Atomic::bit_and:
      if constexpr (std::is_integral_v<T>) *address = old & operand;
      break;
    case Atomic::bit_or:
      if constexpr (std::is_integral_v<T>) *address = old | operand;
      break;
  }
  return old;
}

template <class T>
T compare_and_swap(T* address, T expected, T desired, Site at) {
  check_access(address, sizeof(T), Access::atomic, at);
  touch_relaxed(address);
  const T old = *address;
  if (old == expected) {
    *address = desired;
    made_progress();
  }
  return old;
}

unsigned load_acquire(const unsigned* global, Site at) {
  poll(at);
  check_access(global, sizeof *global, Access::atomic_read, at);
  obtain(global);
  return *global;
}

void store_release(unsigned* global, unsigned value, Site at) {
  check_access(global, sizeof *global, Access::atomic, at);
  publish(global, true);
  *global = value;
  made_progress();
  give_way();
}

unsigned add_release(unsigned* global, unsigned value, Site at) {
  const unsigned old = atomic(global, value, Atomic::add, at);
  publish(global, false);
  give_way();
  return old;
}

unsigned add_acquire_release(unsigned* global, unsigned value, Site at) {
  const unsigned old = atomic(global, value, Atomic::add, at);
  obtain(global);
  publish(global, false);
  give_way();
  return old;
}

template int atomic(int*, int, Atomic, Site);
template unsigned atomic(unsigned*, unsigned, Atomic, Site);
template unsigned long long atomic(unsigned long long*, unsigned long long, Atomic, Site);
template float atomic(float*, float, Atomic, Site);
template double atomic(double*, double, Atomic, Site);
template int compare_and_swap(int*, int, int, Site);
template unsigned compare_and_swap(unsigned*, unsigned, unsigned, Site);
template unsigned long long compare_and_swap(unsigned long long*, unsigned long long, unsigned long long, Site);

}  // namespace simt
