// A picture (or several) and a question in, a streamed answer out.
#include "command_line.hpp"
#include "drawn_boxes.hpp"
#include "ivl/model/checkpoint.hpp"

int main(int argc, char** argv) {
  CLI::App app("Answers a question about pictures.");
  ModelFlags model;
  SamplingFlags sampling;
  std::vector<std::string> images;
  std::string question = "Describe the picture.";
  std::string boxes_file;
  bool stats = false;
  model.add_to(app);
  app.add_option("--image", images, "PNG, JPEG, WebP, GIF, BMP or TIFF; repeat for several pictures");
  app.add_option("--question", question, "may place pictures itself with <image>")->capture_default_str();
  sampling.add_to(app, model.chat);
  app.add_option("--draw-boxes", boxes_file,
                 "a PNG to write: the picture with the boxes of the answer, whose special tokens are printed too")
      ->needs("--image");
  app.add_flag("--stats", stats, "print where the time went");

  return run_program(app, argc, argv, [&] {
    // What is wrong with pictures and question is said before weights are read.
    std::vector<ivl::Picture> pictures;
    {
      const ivl::Processor processor = ivl::load_processor(model.checkpoint, model.load.mmproj);
      pictures = open_pictures(images, model, processor);
      const std::string marked = ivl::with_image_marks(processor.style(), question, int(pictures.size()));
      const ivl::Prompt prompt = processor.prompt(model.chat.system, {}, marked, pictures);
      naming_flags([&] { check_room(processor, prompt, model.chat.kv_tokens); });
    }
    StatusLine status;
    const ivl::AnyModel opened = open_model(model, status);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    sampling.keep_special_tokens = sampling.keep_special_tokens || !boxes_file.empty();
    ask(chat, question, pictures, sampling, status);
    if (!boxes_file.empty()) draw_boxes(chat.history().back().answer, pictures, boxes_file);
    if (stats) print_statistics(chat.statistics());
  });
}
