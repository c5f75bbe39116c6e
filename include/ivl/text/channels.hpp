// Separates a model's thoughts from its answer. gpt-oss does it in channels:
// "<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...". InternVL3.5's thinking
// system message asks for "<think>...</think>\n\n...".
#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace ivl {

/// Whether what stands in a channel is for the user, with channels and without; else it was thought.
constexpr bool is_answer(std::string_view channel) { return channel.empty() || channel == "final"; }

/// Takes an answer apart while it streams. What stands outside a channel belongs to the channel "". In an answer
/// without channels a thought between tags, or behind one that is never closed, belongs to "analysis"; white space
/// behind its end to nothing.
class ChannelReader {
 public:
  /// Calls give(channel, text) for text whose channel is certain by now; both views are valid during the call.
  template <class Give>
  void push(std::string_view text, const Give& give) {
    held_ += text;
    std::string_view left = held_;
    for (;;) {
      std::size_t at = left.npos;
      std::string_view marker;
      each_marker([&](std::string_view candidate) {
        if (const std::size_t found = left.find(candidate); found < at) at = found, marker = candidate;
      });
      if (marker.empty()) break;
      take(left.substr(0, at), give);
      enter(marker);
      left.remove_prefix(at + marker.size());
    }
    const std::size_t open = left.size() - open_marker(left);
    take(left.substr(0, open), give);
    held_.erase(0, held_.size() - (left.size() - open));
  }

  /// The end of the answer: what looked like the start of a marker was none.
  template <class Give>
  void finish(const Give& give) {
    take(held_, give);
    held_.clear();
  }

 private:
  static constexpr std::string_view channel_marker = "<|channel|>", message_marker = "<|message|>",
                                    start_marker = "<|start|>", think_marker = "<think>", thought_marker = "</think>";
  static constexpr std::array markers{channel_marker, message_marker, start_marker, std::string_view("<|end|>"),
                                      std::string_view("<|return|>")};

  /// What may come next in place of text.
  template <class Visit>
  void each_marker(const Visit& visit) const {
    for (const std::string_view marker : markers) visit(marker);
    if (!in_channels_) visit(in_thought_ ? thought_marker : think_marker);
  }
  enum class Inside { text, name, role };

  template <class Give>
  void take(std::string_view text, const Give& give) {
    if (after_thought_) text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (text.empty()) return;
    after_thought_ = false;
    if (inside_ == Inside::name) channel_ += text;
    if (inside_ == Inside::text) give(std::string_view(channel_), text);
  }
  void enter(std::string_view marker) {
    inside_ = marker == channel_marker ? Inside::name : marker == start_marker ? Inside::role : Inside::text;
    if (marker != message_marker) channel_.clear();
    in_channels_ = in_channels_ || marker == channel_marker;
    in_thought_ = marker == think_marker;
    if (in_thought_) channel_ = "analysis";
    after_thought_ = marker == thought_marker;
  }
  /// How many bytes at the end may begin a marker.
  std::size_t open_marker(std::string_view text) const {
    std::size_t most = 0;
    each_marker([&](std::string_view marker) {
      for (std::size_t length = std::min(marker.size() - 1, text.size()); length > most; --length) {
        if (text.ends_with(marker.substr(0, length))) most = length;
      }
    });
    return most;
  }

  Inside inside_ = Inside::text;
  bool in_channels_ = false, in_thought_ = false, after_thought_ = false;
  std::string channel_;
  std::string held_;
};

}  // namespace ivl
