// What the model really sees: the prompt, its tokens, and the tiles of the pictures. Needs no weights.
#include <fstream>

#include "ivl/files/json.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "ivl/image/tiles.hpp"
#include "ivl/model/checkpoint.hpp"
#include "json_answer.hpp"
#include "notes.hpp"
#include "picture_flags.hpp"
#include "program.hpp"
#include "video_flags.hpp"

using ivl::Json;

/// One JSON string a line in, one JSON array of ids a line out.
static void encode_lines(const ivl::Processor& processor, const std::string& file) {
  std::ifstream in(file);
  if (!in) ivl::fail<ivl::FileError>(file, ": cannot be opened");
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const Json text = ivl::parse_json(line, file + " line " + std::to_string(number));
    if (!text.is_string()) ivl::fail<ivl::FileError>(file, " line ", number, ": expected a JSON string");
    print_text(Json(processor.tokenizer().encode(text.get<std::string>())).dump() + "\n");
  }
}

int main(int argc, char** argv) {
  CLI::App app(
      "Prints what the model sees as one JSON object: prompt, ids, and the tile grid of each picture or frame.");
  std::string checkpoint, mmproj, question = "Describe the picture.", tiles_out, text_lines;
  std::vector<std::string> files;
  std::optional<std::string> system;
  std::optional<int> max_tiles;
  PictureFlags flags;
  VideoFlags video;
  app.add_option("--checkpoint", checkpoint,
                 "folder with config.json and tokenizer, or a GGUF file; weights are not read")
      ->required();
  app.add_option("--mmproj", mmproj, "of a GGUF file: the file of its tower and projector");
  app.add_option("--image", files, "PNG, JPEG, WebP, GIF, BMP or TIFF; repeat for several pictures");
  app.add_option("--question", question, "may place pictures itself with <image>")->capture_default_str();
  app.add_option("--system", system, "system message (default: the checkpoint's own)");
  app.add_option("--max-tiles", max_tiles,
                 "most tiles of a picture, the thumbnail not counted (default: the checkpoint's own; of a frame 1)");
  flags.add_to(app);
  flags.add_combined_to(app);
  CLI::Option* of_video = video.add_to(app);
  for (const char* of_pictures : {"--image", "--orientation", "--alpha", "--combined"})
    of_video->excludes(app.get_option(of_pictures));
  app.add_option(
      "--tiles-out", tiles_out,
      "writes every tile as uint8 [tiles, tile_px, tile_px, 3] to a safetensors file: image_0, image_1, ...");
  app.add_option("--text-lines", text_lines,
                 "instead: reads one JSON string a line, prints one JSON array of ids a line");

  return run_program(app, argc, argv, [&] {
    const auto processor = ivl::load_processor(checkpoint, mmproj);
    print_notes(checkpoint, mmproj);
    if (!text_lines.empty()) return encode_lines(processor, text_lines);

    std::vector<ivl::Picture> pictures;
    for (const std::string& file : files)
      pictures.push_back(flags.open(file, processor, processor.tile_rules(max_tiles)));
    auto about_video = nlohmann::ordered_json::object();
    if (!video.file.empty()) {
      const ChosenFrames chosen = video.choose(processor.tile_rules(max_tiles.value_or(1)));
      question.insert(0, chosen.marks(question));
      pictures = chosen.pictures;
      about_video = chosen.json();
    }
    const std::vector<ivl::Picture> at_marks = flags.at_marks(pictures);
    std::vector<int> tokens;
    for (const ivl::Picture& picture : at_marks) tokens.push_back(processor.tokens_of(picture));
    const std::string marked = ivl::with_image_marks(processor.style(), question, int(at_marks.size()));
    const auto segments = processor.segments(system, {}, marked, int(at_marks.size()));
    const std::string prompt = ivl::text_of(segments, tokens);
    std::vector<int> ids;
    if (const auto before = processor.token_before(prompt)) ids.push_back(*before);
    processor.tokenizer().encode(prompt, ids);
    nlohmann::ordered_json seen{{"prompt", prompt}, {"ids", ids}, {"images", json_pictures(pictures)}};
    seen.update(about_video);
    print_json(seen);

    if (!tiles_out.empty()) {
      ivl::ThreadPool pool;
      std::vector<ivl::Tiles> tiles;
      for (const ivl::Picture& picture : pictures) tiles.push_back(ivl::make_tiles(pool, picture));
      std::vector<ivl::NamedTensor> tensors;
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        const ivl::Tiles& t = tiles[i];
        tensors.push_back({"image_" + std::to_string(i),
                           {ivl::Dtype::u8, {t.count, t.tile_px, t.tile_px, 3}, std::as_bytes(std::span(t.pixels))}});
      }
      ivl::write_safetensors(tiles_out, tensors);
    }
  });
}
