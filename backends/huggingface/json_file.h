// The JSON files of a checkpoint: parsed with limits, and read with sentences that name the file and the key.
#pragma once

#include "backends/huggingface/model_folder.h"
#include "contract/error.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quantfleet::huggingface {

using Json = nlohmann::json;

inline constexpr std::uint64_t kJsonMaxBytes = 64u << 20;  // of tokenizer.json and the shard index; others are far smaller

// An object, at most `bytes_max` long and 64 deep.  Errors: kNotFound, kTooLarge, kBadValue with the place.
Status parse_json(std::string_view text, std::string_view place, Json& json);
Status read_json_file(const ModelFolder& folder, const std::string& name, Json& json);
Status read_optional_json_file(const ModelFolder& folder, const std::string& name, std::optional<Json>& json);  // nothing where there is no such file

// What stands under a key where it has the right type; otherwise "" or the fallback.
std::string text_of(const Json& object, std::string_view key);
bool flag_of(const Json& object, std::string_view key, bool fallback);

// Typed look-ups in an object; a null counts as absent. The first error sticks, and everything after it reads as fallbacks.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string place) : object_(object), place_(std::move(place)) {}

  const Json* find(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high, std::optional<std::int64_t> fallback = std::nullopt);
  double number(std::string_view key, double low, double high, std::optional<double> fallback = std::nullopt);
  bool flag(std::string_view key, bool fallback);
  std::string text(std::string_view key, std::optional<std::string> fallback = std::nullopt);

  void fail(Code code, std::string sentence);
  const std::optional<Error>& error() const { return error_; }
  const std::string& place() const { return place_; }

 private:
  const Json& object_;
  std::string place_;
  std::optional<Error> error_;
};

}  // namespace quantfleet::huggingface
