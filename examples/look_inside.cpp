// What a model makes of its input, stage by stage: the bundled toy in float on the CPU. The functions are in
// look_inside.hpp.
#include "look_inside.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "ivl/counting/counting.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/files/json.hpp"
#include "ivl/image/decode.hpp"
#include "picture_flags.hpp"
#include "program.hpp"

using namespace ivl;

static double rms(const HostRows& rows) {
  double sum = 0;
  for (const float value : rows.values) sum += double(value) * value;
  return std::sqrt(sum / double(rows.values.size()));
}

int main(int argc, char** argv) {
  CLI::App app("Shows what the drawn-scenes toy makes of a question and a picture, stage by stage.");
  std::string folder = "examples/drawn_scenes/checkpoint", file, question = "How many things are there?";
  app.add_option("--checkpoint", folder, "folder of the dense toy")->capture_default_str();
  app.add_option("--image", file, "PNG, JPEG, WebP, GIF, BMP or TIFF; without it only the text is shown");
  app.add_option("--question", question)->capture_default_str();
  PictureFlags flags;
  flags.add_to(app);

  return run_program(app, argc, argv, [&] {
    Counting<cpu::Context> ctx;  // as a cpu::Context, and it counts
    const auto model = load<drawn_scenes>(ctx, folder);
    const Prompt prompt = model.processor.prompt({}, {}, question);

    const HostRows logits = look_inside::logits_everywhere<float>(ctx, model, prompt);
    std::printf("after each token of the prompt, the most probable next one:\n");
    const std::vector<int>& ids = prompt.ids;
    for (std::int64_t n = 0; n < logits.count; ++n) {
      const auto row = logits[n].first(std::size_t(model.processor.tokenizer().size()));
      const int best = int(std::max_element(row.begin(), row.end()) - row.begin());
      std::printf("%4lld  %-20s %s\n", static_cast<long long>(n),
                  Json(model.processor.tokenizer().decode({{ids[std::size_t(n)]}}, SpecialTokens::keep)).dump().c_str(),
                  Json(model.processor.tokenizer().decode({{best}}, SpecialTokens::keep)).dump().c_str());
    }
    for (int layer = 0; layer < drawn_scenes.decoder.layers; ++layer)
      std::printf("hidden states after layer %d: root mean square %.3f\n", layer,
                  rms(look_inside::hidden_after<float>(ctx, model, layer, ids)));
    if (!file.empty()) {
      const HostRows rows =
          look_inside::picture_rows<float>(ctx, model, read_image(file, flags.options(model.processor)));
      std::printf("the picture's rows: %lld of %lld values, root mean square %.3f\n",
                  static_cast<long long>(rows.count), static_cast<long long>(rows.width), rms(rows));
    }
    std::printf("%-18s %8s %10s %10s\n", "op", "calls", "Mflop", "Mbyte");
    for (const auto& [op, tally] : ctx.ops)
      std::printf("%-18s %8.0f %10.1f %10.1f\n", std::string(op).c_str(), tally.calls, tally.flops / 1e6,
                  tally.bytes() / 1e6);
  });
}
