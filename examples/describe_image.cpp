// A picture (or several) and a question in, a streamed answer out.
#include "command_line.hpp"
#include "ivl/image/decode.hpp"

int main(int argc, char** argv) {
  CLI::App app("Answers a question about pictures.");
  ModelFlags model;
  SamplingFlags sampling;
  std::vector<std::string> images;
  std::string question = "Describe the picture.";
  bool stats = false;
  model.add_to(app);
  app.add_option("--image", images, "PNG or JPEG; repeat for several pictures");
  app.add_option("--question", question, "may place pictures itself with <image>")->capture_default_str();
  sampling.add_to(app);
  app.add_flag("--stats", stats, "print where the time went");
  CLI11_PARSE(app, argc, argv);

  return run_example([&] {
    std::vector<ivl::Image> pictures;
    for (const std::string& file : images) pictures.push_back(ivl::read_image(file));
    const ivl::AnyModel opened = open_model(model);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const ivl::TileGrid grid = ivl::Picture::view(pictures[i], chat.tile_rules()).grid();
      std::fprintf(stderr, "%s: %d x %d, %d x %d tiles\n", images[i].c_str(), pictures[i].width, pictures[i].height,
                   grid.columns, grid.rows);
    }
    AnswerPrinter printer(sampling.separate_channels);
    chat.ask(question, pictures, sampling.options(), [&](std::string_view text) { printer.print(text); });
    printer.finish();
    if (stats) print_statistics(chat.statistics());
  });
}
