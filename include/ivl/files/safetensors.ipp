// The bodies of safetensors.hpp.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"

namespace ivl {

static_assert(std::endian::native == std::endian::little,
              "safetensors: tensors are read in place, so the machine must be little-endian");

namespace detail {

/// Published names have at most about 80 bytes.
inline constexpr std::size_t max_tensor_name_bytes = 1024;

/// Reads a header's events straight into the content: memory stays proportional to the number of tensors, whatever the
/// JSON holds.
class SafetensorsHeader final : public JsonEvents {
 public:
  /// `data` is the part of the file behind the header.
  SafetensorsHeader(std::string_view where, std::span<const std::byte> data, SafetensorsContent& content)
      : JsonEvents(std::string(where) + ": header"), data_(data), content_(content) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
  bool number_float(number_float_t, const string_t& text) override { unexpected(text.substr(0, 40)); }
  bool number_integer(number_integer_t value) override { unexpected(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= std::uint64_t(std::numeric_limits<std::int64_t>::max());
    if (place_ == Place::shape && fits) {
      if (shape_->rank() == Shape::max_rank) {
        fail_tensor("shape: expected at most ", Shape::max_rank, " dimensions, found more");
      }
      shape_->push_back(std::int64_t(value));
    } else if (place_ == Place::offsets && fits && offsets_.size() < 2) {
      offsets_.push_back(std::int64_t(value));
    } else {
      unexpected(std::to_string(value));
    }
    return true;
  }
  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!content_.metadata.emplace(key_, std::move(value)).second) {
        fail<FileError>(where_, ": the metadata key ", in_quotes(key_), " occurs twice");
      }
    } else if (place_ == Place::tensor && field_ == "dtype") {
      dtype_ = find_dtype(value);
      if (!dtype_) fail_tensor("unknown dtype ", in_quotes(value));
    } else {
      unexpected("the string " + in_quotes(value));
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::header;
    } else if (place_ == Place::header && key_ == "__metadata__") {
      if (std::exchange(has_metadata_, true)) fail<FileError>(where_, ": __metadata__ occurs twice");
      place_ = Place::metadata;
    } else if (place_ == Place::header) {
      place_ = Place::tensor;
      dtype_.reset();
      shape_.reset();
      offsets_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }
  bool key(string_t& name) override {
    if (place_ == Place::tensor) {
      field_ = name;
      const bool is_known = name == "dtype" || name == "shape" || name == "data_offsets";
      if (!is_known) fail_tensor("expected dtype, shape and data_offsets, found ", in_quotes(name));
      if (name == "dtype" ? dtype_.has_value() : name == "shape" ? shape_.has_value() : !offsets_.empty()) {
        fail_tensor(name, " occurs twice");
      }
    } else {
      key_ = name;
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::tensor) add_tensor();
    place_ = place_ == Place::header ? Place::start : Place::header;
    return true;
  }
  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == "dtype") unexpected("an array");
    if (field_ == "shape") {
      shape_.emplace();
      place_ = Place::shape;
    } else {
      place_ = Place::offsets;
    }
    return true;
  }
  bool end_array() override {
    if (place_ == Place::offsets && offsets_.size() != 2) {
      fail_tensor("data_offsets: expected 2 integers, found ", offsets_.size());
    }
    place_ = Place::tensor;
    return true;
  }

  /// The tensors must tile the data: no gap, no overlap, nothing left over.
  void check_tiling() {
    std::ranges::sort(ranges_, {}, [](const Range& range) { return std::pair(range.begin, range.end); });
    std::int64_t end = 0;
    for (const Range& range : ranges_) {
      if (range.begin != end) {
        fail<FileError>(where_, ": tensor ", in_quotes(*range.name), ": expected its data to begin at ", end,
                        ", found ", range.begin,
                        range.begin < end ? ": it overlaps the tensor before it" : ": a gap before it");
      }
      end = range.end;
    }
    if (std::size_t(end) != data_.size()) {
      fail<FileError>(where_, ": the tensors end at ", end, " of ", data_.size(),
                      " data bytes: no tensor describes the rest");
    }
  }

 private:
  enum class Place { start, header, metadata, tensor, shape, offsets };
  struct Range {
    std::int64_t begin, end;
    const std::string* name;
  };

  [[noreturn]] void unexpected(std::string_view found) const {
    switch (place_) {
      case Place::start:
        fail<FileError>(where_, ": expected a header object, found ", found);
      case Place::header:
        fail<FileError>(where_, ": ", in_quotes(key_), ": expected an object, found ", found);
      case Place::metadata:
        fail<FileError>(where_, ": metadata ", in_quotes(key_), ": expected a string, found ", found);
      case Place::tensor:
        fail_tensor(field_, ": expected ", field_ == "dtype" ? "a string" : "an array", ", found ", found);
      case Place::offsets:
        if (offsets_.size() == 2) fail_tensor("data_offsets: expected 2 integers, found more");
        [[fallthrough]];
      case Place::shape:
        fail_tensor(field_, ": expected integers from 0 to ", std::numeric_limits<std::int64_t>::max(), ", found ",
                    found);
    }
    std::abort();  // not reached
  }
  template <class... Parts>
  [[noreturn]] void fail_tensor(const Parts&... parts) const {
    fail<FileError>(where_, ": tensor ", in_quotes(key_), ": ", parts...);
  }

  void add_tensor() {
    if (key_.size() > max_tensor_name_bytes) {
      fail_tensor("expected a name of at most ", max_tensor_name_bytes, " bytes, found ", key_.size());
    }
    if (key_.find('\0') != key_.npos) fail_tensor("the name holds a NUL character");
    if (!dtype_) fail_tensor("dtype is missing");
    if (!shape_) fail_tensor("shape is missing");
    if (offsets_.empty()) fail_tensor("data_offsets are missing");
    const std::int64_t begin = offsets_[0], end = offsets_[1];
    if (end < begin) fail_tensor("data_offsets [", begin, ", ", end, "] end before they begin");
    if (std::uint64_t(end) > data_.size()) {
      fail_tensor("data_offsets [", begin, ", ", end, "] reach beyond the file, which holds ", data_.size(),
                  " data bytes");
    }
    const std::optional<std::int64_t> bytes = bytes_of(*dtype_, *shape_);
    if (!bytes) fail_tensor(name_of(*dtype_), ' ', shape_text(*shape_), " is no whole number of bytes below 2^63");
    if (*bytes != end - begin) {
      fail_tensor(name_of(*dtype_), ' ', shape_text(*shape_), " takes ", *bytes, " bytes, data_offsets [", begin, ", ",
                  end, "] hold ", end - begin);
    }
    const TensorView view{*dtype_, *shape_, data_.subspan(std::size_t(begin), std::size_t(end - begin))};
    const auto [tensor, is_new] = content_.tensors.emplace(key_, view);
    if (!is_new) fail_tensor("the name occurs twice");
    ranges_.push_back({begin, end, &tensor->first});
  }

  std::span<const std::byte> data_;
  SafetensorsContent& content_;
  Place place_ = Place::start;
  std::string key_;    // of the header object, or of the metadata
  std::string field_;  // of the tensor object
  std::optional<Dtype> dtype_;
  std::optional<Shape> shape_;
  std::vector<std::int64_t> offsets_;
  bool has_metadata_ = false;
  std::vector<Range> ranges_;
};

}  // namespace detail

IVL_INLINE SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view where) {
  std::uint64_t header_bytes = 0;
  constexpr std::size_t prefix_bytes = sizeof header_bytes;
  if (file.size() < prefix_bytes) {
    fail<FileError>(where, ": expected a safetensors file, found only ", file.size(), " bytes");
  }
  std::memcpy(&header_bytes, file.data(), prefix_bytes);
  if (header_bytes > max_json_bytes) {
    fail<FileError>(where, ": expected a safetensors header of at most ", max_json_bytes, " bytes, found ",
                    header_bytes);
  }
  if (header_bytes > file.size() - prefix_bytes) {
    fail<FileError>(where, ": truncated: the header has ", header_bytes, " bytes, the file ", file.size());
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + prefix_bytes, std::size_t(header_bytes));
  if (!header.starts_with('{')) fail<FileError>(where, ": expected a safetensors header that starts with '{'");
  SafetensorsContent content;
  detail::SafetensorsHeader reader(where, file.subspan(prefix_bytes + header.size()), content);
  reader.parse(header);
  reader.check_tiling();
  return content;
}

/// Tensor name -> shard file name, from the document of a `model.safetensors.index.json`. A shard's name must be a
/// plain name in the same folder. Throws FileError.
inline std::map<std::string, std::string> parse_weight_map(const Json& index, std::string_view where) {
  std::map<std::string, std::string> shards;
  const std::string map_place = std::string(where) + ": weight_map";
  for (const auto& [tensor, shard] : object_field(index, "weight_map", where).items()) {
    const std::string place = map_place + ": " + in_quotes(tensor);
    const std::string name = json_as<std::string>(shard, place);
    if (!name.ends_with(".safetensors") || name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
      fail<FileError>(place, ": expected the plain name of a .safetensors file in the same folder, found ",
                      in_quotes(name));
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

namespace detail {

/// A folder that has neither model.safetensors nor an index of shards.
[[noreturn]] inline void fail_without_index(const std::filesystem::path& folder) {
  std::set<std::string> shards;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(".safetensors") && name.find("-of-") != name.npos) shards.insert(name);
  }
  if (shards.empty())
    fail<FileError>(folder.string(),
                    ": expected model.safetensors or model.safetensors.index.json in this folder, found neither");
  fail<FileError>(folder.string(), ": found shards of weights (", *shards.begin(), "; ", shards.size(),
                  " files) but not their list, model.safetensors.index.json: the download may be incomplete");
}

inline void check_shards(const std::filesystem::path& folder, const std::map<std::string, std::string>& weight_map,
                         const std::filesystem::path& index) {
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  std::string missing;
  std::size_t found = 0;
  std::error_code ignored;
  for (const std::string& shard : shards) {
    if (std::filesystem::exists(folder / shard, ignored))
      ++found;
    else
      missing += "\n  " + shard;
  }
  if (!missing.empty())
    fail<FileError>(index.string(), ": of the ", shards.size(), " files that it lists ", found,
                    " are there; the download may be incomplete. Missing:", first_lines(missing));
}

}  // namespace detail

IVL_INLINE Safetensors::Safetensors(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const fs::path single = path / "model.safetensors", index = path / "model.safetensors.index.json";
  std::error_code ignored;  // a missing or unreadable path is reported by opening it
  if (!fs::is_directory(path, ignored)) {
    open(path);
  } else if (fs::exists(single, ignored)) {
    open(single);
  } else if (fs::exists(index, ignored)) {
    open_shards(path, index);
  } else {
    detail::fail_without_index(path);
  }
}

IVL_INLINE void Safetensors::release(const TensorView& view) const {
  for (const File& file : files_) file.mapping.release(view.bytes);
}

IVL_INLINE void Safetensors::open(const std::filesystem::path& path) {
  const File& file = files_.emplace_back(path.string(), MappedFile(path));
  for (const auto& [name, view] : parse_safetensors(file.mapping.bytes(), file.path).tensors) {
    const auto [entry, is_new] = tensors_.emplace(name, Entry{view, files_.size() - 1});
    if (!is_new) {
      fail<FileError>(file.path, ": tensor ", in_quotes(name), " is also in ", files_[entry->second.file].path);
    }
    total_bytes_ += std::int64_t(view.bytes.size());
  }
}

IVL_INLINE void Safetensors::open_shards(const std::filesystem::path& folder, const std::filesystem::path& index) {
  const auto weight_map = parse_weight_map(read_json(index), index.string());
  detail::check_shards(folder, weight_map, index);
  std::map<std::string, std::size_t> shards;
  for (const auto& [name, shard] : weight_map) {
    if (!shards.emplace(shard, files_.size()).second) continue;
    open(folder / shard);
  }
  for (const auto& [name, shard] : weight_map) {
    const auto entry = tensors_.find(name);
    if (entry == tensors_.end() || entry->second.file != shards.at(shard)) {
      fail<FileError>(index.string(), ": tensor ", in_quotes(name), ": expected in ", shard, ", found ",
                      entry == tensors_.end() ? "in no shard" : "in " + files_[entry->second.file].path);
    }
  }
}

}  // namespace ivl
