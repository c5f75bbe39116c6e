// Shared memory: one 256 KiB window a block, the first KiB reserved, dynamic memory first and static objects behind it.
// Every block starts with all of it 0xFF: NaN in every float format, -1 in every integer. Between objects and behind
// the last one the address sanitizer, where linked, sees poison.
#include <sys/mman.h>

#include <cstring>
#include <new>

#include "tests/simt/emulator/internal.hpp"

extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* address, std::size_t size);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
__attribute__((weak)) void* __asan_region_is_poisoned(void* begin, std::size_t size);
}

namespace simt {

class SharedWindow {
 public:
  struct Object {
    const void* declaration;
    unsigned char* address;
  };
  unsigned char* base = nullptr;
  int dynamic_bytes = 0;
  int end = reserved_bytes;  // of what is handed out, from base
  int static_bytes = 0;
  std::vector<Object> objects;
};

namespace {

constexpr int gap_bytes = 128;  // between objects, where there is a sanitizer to see it

/// Gaps count for nothing on hardware, so there the limit is wider; the other builds hold the true one.
int shared_limit() { return max_shared_bytes + (checks_addresses() ? 64 * gap_bytes : 0); }

unsigned char* new_window() {
  // Twice the size, to find an aligned half: offsets in the window are then address bits.
  void* memory =
      mmap(nullptr, 2 * window_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return reinterpret_cast<unsigned char*>((address + window_bytes - 1) / window_bytes * window_bytes);
}

std::vector<std::unique_ptr<SharedWindow>>& windows() {
  static std::vector<std::unique_ptr<SharedWindow>> pool;
  return pool;
}

bool contains(const SharedWindow& window, const volatile void* address) {
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(window.base);
  return offset < std::uintptr_t(window_bytes);
}

}  // namespace

bool checks_addresses() { return __asan_region_is_poisoned != nullptr; }

void poison_for_sanitizer(const volatile void* address, std::size_t bytes) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(address, bytes);
}

void unpoison_for_sanitizer(const volatile void* address, std::size_t bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(address, bytes);
}

SharedWindow* window_number(int index) {
  while (int(windows().size()) <= index) {
    windows().push_back(std::make_unique<SharedWindow>());
    windows().back()->base = new_window();
  }
  return windows()[std::size_t(index)].get();
}

unsigned char* base_of(const SharedWindow& window) { return window.base; }

void reset(SharedWindow& window, int dynamic_bytes) {
  if (dynamic_bytes < 0 || dynamic_bytes > shared_limit()) {
    report(Bug::launch_limit, "launch: " + std::to_string(dynamic_bytes) +
                                  " bytes of dynamic shared memory, expected at most " +
                                  std::to_string(max_shared_bytes));
  }
  unpoison_for_sanitizer(window.base, window_bytes);
  std::memset(window.base, 0xff, std::size_t(window.end));
  window.objects.clear();
  window.dynamic_bytes = dynamic_bytes;
  window.static_bytes = 0;
  window.end = reserved_bytes + dynamic_bytes;
  std::memset(window.base, 0xff, std::size_t(window.end));
  poison_for_sanitizer(window.base, reserved_bytes);
  poison_for_sanitizer(window.base + window.end, std::size_t(window_bytes - window.end));
}

unsigned char* dynamic_shared() { return current->block->window->base + reserved_bytes; }

void* static_shared(const void* declaration, int bytes, int alignment, Site at) {
  SharedWindow& window = *current->block->window;
  for (const SharedWindow::Object& object : window.objects) {
    if (object.declaration == declaration) return object.address;
  }
  const int start = (window.end + (checks_addresses() ? gap_bytes : 0) + alignment - 1) / alignment * alignment;
  window.static_bytes = (window.static_bytes + alignment - 1) / alignment * alignment + bytes;
  if (window.static_bytes > max_static_shared_bytes || window.dynamic_bytes + window.static_bytes > shared_limit()) {
    report(Bug::launch_limit,
           "static shared memory grows to " + std::to_string(window.static_bytes) + " bytes beside " +
               std::to_string(window.dynamic_bytes) + " dynamic, expected at most " +
               std::to_string(max_static_shared_bytes) + ", and together " + std::to_string(max_shared_bytes),
           at);
  }
  unsigned char* address = window.base + start;
  window.end = start + bytes;
  unpoison_for_sanitizer(address, std::size_t(bytes));
  std::memset(address, 0xff, std::size_t(bytes));
  window.objects.push_back({declaration, address});
  return address;
}

std::uint32_t shared_offset(const void* address, int bytes, Site at) {
  const SharedWindow& window = *current->block->window;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(window.base);
  const bool inside = contains(window, address) && offset >= reserved_bytes &&
                      offset + std::uintptr_t(bytes) <= std::uintptr_t(window.end);
  if (!inside) report(Bug::memory, "an address that is not in the block's shared memory", at);
  return std::uint32_t(offset);
}

void check_addressable(const volatile void* address, int bytes, Site at) {
  for (const auto& window : windows()) {
    if (window.get() != current->block->window && contains(*window, address)) {
      report(Bug::memory, "an address in another block's shared memory", at);
    }
  }
  if (__asan_region_is_poisoned && __asan_region_is_poisoned(const_cast<void*>(address), std::size_t(bytes))) {
    report(Bug::memory, "an access of " + std::to_string(bytes) + " bytes outside every object (address sanitizer)",
           at);
  }
}

}  // namespace simt
