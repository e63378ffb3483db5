// Strict reading and plain writing of JSON objects for this folder's codecs. A type is described once, by a function
//   template <class Io> void fields(Io& io, T& value)
// that names each field with its limits; FieldWriter and FieldReader run that description in the two directions, so that
// they cannot drift apart. The reader keeps the first problem, with the path of the field, and refuses what it does not
// know. Private to contract/.
#pragma once

#include "contract/error.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::fields_io {

using Json = nlohmann::json;

inline constexpr int kDepthMax = 24;

// Limits of texts in bytes.
inline constexpr std::size_t kWord = 256;          // names, versions, labels
inline constexpr std::size_t kIdBytes = 1024;      // unit and item ids
inline constexpr std::size_t kSentence = 16384;    // error details, reasons
inline constexpr std::size_t kOutput = 4u << 20;   // what a model wrote

// Parses one document: at most `bytes_max` bytes, kDepthMax deep, no key twice in one object.
Status parse_json(std::string_view bytes, std::size_t bytes_max, Json& json);
// Invalid UTF-8 is written as U+FFFD (fields that must not change are written by `bytes`, as base64 where needed).
std::string dump(const Json& json);
std::string to_base64(std::string_view bytes);
bool from_base64(std::string_view text, std::string& bytes);
bool is_utf8(std::string_view bytes);
bool is_sha256(std::string_view text);  // 64 lower-case hex digits
std::string describe(const Json& value);  // "the number 3", "a list": for sentences

class FieldWriter {
 public:
  static constexpr bool kReads = false;
  explicit FieldWriter(Json& object) : object_(object) {
    if (!object_.is_object()) object_ = Json::object();
  }
  void text(const char* key, const std::string& value, std::size_t bytes_max, std::size_t = 0) {
    object_[key] = value.size() <= bytes_max ? value : value.substr(0, bytes_max);
  }
  void bytes(const char* key, const std::string& value, std::size_t) {
    if (is_utf8(value)) object_[key] = value;
    else object_[std::string(key) + "_base64"] = to_base64(value);
  }
  void hash(const char* key, const std::string& value, bool = false) { object_[key] = value; }
  template <class Integer>
  void integer(const char* key, Integer value, std::uint64_t = 0, std::uint64_t = 0) { object_[key] = value; }
  void number(const char* key, double value, double = 0, double = 0) { object_[key] = std::isfinite(value) ? value : 0.0; }
  void flag(const char* key, bool value) { object_[key] = value; }
  template <class T>
  void object(const char* key, const T& value) {
    FieldWriter inner(object_[key]);
    fields(inner, const_cast<T&>(value));
  }
  template <class T>
  void optional(const char* key, const std::optional<T>& value) {
    if (value) object(key, *value);
  }
  template <class T>
  void list(const char* key, const std::vector<T>& values, std::size_t) {
    Json& list = object_[key] = Json::array();
    for (const T& value : values) {
      FieldWriter inner(list.emplace_back());
      fields(inner, const_cast<T&>(value));
    }
  }
  void texts(const char* key, const std::vector<std::string>& values, std::size_t, std::size_t) { object_[key] = values; }
  void integers(const char* key, const std::vector<int>& values, std::size_t, int) { object_[key] = values; }
  void text_map(const char* key, const std::map<std::string, std::string>& values, std::size_t, std::size_t) {
    object_[key] = values;
  }
  // A number that is not finite is left out: "absent" is the word for "could not be measured".
  void number_map(const char* key, const std::map<std::string, double>& values, std::size_t) {
    Json& map = object_[key] = Json::object();
    for (const auto& [name, value] : values)
      if (std::isfinite(value)) map[name] = value;
  }
  void series_map(const char* key, const std::map<std::string, std::vector<float>>& values, std::size_t, std::size_t) {
    if (values.empty()) return;
    Json& map = object_[key] = Json::object();
    for (const auto& [name, series] : values) {
      Json& list = map[name] = Json::array();
      for (const float value : series) list.push_back(std::isfinite(value) ? Json(value) : Json(nullptr));
    }
  }
  Json& json() { return object_; }

 private:
  Json& object_;
};

// Reads from `object`, keeps the first problem in `error`. `path` is "" at the top, else "models[0]".
class FieldReader {
 public:
  static constexpr bool kReads = true;
  FieldReader(const Json& object, std::string path, std::optional<Error>& error);
  ~FieldReader() = default;
  FieldReader(const FieldReader&) = delete;
  FieldReader& operator=(const FieldReader&) = delete;

  // In strict readers (the default) an absent field is a problem; in lenient ones it keeps its default.
  FieldReader& lenient() { lenient_ = true; return *this; }
  bool failed() const { return error_.has_value(); }
  void fail(const char* key, Code code, std::string detail);
  bool has(const char* key) const { return object_.is_object() && object_.contains(key); }
  // The member, marked as known; nullptr when it is absent or when something failed before.
  const Json* take(const char* key, bool optional = false);
  void finish();  // a key nobody took is a problem

  void text(const char* key, std::string& value, std::size_t bytes_max, std::size_t bytes_min = 0);
  void bytes(const char* key, std::string& value, std::size_t bytes_max);
  void hash(const char* key, std::string& value, bool may_be_empty = false);
  template <std::integral Integer>
  void integer(const char* key, Integer& value, std::uint64_t low = 0,
               std::uint64_t high = std::numeric_limits<std::uint64_t>::max()) {
    constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<Integer>::max());
    std::uint64_t read = 0;
    if (unsigned_in(key, read, low, high < kLargest ? high : kLargest)) value = static_cast<Integer>(read);
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void integer(const char* key, Enum& value, std::uint64_t low = 0,
               std::uint64_t high = std::numeric_limits<std::uint64_t>::max()) {
    std::uint64_t read = 0;
    if (unsigned_in(key, read, low, high)) value = static_cast<Enum>(read);
  }
  void number(const char* key, double& value, double low = -std::numeric_limits<double>::max(),
              double high = std::numeric_limits<double>::max());
  void flag(const char* key, bool& value);
  template <class T>
  void object(const char* key, T& value) {
    if (const Json* member = take(key)) object_at(*member, child(key), value);
  }
  template <class T>
  void optional(const char* key, std::optional<T>& value) {
    const Json* member = take(key, true);
    if (!member) return;
    value.emplace();
    object_at(*member, child(key), *value);
  }
  template <class T>
  void list(const char* key, std::vector<T>& values, std::size_t count_max) {
    const Json* member = list_of(key, count_max);
    if (!member) return;
    values.assign(member->size(), T{});
    for (std::size_t i = 0; i < values.size() && !failed(); ++i)
      object_at((*member)[i], child(key) + "[" + std::to_string(i) + "]", values[i]);
  }
  void texts(const char* key, std::vector<std::string>& values, std::size_t count_max, std::size_t bytes_max);
  void integers(const char* key, std::vector<int>& values, std::size_t count_max, int high);
  void text_map(const char* key, std::map<std::string, std::string>& values, std::size_t count_max, std::size_t bytes_max);
  void number_map(const char* key, std::map<std::string, double>& values, std::size_t count_max);
  void series_map(const char* key, std::map<std::string, std::vector<float>>& values, std::size_t count_max,
                  std::size_t length_max);
  std::string child(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }
  template <class T>
  void object_at(const Json& json, std::string path, T& value) {
    FieldReader inner(json, std::move(path), error_);
    inner.lenient_ = lenient_;
    fields(inner, value);
    inner.finish();
  }

 private:
  bool unsigned_in(const char* key, std::uint64_t& value, std::uint64_t low, std::uint64_t high);
  const Json* list_of(const char* key, std::size_t count_max);
  const Json* map_of(const char* key, std::size_t count_max);
  void fail_at(std::string path, Code code, std::string detail);

  const Json& object_;
  std::string path_;
  std::optional<Error>& error_;
  std::set<std::string, std::less<>> taken_;
  bool lenient_ = false;
};

template <class T>
Json to_json(const T& value) {
  Json json = Json::object();
  FieldWriter writer(json);
  fields(writer, const_cast<T&>(value));
  return json;
}

template <class T>
Result<T> from_json(const Json& json) {
  std::optional<Error> error;
  T value{};
  FieldReader reader(json, "", error);
  fields(reader, value);
  reader.finish();
  if (error) return *error;
  return value;
}

}  // namespace quantfleet::fields_io
