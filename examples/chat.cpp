// A conversation in the terminal.
#include <iostream>

#include "command_line.hpp"
#include "ivl/image/decode.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Chats about pictures. A line is a question; /image FILE adds a picture to the next one; /quit or end of input "
      "ends.");
  ModelFlags model;
  SamplingFlags sampling;
  bool stats = false;
  model.add_to(app);
  sampling.add_to(app);
  app.add_flag("--stats", stats, "print where the time of each answer went");
  CLI11_PARSE(app, argc, argv);

  return run_example([&] {
    const ivl::AnyModel opened = open_model(model);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    std::vector<ivl::Image> pictures;
    std::string line;
    while (std::fprintf(stderr, "> "), std::getline(std::cin, line)) {
      // A bad picture or question costs that turn only.
      try {
        if (line == "/quit") break;
        if (line.empty()) continue;
        if (const std::string_view command = "/image "; line.starts_with(command)) {
          pictures.push_back(ivl::read_image(line.substr(command.size())));
          const ivl::TileGrid grid = ivl::Picture::view(pictures.back(), chat.tile_rules()).grid();
          std::fprintf(stderr, "%d x %d, %d x %d tiles\n", pictures.back().width, pictures.back().height, grid.columns,
                       grid.rows);
          continue;
        }
        if (line.starts_with('/'))
          ivl::fail<ivl::RequestError>("expected /image FILE, /quit or a question, found ", line);
        AnswerPrinter printer(sampling.separate_channels);
        chat.ask(line, pictures, sampling.options(), [&](std::string_view text) { printer.print(text); });
        printer.finish();
        pictures.clear();
        if (stats) print_statistics(chat.statistics());
      } catch (const ivl::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
      }
    }
  });
}
