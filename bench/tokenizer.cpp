// bench_tokenizer --tokenizer FOLDER [--text FILE...] [--code FILE...]: how fast one core loads a tokenizer, encodes
// English text and code, and decodes. The UTF-8 check is the ceiling: every encoder looks at each byte at least once.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"

namespace {

namespace fs = std::filesystem;

struct Timing {
  double median_s, noise;  // noise: half the spread of the middle half, over the median
};

template <class Body>
Timing measure(Body&& body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  body();
  for (const auto end = Clock::now() + std::chrono::seconds(2); Clock::now() < end || seconds.size() < 9;) {
    const auto start = Clock::now();
    body();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const auto quantile = [&](double q) { return seconds[std::size_t(q * double(seconds.size() - 1))]; };
  return {quantile(0.5), (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5)};
}

std::string read_all(const std::vector<std::string>& paths, const std::string& ending) {
  std::string text;
  for (const fs::path path : paths) {
    if (!fs::is_directory(path)) {
      text += ivl::detail::read_text(path);
      continue;
    }
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && entry.path().extension() == ending) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) text += ivl::detail::read_text(file);
  }
  return text;
}

void report(const char* name, const ivl::Tokenizer& tokenizer, const std::string& text) {
  std::vector<int> ids;
  const Timing encode = measure([&] {
    ids.clear();
    tokenizer.encode(text, ids);
  });
  volatile std::size_t sink = 0;  // so that no result is thrown away
  const Timing decode = measure([&] { sink = tokenizer.decode(ids).size(); });
  const Timing check = measure([&] { sink = ivl::is_utf8(text); });
  const double tokens = double(ids.size()), bytes = double(text.size());
  std::printf("| %-7s | %8.0f | %7.0f | %7.2f | %4.1f %% | %8.0f | %11.0f | %7.2f | %4.1f %% |\n", name, bytes / 1e3,
              tokens / 1e3, tokens / encode.median_s / 1e6, 100 * encode.noise, bytes / encode.median_s / 1e6,
              bytes / check.median_s / 1e6, tokens / decode.median_s / 1e6, 100 * decode.noise);
}

}  // namespace

int main(int count, char** arguments) {
  std::string folder;
  std::vector<std::string> text{"README.md", "docs"}, code{"include"};
  CLI::App app("Speed of the tokenizer on one core");
  app.add_option("--tokenizer", folder, "folder with tokenizer.json")->required();
  app.add_option("--text", text, "files of English text, or folders of .md; from a checkout: README.md and docs");
  app.add_option("--code", code, "files of code, or folders of .hpp; from a checkout: include");
  CLI11_PARSE(app, count, arguments);
  try {
    const Timing load = measure([&] { (void)ivl::Tokenizer::from_folder(folder); });
    const ivl::Tokenizer tokenizer = ivl::Tokenizer::from_folder(folder);
    std::printf("%s: %d tokens, loads in %.0f ms (noise %.1f %%)\n\n", folder.c_str(), tokenizer.size(),
                1e3 * load.median_s, 100 * load.noise);
    std::printf(
        "|         |     text |  tokens |  encode |        |   encode | UTF-8 check |  decode |        |\n"
        "|         |       kB |       k |     M/s |  noise |     MB/s |        MB/s |     M/s |  noise |\n"
        "|---------|----------|---------|---------|--------|----------|-------------|---------|--------|\n");
    report("English", tokenizer, read_all(text, ".md"));
    report("code", tokenizer, read_all(code, ".hpp"));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_tokenizer: %s\n", error.what());
    return 1;
  }
}
