#include "ivl/image/picture_file.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "ivl/image/tiles.hpp"
#include "tests/image/decoding.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using test::decoded_folder;

TEST_CASE("a picture in a file is the picture that the file holds, upright or not") {
  ThreadPool pool(1);
  const TileRules rules{.tile_px = 8, .max_tiles = 6};
  for (const Orientation orientation : {Orientation::stored, Orientation::upright}) {
    const DecodeOptions options{.orientation = orientation};
    const auto path = decoded_folder / "exif_ii_6.jpg";
    const Picture waiting(PictureFile(path, options), rules);
    const Picture decoded(read_image(path, options), rules);
    CHECK(waiting.size().width == (orientation == Orientation::stored ? 24 : 16));
    CHECK(waiting.grid() == decoded.grid());
    CHECK(waiting.tiles() == decoded.tiles());
    CHECK(*waiting.image() == *decoded.image());
    CHECK(make_tiles(pool, waiting).pixels == make_tiles(pool, decoded).pixels);
    CHECK(waiting.image() != waiting.image());  // nobody keeps the pixels
  }
}

TEST_CASE("keys of pictures in files differ with the bytes, the options and the rules, and with nothing else") {
  const test::TemporaryFolder folder;
  const auto path = decoded_folder / "rgba.png";
  std::filesystem::copy_file(path, folder.path() / "copy.png");
  const auto key = [](const std::filesystem::path& file, const DecodeOptions& options = {},
                      const TileRules& rules = {}) { return key_of(Picture(PictureFile(file, options), rules)); };
  CHECK(key(path) == key(path));
  CHECK(key(path) == key(folder.path() / "copy.png"));
  CHECK(key(path) != key(decoded_folder / "rgba_interlaced.png"));
  CHECK(key(path) != key(path, {.orientation = Orientation::upright}));
  CHECK(key(path) != key(path, {.alpha = Alpha::white}));
  CHECK(key(path) != key(path, {}, {.max_tiles = 2}));
  CHECK(key(path) != key_of(Picture(read_image(path), {})));
}

TEST_CASE("a picture whose file is damaged is refused at once, and one that changes or goes when it is decoded") {
  const test::TemporaryFolder folder;
  const auto bytes = test::bytes_of_file(decoded_folder / "rgba.png");
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto file = folder.write("x.png", text.substr(0, text.size() / 2));
  const std::string cut = test::error_of<ImageError>([&] { PictureFile{file}; });
  CHECK(cut.starts_with(file.string() + ": truncated"));
  CHECK(test::error_of<FileError>([&] {
          PictureFile{folder.path() / "none.png"};
        }).ends_with("No such file or directory"));

  folder.write("x.png", text);
  const Picture picture(PictureFile{file}, {});
  CHECK(picture.image()->width == 13);
  std::string other = text;
  other[other.size() - 1] ^= 1;  // of a checksum that nobody looks at: still the file has changed
  folder.write("x.png", other);
  CHECK(test::error_of<FileError>([&] { (void)picture.image(); }) ==
        file.string() + ": expected the picture that was opened, found another: the file has changed since");
  folder.write("x.png", text);
  CHECK(picture.image()->width == 13);
  std::filesystem::remove(file);
  CHECK(test::error_of<FileError>([&] { (void)picture.image(); }) ==
        file.string() + ": cannot read the image: No such file or directory");
}

}  // namespace
