// From a file's bytes to what the vision tower reads: decoding, tiling, normalising, and all of it (`file_values`,
// which bench/peers/preprocess.py does with Pillow and torchvision); with one thread and with all. Decoding uses one.
// The ceiling is a plain read of what the step reads and a plain write of what it writes, in memory, by the same
// threads.
//
//   bench_preprocess [--image FILE] [--max-tiles N] [--threads N] [--json]
//
// Without --image: a soft picture of 2400 x 1800, and no decoding.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ivl/core/level.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/image/tiles.hpp"

namespace {

using namespace ivl;

struct Times {
  double median_ms, min_ms;
};

template <class Body>
Times measure(Body&& body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> ms;
  body();
  for (const auto end = Clock::now() + std::chrono::seconds(2); Clock::now() < end || ms.size() < 15;) {
    const auto start = Clock::now();
    body();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(ms.begin(), ms.end());
  return {ms[ms.size() / 2], ms.front()};
}

Times move_bytes(ThreadPool& pool, std::int64_t read_bytes, std::int64_t written_bytes) {
  std::vector<std::uint64_t> from(std::size_t(read_bytes / 8), 1), to(std::size_t(written_bytes / 8));
  return measure([&] {
    const std::int64_t parts = 4 * pool.threads();
    pool.run(parts, [&](std::int64_t part) {
      const auto share = [&](std::size_t size, std::int64_t at) { return std::int64_t(size) * at / parts; };
      std::uint64_t sum = 0;
      for (std::int64_t i = share(from.size(), part); i < share(from.size(), part + 1); ++i)
        sum += from[std::size_t(i)];
      std::fill(to.begin() + share(to.size(), part), to.begin() + share(to.size(), part + 1), sum);
    });
    asm volatile("" : : "r"(to.data()) : "memory");
  });
}

/// Waves, so that a resize has something to do.
Image soft_picture(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) image.rgb.push_back(std::uint8_t((x * (c + 1) / 3 + y * y / 700) & 255));
    }
  }
  return image;
}

void report(bool json, const char* step, int threads, Times found, Times ceiling) {
  const double share = ceiling.median_ms / found.median_ms;
  if (json) {
    std::printf(
        "{\"name\": \"preprocess_%s_%d\", \"median\": %.3f, \"min\": %.3f, \"unit\": \"ms\", \"ceiling\": %.3f, "
        "\"share\": %.3f}\n",
        step, threads, found.median_ms, found.min_ms, ceiling.median_ms, share);
  } else {
    std::printf("| %-12s | %7d | %9.2f | %9.2f | %9.2f | %4.0f %% |\n", step, threads, found.median_ms, found.min_ms,
                ceiling.median_ms, 100 * share);
  }
  std::fflush(stdout);
}

void run(const std::optional<std::string>& path, int max_tiles, int most_threads, bool json) {
  std::vector<std::byte> file;
  if (path) {
    std::ifstream in(*path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    file.resize(text.size());
    std::memcpy(file.data(), text.data(), text.size());
  }
  const Image image = path ? decode_image(file, *path) : soft_picture(2400, 1800);
  const TileRules rules{.max_tiles = max_tiles};
  const Picture picture = Picture::view(image, rules);
  const TileGrid grid = picture.grid();
  const std::int64_t source_bytes = std::int64_t(image.rgb.size());
  const std::int64_t values = std::int64_t(picture.tiles()) * 3 * rules.tile_px * rules.tile_px;
  if (!json) {
    std::printf("%d x %d pixels, %d x %d tiles and %s thumbnail; code for %s\n\n", image.width, image.height,
                grid.columns, grid.rows, grid.has_thumbnail(rules) ? "a" : "no", name_of(compiled_level).data());
    std::printf("| step         | threads | median ms |    min ms |   ceiling |  share |\n");
    std::printf("|--------------|---------|-----------|-----------|-----------|--------|\n");
  }
  if (path) {
    ThreadPool one(1);
    const Times found = measure([&] { (void)decode_image(file, *path); });
    report(json, "decode", 1, found, move_bytes(one, std::int64_t(file.size()), source_bytes));
  }
  for (const int threads : {1, most_threads}) {
    ThreadPool pool(threads);
    std::vector<bf16> pixel_values(static_cast<std::size_t>(values));
    const Tiles tiles = make_tiles(pool, picture);
    Times found = measure([&] { (void)make_tiles(pool, picture); });
    report(json, "tiles", threads, found, move_bytes(pool, source_bytes, values));
    found = measure([&] { normalise(pool, tiles, {}, pixel_values.data()); });
    report(json, "normalise", threads, found, move_bytes(pool, values, 2 * values));
    found = measure([&] { make_pixel_values<bf16>(pool, picture, {}, pixel_values); });
    report(json, "pixel_values", threads, found, move_bytes(pool, source_bytes, 2 * values));
    if (path) {
      found = measure([&] {
        const Image decoded = decode_image(file, *path);
        make_pixel_values<bf16>(pool, Picture::view(decoded, rules), {}, pixel_values);
      });
      report(json, "file_values", threads, found, move_bytes(pool, std::int64_t(file.size()), 2 * values));
    }
    if (most_threads == 1) break;
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::optional<std::string> path;
  int max_tiles = 12, threads = ivl::usable_cpus();
  bool json = false;
  try {
    for (int i = 1; i < count; ++i) {
      const std::string_view flag = arguments[i];
      if (flag == "--json") {
        json = true;
      } else if (flag == "--image" && i + 1 < count) {
        path = arguments[++i];
      } else if (flag == "--max-tiles" && i + 1 < count) {
        max_tiles = std::stoi(arguments[++i]);
      } else if (flag == "--threads" && i + 1 < count) {
        threads = std::stoi(arguments[++i]);
      } else {
        std::fprintf(stderr,
                     "bench_preprocess: unknown or incomplete flag %s; expected [--image FILE] [--max-tiles N] "
                     "[--threads N] [--json]\n",
                     arguments[i]);
        return 1;
      }
    }
    run(path, max_tiles, threads, json);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_preprocess: %s\n", error.what());
    return 1;
  }
}
