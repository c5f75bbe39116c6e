// The bodies of gguf.hpp.
#pragma once
#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

static_assert(std::endian::native == std::endian::little, "gguf: values are read as they lie in the file");

namespace detail {

struct GgufKindRow {
  std::string_view name;
  int bytes;
};
inline constexpr GgufKindRow gguf_kind_rows[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                                                 {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
                                                 {"u64", 8}, {"i64", 8}, {"f64", 8}};
static_assert(std::size(gguf_kind_rows) == std::size_t(GgufKind::f64) + 1);

/// Reads one file from its begin to the data of its tensors.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> file, std::string_view where) : where_(where), file_(file), left_(file) {}

  GgufContent read() {
    const auto [tensors, keys] = read_start();
    for (std::uint64_t i = 0; i < keys; ++i) read_value();
    const std::uint64_t alignment = read_alignment();
    for (std::uint64_t i = 0; i < tensors; ++i) read_tensor(alignment);
    place_tensors(alignment);
    return std::move(content_);
  }

 private:
  struct Range {
    std::uint64_t begin, bytes;
    std::string_view name;
  };

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<FileError>(where_, ": ", item_, item_.empty() ? "" : ": ", parts...);
  }

  std::span<const std::byte> take(std::uint64_t bytes, std::string_view what) {
    if (bytes > left_.size()) {
      refuse("the file is truncated: expected ", bytes, " bytes of ", what, ", found ", left_.size());
    }
    const auto taken = left_.first(std::size_t(bytes));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  template <class Number>
  Number take(std::string_view what) {
    Number number;
    std::memcpy(&number, take(sizeof number, what).data(), sizeof number);
    return number;
  }
  std::string_view take_string(std::string_view what) {
    const auto bytes = take(take<std::uint64_t>("a string's length"), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// A key of the metadata, or a tensor's name. The format demands ASCII of keys; no published name is anything else.
  std::string_view take_name(std::string_view kind, std::uint64_t number, std::size_t max_bytes) {
    item_ = std::string(kind) + " " + std::to_string(number);
    const std::string_view name = take_string("its name");
    if (name.empty() || name.size() > max_bytes) {
      refuse("expected a name of 1 to ", max_bytes, " bytes, found ", name.size());
    }
    if (!std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; })) {
      refuse("expected a name of printable ASCII, found ", in_quotes(name));
    }
    item_ = std::string(kind) + " " + in_quotes(name);
    return name;
  }

  /// The numbers of tensors and of keys.
  std::pair<std::uint64_t, std::uint64_t> read_start() {
    const auto magic = take(4, "\"GGUF\"");
    if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
      refuse("expected a GGUF file, which begins with \"GGUF\", found ",
             in_quotes({reinterpret_cast<const char*>(magic.data()), 4}));
    }
    const auto version = take<std::uint32_t>("the version");
    if (version != 0 && (version & 0xffff) == 0) {
      refuse("expected a little-endian GGUF file, found a big-endian one: convert the model for this kind of machine");
    }
    if (version != 3) {
      refuse("expected GGUF version 3, found ", version, version < 3 ? ": convert the model anew" : "");
    }
    const auto tensors = take<std::uint64_t>("the number of tensors"), keys = take<std::uint64_t>("the number of keys");
    // The shortest entries: a name's length and one byte, then rank, type and offset, or the kind and one byte.
    constexpr std::uint64_t tensor_bytes = 8 + 1 + 4 + 4 + 8, key_bytes = 8 + 1 + 4 + 1;
    if (tensors > left_.size() / tensor_bytes) refuse("the file is too short for ", tensors, " tensors");
    if (keys > left_.size() / key_bytes) refuse("the file is too short for ", keys, " keys");
    return {tensors, keys};
  }

  GgufKind take_kind(std::string_view what) {
    const auto number = take<std::uint32_t>(what);
    if (number >= std::size(gguf_kind_rows)) {
      refuse("expected a kind of value from 0 to ", std::size(gguf_kind_rows) - 1, ", found ", number);
    }
    return GgufKind(number);
  }

  void read_value() {
    const std::string_view key = take_name("key", content_.values.size(), max_gguf_key_bytes);
    GgufValue value{.kind = take_kind("the kind of a value"), .is_array = false, .count = 1, .bytes = {}};
    if (value.kind == GgufKind::array) {
      value.is_array = true;
      value.kind = take_kind("the kind of an array's elements");
      if (value.kind == GgufKind::array) refuse("expected an array of plain values, found an array of arrays");
      value.count = take<std::uint64_t>("an array's length");
    }
    const auto from_here = left_;
    if (value.kind == GgufKind::string) {
      if (value.count > left_.size() / sizeof(std::uint64_t))
        refuse("the file is too short for ", value.count, " strings");
      for (std::uint64_t i = 0; i < value.count; ++i) take_string("a string");
    } else {
      const auto bytes = std::uint64_t(bytes_of(value.kind));
      if (value.count > left_.size() / bytes) {
        refuse("the file is truncated: expected ", value.count, " values of ", name_of(value.kind), ", found ",
               left_.size(), " bytes");
      }
      take(value.count * bytes, "values");
    }
    value.bytes = from_here.first(from_here.size() - left_.size());
    if (value.kind == GgufKind::boolean) {
      for (const std::byte byte : value.bytes) {
        if (byte > std::byte{1}) refuse("expected a bool of 0 or 1, found ", int(byte));
      }
    }
    if (!content_.values.emplace(key, value).second) refuse("the key occurs twice");
  }

  std::uint64_t read_alignment() {
    constexpr std::string_view key = "general.alignment";
    item_.clear();
    const auto value = content_.values.find(key);
    if (value == content_.values.end()) return 32;
    const std::string place = std::string(where_) + ": key " + in_quotes(key);
    const auto alignment = gguf_as<std::uint32_t>(value->second, place);
    if (alignment < 8 || !std::has_single_bit(alignment)) {
      fail<FileError>(place, ": expected a power of two from 8 on, found ", alignment);
    }
    return alignment;
  }

  void read_tensor(std::uint64_t alignment) {
    const std::string_view name = take_name("tensor", content_.tensors.size(), max_gguf_name_bytes);
    const auto rank = take<std::uint32_t>("the number of dimensions");
    if (rank > std::uint32_t(max_gguf_rank)) {
      refuse("expected at most ", max_gguf_rank, " dimensions, found ", rank);
    }
    std::vector<std::int64_t> sizes(rank);
    for (std::int64_t& size : sizes) {
      size = take<std::int64_t>("a dimension");
      if (size < 0) refuse("expected dimensions below 2^63, found ", std::uint64_t(size));
    }
    GgufTensor tensor;
    for (const std::int64_t size : sizes | std::views::reverse) tensor.shape.push_back(size);
    const auto type_number = take<std::uint32_t>("the type");
    const std::optional<GgmlType> type = find_ggml_type(type_number);
    if (!type) refuse("unknown type ", type_number, ": no type of ggml has this number");
    tensor.type = *type;
    const int block = block_elements(*type);
    const std::int64_t row = rank == 0 ? 1 : sizes.front();
    if (row % block != 0) {
      refuse(name_of(*type), " has blocks of ", block, ": expected rows of whole blocks, found rows of ", row);
    }
    const std::optional<std::int64_t> elements = elements_of(tensor.shape);
    const std::optional<std::int64_t> bytes = elements ? bytes_of(*type, *elements) : std::nullopt;
    if (!bytes) refuse(name_of(*type), ' ', shape_text(tensor.shape), " takes more than 2^63 bytes");
    const auto offset = take<std::uint64_t>("the offset");
    if (offset % alignment != 0) refuse("expected an offset that is a multiple of ", alignment, ", found ", offset);
    const auto [entry, is_new] = content_.tensors.emplace(name, tensor);
    if (!is_new) refuse("the name occurs twice");
    ranges_.push_back({offset, std::uint64_t(*bytes), name});
  }

  /// Gives the tensors their bytes. Gaps between them are nobody's, as in files that were padded or edited.
  void place_tensors(std::uint64_t alignment) {
    item_.clear();
    const std::uint64_t header = file_.size() - left_.size();
    const std::uint64_t padding = (alignment - header % alignment) % alignment;
    const auto data = left_.subspan(std::size_t(std::min<std::uint64_t>(padding, left_.size())));
    std::ranges::sort(ranges_, {}, [](const Range& range) { return std::pair(range.begin, range.bytes); });
    std::uint64_t end = 0;
    for (const Range& range : ranges_) {
      item_ = "tensor " + in_quotes(range.name);
      if (range.begin > data.size() || range.bytes > data.size() - range.begin) {
        refuse("expected ", range.bytes, " bytes at offset ", range.begin, ", found a file with ", data.size(),
               " bytes of data: it is truncated, or the offset is wrong");
      }
      if (range.bytes > 0 && range.begin < end) {
        refuse("expected an offset from ", end, " on, found ", range.begin, ": it overlaps the tensor before it");
      }
      end = std::max(end, range.begin + range.bytes);
      content_.tensors.find(range.name)->second.bytes =
          data.subspan(std::size_t(range.begin), std::size_t(range.bytes));
    }
  }

  std::string_view where_;
  std::string item_;  // the key or tensor that is being read, in errors
  std::span<const std::byte> file_, left_;
  GgufContent content_;
  std::vector<Range> ranges_;
};

IVL_INLINE std::string describe(const GgufValue& value) {
  const std::string kind(name_of(value.kind));
  return value.is_array ? "an array of " + std::to_string(value.count) + " " + kind : kind;
}

IVL_INLINE int bytes_of(GgufKind kind) { return gguf_kind_rows[std::size_t(kind)].bytes; }

IVL_INLINE std::string_view take_gguf_string(std::span<const std::byte>& bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto text = bytes.subspan(sizeof length, std::size_t(length));
  bytes = bytes.subspan(sizeof length + text.size());
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

/// "-00002-of-00003.gguf"
inline std::string gguf_part_ending(int part, int parts) {
  const auto five_digits = [](int number) {
    const std::string digits = std::to_string(number);
    return std::string(5 - std::min<std::size_t>(5, digits.size()), '0') + digits;
  };
  return "-" + five_digits(part) + "-of-" + five_digits(parts) + ".gguf";
}

}  // namespace detail

IVL_INLINE std::string_view name_of(GgufKind kind) { return detail::gguf_kind_rows[std::size_t(kind)].name; }

IVL_INLINE GgufContent parse_gguf(std::span<const std::byte> file, std::string_view where) {
  return detail::GgufReader(file, where).read();
}

IVL_INLINE Gguf::Gguf(const std::filesystem::path& path) {
  GgufContent content = open(path);
  values_ = std::move(content.values);
  add(std::move(content));
  const auto part = get_or<std::uint16_t>("split.no", 0), parts = get_or<std::uint16_t>("split.count", 0);
  if (parts > 1) {
    if (part != 0) {
      fail<FileError>(where(), ": this is part ", part + 1, " of ", parts,
                      ": expected the first part, whose name ends with ", detail::gguf_part_ending(1, parts));
    }
    open_parts(path, parts);
  }
}

IVL_INLINE std::string Gguf::place_of(std::string_view key) const { return where() + ": key " + in_quotes(key); }

IVL_INLINE GgufContent Gguf::open(const std::filesystem::path& path) {
  files_.push_back({path.string(), MappedFile(path)});
  return parse_gguf(files_.back().mapping.bytes(), files_.back().path);
}

IVL_INLINE void Gguf::open_parts(const std::filesystem::path& first, std::uint16_t parts) {
  const std::string ending = detail::gguf_part_ending(1, parts);
  std::string name = first.filename().string();
  if (!name.ends_with(ending)) {
    fail<FileError>(where(), ": the first of ", parts, " parts: expected a name that ends with ", ending,
                    ", by which the others are found");
  }
  name.resize(name.size() - ending.size());
  for (int part = 1; part < parts; ++part) {
    GgufContent content = open(first.parent_path() / (name + detail::gguf_part_ending(part + 1, parts)));
    const std::string& path = files_.back().path;
    for (const auto& [key, expected] : {std::pair{"split.no", part}, {"split.count", int(parts)}}) {
      const auto value = content.values.find(key);
      const std::string place = path + ": key " + in_quotes(key);
      if (value == content.values.end()) fail<FileError>(place, ": expected ", expected, ", found none");
      const auto found = detail::gguf_as<std::uint16_t>(value->second, place);
      if (found != expected) fail<FileError>(place, ": expected ", expected, ", found ", found);
    }
    add(std::move(content));
  }
  const auto expected = get<std::uint64_t>("split.tensors.count");
  if (size() != expected) {
    fail<FileError>(where(), ": expected ", expected, " tensors in its ", parts, " parts, found ", size());
  }
}

IVL_INLINE void Gguf::release(std::span<const std::byte> bytes) const {
  for (const File& file : files_) file.mapping.release(bytes);
}

IVL_INLINE void Gguf::add(GgufContent part) {
  for (const auto& [name, tensor] : part.tensors) {
    if (!tensors_.emplace(name, tensor).second) {
      fail<FileError>(files_.back().path, ": tensor ", in_quotes(name), ": another part has it too");
    }
    total_bytes_ += std::int64_t(tensor.bytes.size());
  }
}

}  // namespace ivl
