#include "backends/huggingface/json_file.h"

#include <fmt/format.h>

namespace quantfleet::huggingface {
namespace {

constexpr int kDepthMax = 64;

}  // namespace

Status parse_json(std::string_view text, std::string_view place, Json& json) {
  bool too_deep = false;
  const auto callback = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;
  };
  json = Json::parse(text, callback, false);
  if (too_deep) return Error{Code::kTooLarge, fmt::format("{}: nested deeper than {}", place, kDepthMax)};
  if (!json.is_object()) return Error{Code::kBadValue, fmt::format("{}: expected a JSON object", place)};
  return {};
}

Status read_json_file(const ModelFolder& folder, const std::string& name, Json& json) {
  const auto bytes = folder.bytes(name);
  if (!bytes) return bytes.error();
  if (bytes->size() > kJsonMaxBytes) return Error{Code::kTooLarge, fmt::format("{}: {} bytes; the limit is {}", folder.place(name), bytes->size(), kJsonMaxBytes)};
  return parse_json({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, folder.place(name), json);
}

Status read_optional_json_file(const ModelFolder& folder, const std::string& name, std::optional<Json>& json) {
  return folder.contains(name) ? read_json_file(folder, name, json.emplace()) : Status();
}

std::string text_of(const Json& object, std::string_view key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool flag_of(const Json& object, std::string_view key, bool fallback) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

const Json* JsonReader::find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::fail(Code code, std::string sentence) {
  if (!error_) error_ = Error{code, place_ + ": " + std::move(sentence)};
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t low, std::int64_t high, std::optional<std::int64_t> fallback) {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) return fail(Code::kNotFound, fmt::format("{} is missing", key)), low;
  const double number = value->is_number() ? value->get<double>() : 0;
  if (!value->is_number_integer() || number < static_cast<double>(low) || number > static_cast<double>(high))
    return fail(Code::kBadValue, fmt::format("{} is {}; an integer from {} to {} is expected", key, value->dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60), low, high)), low;
  return value->get<std::int64_t>();
}

double JsonReader::number(std::string_view key, double low, double high, std::optional<double> fallback) {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) return fail(Code::kNotFound, fmt::format("{} is missing", key)), low;
  const double number = value->is_number() ? value->get<double>() : low - 1;
  if (!(number >= low && number <= high))
    return fail(Code::kBadValue, fmt::format("{} is {}; a number from {} to {} is expected", key, value->dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60), low, high)), low;
  return number;
}

bool JsonReader::flag(std::string_view key, bool fallback) {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) return fail(Code::kBadValue, fmt::format("{} is neither true nor false", key)), fallback;
  return value->get<bool>();
}

std::string JsonReader::text(std::string_view key, std::optional<std::string> fallback) {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) return fail(Code::kNotFound, fmt::format("{} is missing", key)), "";
  if (!value->is_string()) return fail(Code::kBadValue, fmt::format("{} is not a text", key)), "";
  return value->get<std::string>();
}

}  // namespace quantfleet::huggingface
