// The bodies of json.hpp.
#pragma once
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/mapped_file.hpp"

namespace ivl {

namespace detail {

IVL_INLINE void JsonEvents::parse(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) refuse("expected a JSON file of at most ", max_bytes, " bytes, found ", text.size());
  // The parser takes a NUL byte for the end and would accept anything behind it.
  if (const auto nul = text.find('\0'); nul != text.npos) {
    refuse("not valid JSON at byte ", nul + 1, ": a NUL byte");
  }
  Json::sax_parse(text.begin(), text.end(), this);
}

IVL_INLINE bool JsonEvents::parse_error(std::size_t position, const std::string&,
                                        const nlohmann::detail::exception& error) {
  std::string_view what = error.what();
  what.remove_prefix(what.find("] ") + 2);            // the parser's own error number
  what = what.substr(0, what.find("; last read: "));  // as long as the file likes
  refuse("not valid JSON at byte ", position, ": ", what.substr(0, 200));
}

IVL_INLINE bool JsonBuilder::key(string_t& name) {
  const auto [member, is_new] = open_.back()->emplace(name, nullptr);
  if (!is_new) refuse("the key ", in_quotes(name), " occurs twice in one object");
  member_ = &*member;
  return true;
}

IVL_INLINE Json* JsonBuilder::add(Json value) {
  if (++values_ > max_json_values) refuse("more than ", max_json_values, " values");
  if (open_.empty()) return &(root_ = std::move(value));
  if (!open_.back()->is_array()) return &(*member_ = std::move(value));
  open_.back()->push_back(std::move(value));
  return &open_.back()->back();
}

IVL_INLINE bool JsonBuilder::open(Json value) {
  if (open_.size() == max_json_depth) refuse("nested deeper than ", max_json_depth, " levels");
  open_.push_back(add(std::move(value)));
  return true;
}

IVL_INLINE std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array of " + std::to_string(value.size());
    case Json::value_t::string:
      return "the string " + in_quotes(value.get_ref<const std::string&>());
    default:
      return value.dump();  // null, true, a number
  }
}

IVL_INLINE std::string member_place(std::string_view where, std::string_view key) {
  return std::string(where) + ": " + std::string(key);
}

}  // namespace detail

IVL_INLINE Json parse_json(std::string_view text, std::string_view where) {
  detail::JsonBuilder builder{std::string(where)};
  builder.parse(text);
  return builder.take();
}

IVL_INLINE Json read_json(const std::filesystem::path& path, std::size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  detail::JsonBuilder builder(path.string());
  builder.parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, max_bytes);
  return builder.take();
}

IVL_INLINE const Json* find_field(const Json& object, std::string_view key, std::string_view where) {
  if (!object.is_object()) fail<FileError>(where, ": expected an object, found ", detail::describe(object));
  const auto member = object.find(key);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

IVL_INLINE const Json& object_field(const Json& object, std::string_view key, std::string_view where) {
  const Json* member = find_field(object, key, where);
  if (!member || !member->is_object()) {
    fail<FileError>(detail::member_place(where, key), ": expected an object, found ",
                    member ? detail::describe(*member) : "none");
  }
  return *member;
}

}  // namespace ivl
