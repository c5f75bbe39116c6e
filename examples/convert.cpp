// A checkpoint folder in the other published layout: GitHub format (internvl_chat) <-> HF format (internvl).
#include <cstdio>
#include <string>

#include "ivl/checkpoint/convert.hpp"
#include "ivl/model/checkpoint.hpp"
#include "load_flags.hpp"
#include "notes.hpp"
#include "program.hpp"
#include "status_line.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Converts a checkpoint folder between the two published layouts. Weights keep their bits; converting back gives\n"
      "the same weights and configs. With --lora it merges an adapter, in either layout. The HF format also wants a\n"
      "chat_template.jinja and processor_config.json, which only whoever runs transformers needs: take them from a\n"
      "published folder of that format.");
  LoadFlags load;
  std::string from, to, format;
  app.add_option("--from", from, "checkpoint folder")->required();
  app.add_option("--to", to, "new folder")->required();
  load.add_to(app);
  app.add_option("--format", format, "of the new folder")->required()->check(CLI::IsMember({"github", "hf"}));

  return run_program(app, argc, argv, [&] {
    StatusLine status;
    const auto processor = ivl::load_processor(from);
    print_notes(from);
    ivl::LoadOptions options = load.options(status);
    options.progress = [&](const ivl::LoadProgress& progress) {
      char text[64];
      std::snprintf(text, sizeof text, "%6.2f of %.2f GB", double(progress.bytes_done) / 1e9,
                    double(progress.bytes_total) / 1e9);
      status.show(text);
    };
    ivl::convert_folder(
        from, to, format == "hf" ? ivl::FolderFormat::hf : ivl::FolderFormat::github,
        {.image = processor.tokenizer().id_of(ivl::image_context_token).value(), .end = processor.end_token()},
        options);
    status.clear();
    print_text(to + "\n");
  });
}
