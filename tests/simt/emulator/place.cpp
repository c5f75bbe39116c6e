// Places in the source, and names of functions, for messages. addr2line, which comes with the compiler, knows them.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

constexpr Place site_bit = Place(1) << 63;

std::vector<Site>& sites() {
  static std::vector<Site> all;
  return all;
}

/// What it says of an address, its first line.
std::string ask_addr2line(const char* options, std::uintptr_t address) {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(address), &info)) return "?";
  char command[1200];
  std::snprintf(command, sizeof command, "addr2line %s -e '%s' %llx 2>/dev/null", options, info.dli_fname,
                static_cast<unsigned long long>(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase)));
  char line[4000] = "?";
  if (FILE* answer = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, answer)) std::strcpy(line, "?");
    pclose(answer);
  }
  line[std::strcspn(line, " \n")] = '\0';
  return line;
}

}  // namespace

Place place_of(Site at) {
  for (std::size_t i = sites().size(); i-- > 0;) {
    if (sites()[i].line() == at.line() && sites()[i].file_name() == at.file_name()) return site_bit | i;
  }
  sites().push_back(at);
  return site_bit | (sites().size() - 1);
}

std::string text_of_place(Place place) {
  if (place & site_bit) return text_of(sites()[std::size_t(place & ~site_bit)]);
  static std::map<Place, std::string> known;  // each question starts a process
  std::string& text = known[place];
  if (text.empty()) text = ask_addr2line("-s", std::uintptr_t(place) - 1);  // of the call, not behind it
  return text;
}

std::string function_at(const void* code) { return ask_addr2line("-f", reinterpret_cast<std::uintptr_t>(code)); }

}  // namespace simt
