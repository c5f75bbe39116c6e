// A video and a question (or several, one after the other) in, streamed answers out.
#include <algorithm>

#include "command_line.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/batch_chat.hpp"
#include "question_flags.hpp"
#include "video_flags.hpp"

/// The frames that the flags choose, once it is known that the model's context has room for them.
static ChosenFrames choose_frames(const VideoFlags& flags, const ModelFlags& model, const std::string& question,
                                  StatusLine& status) {
  status.show("reading " + flags.file);
  const ivl::Processor processor = ivl::load_processor(model.checkpoint, model.load.mmproj);
  // Each thread of a decoder begins with a frame of its own: more of them would decode what nobody wants to see.
  ChosenFrames chosen =
      flags.choose(processor.tile_rules(model.chat.max_tiles.value_or(1)), {.threads = std::min(model.threads, 4)});
  try {
    check_room(processor, prompt_of(processor, model.chat.system, {chosen.marks(question) + question, chosen.pictures}),
               model.chat.kv_tokens);
  } catch (const ivl::RoomError& error) {
    ivl::fail<ivl::RoomError>(error.what(),
                              ". --segments N takes fewer frames, --max-tiles 1 makes each small, --context N makes "
                              "room up to the model's own context");
  }
  const ivl::VideoFile& video = *chosen.video;
  char rate[32];
  std::snprintf(rate, sizeof rate, "%.5g", video.frames_per_s());
  std::string said = flags.file + ": " + std::to_string(video.frames()) + " frames of " +
                     std::to_string(video.size().width) + " x " + std::to_string(video.size().height) + ", " + rate +
                     " a second; seen:";
  for (const std::int64_t frame : chosen.numbers) said += " " + std::to_string(frame);
  status.say(said);
  return chosen;
}

int main(int argc, char** argv) {
  CLI::App app("Answers questions about a video, of which the model sees some frames.");
  ModelFlags model;
  SamplingFlags sampling;
  QuestionFlags asked;
  OutputFlags output;
  VideoFlags flags;
  model.add_to(app);
  app.get_option("--max-tiles")->description("most tiles of a frame, the thumbnail not counted (default: 1)");
  for (const char* of_picture_files : {"--orientation", "--alpha"}) app.remove_option(app.get_option(of_picture_files));
  flags.add_to(app)->required();
  asked.add_to(app, "Describe this video in detail.");
  app.get_option("--question")
      ->description(
          "about the video (default: Describe this video in detail.); repeat for more, each after the answer "
          "before it, in one conversation");
  sampling.add_to(app, model.chat);
  output.add_to(app);

  return run_program(app, argc, argv, [&] {
    // What is wrong with video and questions is said before weights are read.
    const std::vector<std::string> questions = asked.questions();
    StatusLine status(model.quiet);
    const ChosenFrames chosen = choose_frames(flags, model, questions.front(), status);
    const ivl::AnyModel opened = open_model(model, status);
    sampling.read_constraint(opened.processor().tokenizer());
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const bool first = i == 0;
      ask(chat, questions[i], first ? chosen.pictures : std::vector<ivl::Picture>(), model, sampling, output, status,
          nullptr, {.marks = first ? chosen.marks(questions[i]) : "", .json = chosen.json()});
      if (const auto damaged = chosen.video->damaged(); first && damaged > 0)
        status.say("note: the video is damaged: " + std::to_string(damaged) + (damaged == 1 ? " packet" : " packets") +
                   " could not be decoded, and what was shown before was seen in the place of their frames");
    }
  });
}
