// A conversation as chat's /save writes it and /load reads it: a JSON array of turns, each with `question` (as it
// stands in the prompt, with its marks), `images` (their files), `keys` (SHA-256 of what the model sees of each) and
// `answer`. A system message of its own stands before them, as {"system": ...}.
#pragma once
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/serve/chat.hpp"
#include "picture_flags.hpp"

/// A picture and the file that it comes from.
struct ShownPicture {
  std::string file;
  ivl::Picture picture;
};

struct SavedTurn {
  ivl::Turn turn;
  std::vector<ShownPicture> shown;

  /// The pictures at its marks: one mark for several means that they are combined.
  std::vector<ivl::Picture> at_marks() const {
    std::vector<ivl::Picture> pictures;
    for (const ShownPicture& picture : shown) pictures.push_back(picture.picture);
    if (pictures.size() > 1 && ivl::count_image_marks(turn.question) == 1)
      return {ivl::Picture::combined(std::move(pictures))};
    return pictures;
  }
};

struct SavedChat {
  std::optional<std::string> system;
  std::vector<SavedTurn> turns;
};

inline std::string hex_key(const ivl::Picture& picture) {
  std::string hex;
  for (const std::uint8_t byte : key_of(picture))
    (hex += "0123456789abcdef"[byte / 16]) += "0123456789abcdef"[byte % 16];
  return hex;
}

/// Throws FileError.
inline void write_chat(const std::string& path, const SavedChat& chat) {
  nlohmann::ordered_json saved = nlohmann::ordered_json::array();
  if (chat.system) saved.push_back({{"system", *chat.system}});
  for (const auto& [turn, shown] : chat.turns) {
    nlohmann::ordered_json images = nlohmann::ordered_json::array(), keys = images;
    for (const ShownPicture& picture : shown) {
      images.push_back(picture.file);
      keys.push_back(hex_key(picture.picture));
    }
    saved.push_back({{"question", turn.question}, {"images", images}, {"keys", keys}, {"answer", turn.answer}});
  }
  std::ofstream file(path);
  file << saved.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) ivl::fail<ivl::FileError>(path, ": cannot write: ", std::generic_category().message(errno));
}

/// Opens the pictures too. Throws FileError, also where a picture is another than it was or would be cut otherwise, and
/// ImageError.
inline SavedChat read_chat(const std::string& path, const PictureFlags& flags, const ivl::Processor& processor,
                           const ivl::TileRules& rules) {
  const ivl::Json saved = ivl::read_json(path);
  if (!saved.is_array()) ivl::fail<ivl::FileError>(path, ": expected an array of turns, as /save writes it");
  SavedChat chat;
  for (std::size_t entry = 0; entry < saved.size(); ++entry) {
    const ivl::Json& object = saved[entry];
    const std::string where = path + ": entry " + std::to_string(entry + 1);
    if (entry == 0 && object.is_object() && object.contains("system")) {
      chat.system = ivl::field<std::string>(object, "system", where);
      continue;
    }
    SavedTurn& turn = chat.turns.emplace_back();
    turn.turn = {ivl::field<std::string>(object, "question", where), ivl::field<std::string>(object, "answer", where)};
    const auto images = ivl::field<std::vector<std::string>>(object, "images", where);
    const auto keys = ivl::field_or<std::vector<std::string>>(object, "keys", {}, where);
    for (std::size_t image = 0; image < images.size(); ++image) {
      turn.shown.push_back({images[image], flags.open(images[image], processor, rules)});
      if (image < keys.size() && hex_key(turn.shown.back().picture) != keys[image])
        ivl::fail<ivl::FileError>(where, ": ", images[image],
                                  ": expected the picture that was talked about, cut as it was then, found another, or "
                                  "other --max-tiles, --orientation or --alpha");
    }
  }
  return chat;
}
