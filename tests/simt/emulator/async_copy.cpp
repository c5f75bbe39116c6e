// cp.async: the copy happens as late as it may, at the wait, and until then its destination holds poison. So a missing
// wait, a source overwritten too early and a destination read too early all show as wrong values.
#include <cstring>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

void land(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    std::memset(copy.shared, 0, std::size_t(copy.bytes));
    if (copy.source_bytes > 0) {
      check_again(copy.global, copy.source_bytes, Access::read, copy.at);
      std::memcpy(copy.shared, copy.global, std::size_t(copy.source_bytes));
    }
    copy_landed(copy);
  }
}

void require_aligned(const void* address, int bytes, const char* what, Site at) {
  if (reinterpret_cast<std::uintptr_t>(address) % std::uintptr_t(bytes) != 0) {
    report(Bug::misaligned, std::string(what) + " is not aligned to " + std::to_string(bytes) + " bytes", at);
  }
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes, int source_bytes, Site at) {
  shared_offset(shared, bytes, at);
  require_aligned(shared, bytes, "cp.async: the destination", at);
  require_aligned(global, bytes, "cp.async: the source", at);
  if (source_bytes < 0 || source_bytes > bytes) {
    report(Bug::memory, "cp.async: " + std::to_string(source_bytes) + " source bytes of " + std::to_string(bytes), at);
  }
  if (source_bytes > 0) check_access(global, source_bytes, Access::read, at);
  check_access(shared, bytes, Access::write, at);
  std::memset(shared, 0xff, std::size_t(bytes));
  const Copy copy{shared, global, bytes, source_bytes, at};
  copy_issued(copy);
  current->uncommitted.push_back(copy);
}

void commit_copies(Site) {
  current->committed.push_back(std::move(current->uncommitted));
  current->uncommitted.clear();
}

void wait_copies(int groups_left, Site) {
  while (int(current->committed.size()) > groups_left) {
    land(current->committed.front());
    current->committed.pop_front();
  }
}

void wait_all_copies(Site at) {
  commit_copies(at);
  wait_copies(0, at);
}

}  // namespace simt
