// A structure as JSON, under the names of its own fields: {"vit": {"layers": 24, ...}, "projector": ..., "decoder":
// ...}. config.json of a checkpoint is another matter: checkpoint/read_config.hpp.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ivl/config/fields.hpp"

namespace ivl {

/// `Config`: VlmConfig, or a structure that it has as a field.
template <HasFields Config>
nlohmann::json config_json(const Config& config);

/// The reverse; a field that is missing keeps its default. Throws FileError for values of another type, and for a key
/// that is no field.
template <HasFields Config>
Config config_from_json(const nlohmann::json& object, const std::string& where);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/config_json.ipp"
#endif
