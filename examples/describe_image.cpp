// A picture (or several) and a question in, a streamed answer out.
#include "command_line.hpp"

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

  return run_program(app, argc, argv, [&] {
    StatusLine status;
    const ivl::AnyModel opened = open_model(model, status);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    std::vector<ivl::Picture> pictures;
    for (const std::string& file : images) {
      pictures.push_back(open_picture(file, chat.tile_rules()));
      print_grid(file, pictures.back());
    }
    ask(chat, question, pictures, sampling, status);
    if (stats) print_statistics(chat.statistics());
  });
}
