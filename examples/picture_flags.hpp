// Flags about how picture files are opened.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"

struct PictureFlags {
  std::string orientation, alpha = "drop";
  bool combined = false;

  void add_to(CLI::App& app) {
    app.add_option("--orientation", orientation,
                   "upright: pictures are turned as their Exif says; stored: they are not (default: as the folder's "
                   "own code does, upright in the HF format and stored in the GitHub format)")
        ->check(CLI::IsMember({"upright", "stored"}));
    app.add_option("--alpha", alpha, "drop: colours under transparency as they are stored; white: pictures on white")
        ->capture_default_str()
        ->check(CLI::IsMember({"drop", "white"}));
  }

  /// For programs that ask about several pictures.
  void add_combined_to(CLI::App& app) {
    app.add_flag(
        "--combined", combined,
        "several pictures of a question at one <image>, their tiles behind one another (default: a mark each)");
  }

  /// What stands at the marks of a question about these pictures.
  std::vector<ivl::Picture> at_marks(std::vector<ivl::Picture> pictures) const {
    if (!combined || pictures.size() < 2) return pictures;
    return {ivl::Picture::combined(std::move(pictures))};
  }

  ivl::DecodeOptions options(const ivl::Processor& processor) const {
    ivl::DecodeOptions options = processor.decode_options();
    if (!orientation.empty())
      options.orientation = orientation == "upright" ? ivl::Orientation::upright : ivl::Orientation::stored;
    if (alpha == "white") options.alpha = ivl::Alpha::white;
    return options;
  }

  /// A picture of a file, as the model will see it; its pixels wait in the file.
  ivl::Picture open(const std::string& file, const ivl::Processor& processor, const ivl::TileRules& rules) const {
    return ivl::Picture(ivl::PictureFile(file, options(processor)), rules);
  }
};
