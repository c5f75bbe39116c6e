// Options, statistics, and how places are written in messages.
#include <cstring>

#include "tests/simt/emulator/internal.hpp"

namespace simt {

Options& options() {
  static Options value;
  return value;
}

Stats& stats() {
  static Stats value;
  return value;
}

const char* name_of(Order order) {
  switch (order) {
    case Order::fair:
      return "fair";
    case Order::greedy:
      return "greedy";
    case Order::reverse:
      return "reverse";
    case Order::random:
      return "random";
  }
  return "?";
}

std::string text_of(uint3 index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

std::string text_of(Site at) {
  const char* slash = std::strrchr(at.file_name(), '/');
  return std::string(slash ? slash + 1 : at.file_name()) + ":" + std::to_string(at.line());
}

std::string Thread::name() const { return "thread " + text_of(index) + " of block " + text_of(block->index); }

}  // namespace simt
