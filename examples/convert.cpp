// A checkpoint as a folder in a published layout: GitHub format (internvl_chat) or HF format (internvl).
#include <cstdio>
#include <string>

#include "ivl/model/convert_checkpoint.hpp"
#include "load_flags.hpp"
#include "notes.hpp"
#include "program.hpp"
#include "status_line.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Converts a checkpoint to a folder in one of the two published layouts. Between these, weights keep their bits,\n"
      "and converting back gives the same weights and configs. With --lora it merges an adapter, in either layout.\n"
      "GGUF pairs and quantised folders become bf16. The HF format also wants a chat_template.jinja and\n"
      "processor_config.json, which only whoever runs transformers needs: take them from a published folder of that\n"
      "format.");
  LoadFlags load;
  std::string from, to, format;
  app.add_option("--from", from, "checkpoint folder or GGUF file")->required();
  app.add_option("--to", to, "new folder")->required();
  load.add_those_of_files_to(app);
  app.add_option("--format", format, "of the new folder (default: the one that the checkpoint has)")
      ->check(CLI::IsMember({"github", "hf"}));

  return run_program(app, argc, argv, [&] {
    StatusLine status;
    print_notes(from, load.mmproj);
    ivl::LoadOptions options = load.options(status);
    options.progress = [&](const ivl::LoadProgress& progress) {
      char text[160];
      std::snprintf(text, sizeof text, "%6.2f of %.2f GB  %.100s", double(progress.bytes_done) / 1e9,
                    double(progress.bytes_total) / 1e9, std::string(progress.tensor).c_str());
      status.show(text);
    };
    std::optional<ivl::FolderFormat> target;
    if (!format.empty()) target = format == "hf" ? ivl::FolderFormat::hf : ivl::FolderFormat::github;
    ivl::convert_checkpoint(from, to, target, options);
    status.clear();
    print_text(to + "\n");
  });
}
