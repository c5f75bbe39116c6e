// A picture (or several) and a question (or several) in, streamed answers out.
#include "command_line.hpp"
#include "drawn_boxes.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/batch_chat.hpp"
#include "question_flags.hpp"

int main(int argc, char** argv) {
  CLI::App app("Answers questions about pictures.");
  ModelFlags model;
  SamplingFlags sampling;
  QuestionFlags asked;
  OutputFlags output;
  std::vector<std::string> images;
  std::string boxes_file;
  model.add_to(app);
  model.pictures.add_combined_to(app);
  app.add_option("--image", images, "PNG, JPEG, WebP, GIF, BMP or TIFF; repeat for several pictures");
  asked.add_to(app, "Describe the picture.");
  sampling.add_to(app, model.chat);
  app.add_option("--draw-boxes", boxes_file,
                 "a PNG to write: the picture with the boxes of the answer, whose special tokens are printed too")
      ->needs("--image");
  output.add_to(app);

  return run_program(app, argc, argv, [&] {
    // What is wrong with pictures and questions is said before weights are read.
    const std::vector<std::string> questions = asked.questions();
    StatusLine status(model.quiet);
    std::vector<ivl::Picture> pictures;
    {
      const ivl::Processor processor = ivl::load_processor(model.checkpoint, model.load.mmproj);
      sampling.read_constraint(processor.tokenizer());
      pictures = open_pictures(images, model, processor, status);
      for (const std::string& question : questions) {
        const ivl::Prompt prompt =
            prompt_of(processor, model.chat.system, {question, model.pictures.at_marks(pictures)});
        naming_flags([&] { check_room(processor, prompt, model.chat.kv_tokens); });
      }
    }
    const ivl::AnyModel opened = open_model(model, status);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    sampling.keep_special_tokens = sampling.keep_special_tokens || !boxes_file.empty();
    std::string answers;
    for (const std::string& question : questions) {
      ask(chat, question, pictures, model, sampling, output, status);
      answers += chat.history().back().answer;
      chat.forget(0, 1);  // the next question stands alone, and finds the pictures' rows
    }
    if (!boxes_file.empty()) draw_boxes(answers, pictures, boxes_file);
  });
}
