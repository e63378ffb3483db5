#include "contract/json_fields.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

namespace quantfleet::fields_io {

Status parse_json(std::string_view bytes, std::size_t bytes_max, Json& json) {
  if (bytes.size() > bytes_max)
    return Error{Code::kTooLarge, fmt::format("{} bytes of JSON, at most {} are read", bytes.size(), bytes_max)};
  bool too_deep = false;
  std::string duplicate;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDepthMax) {
      too_deep = true;
      return false;
    }
    switch (event) {
      case Json::parse_event_t::object_start: keys.emplace_back(); break;
      case Json::parse_event_t::object_end:
        if (!keys.empty()) keys.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!keys.empty() && parsed.is_string()) {
          const std::string& key = parsed.get_ref<const std::string&>();
          if (!keys.back().insert(key).second && duplicate.empty()) duplicate = key.substr(0, 80);
        }
        break;
      default: break;
    }
    return true;
  };
  try {
    json = Json::parse(bytes.begin(), bytes.end(), callback, true, false);
    if (too_deep) return Error{Code::kTooLarge, fmt::format("JSON is nested deeper than {} levels", kDepthMax)};
    if (!duplicate.empty()) return Error{Code::kBadValue, fmt::format("the key \"{}\" stands twice in one object", duplicate)};
    return {};
  } catch (const Json::parse_error& error) {
    return Error{Code::kBadValue, fmt::format("not valid JSON at byte {} of {}", error.byte, bytes.size())};
  } catch (const Json::exception&) {  // a number beyond double, for instance
    return Error{Code::kBadValue, "not valid JSON: a number is out of range"};
  }
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

bool from_base64(std::string_view text, std::string& bytes) {
  if (text.size() % 4 != 0 || text.size() > (1u << 30)) return false;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const auto in_alphabet = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  if (!std::all_of(text.begin(), text.end() - static_cast<std::ptrdiff_t>(padding), in_alphabet)) return false;
  bytes.assign(text.size() / 4 * 3 + 1, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0 || static_cast<std::size_t>(length) < padding) return false;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return true;
}

bool is_utf8(std::string_view bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int more = lead >= 0xC2 && lead <= 0xDF ? 1 : lead >= 0xE0 && lead <= 0xEF ? 2 : lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
    if (more == 0 || bytes.size() - i <= static_cast<std::size_t>(more)) return false;
    for (int k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(bytes[i + static_cast<std::size_t>(k)]) & 0xC0) != 0x80) return false;
    const auto second = static_cast<unsigned char>(bytes[i + 1]);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
        (lead == 0xF4 && second > 0x8F))
      return false;
    i += static_cast<std::size_t>(more) + 1;
  }
  return true;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string describe(const Json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number()) return "the number " + dump(value);
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a map";
  const std::string& text = value.get_ref<const std::string&>();
  if (text.size() > 60) return fmt::format("a text of {} bytes", text.size());
  return dump(value);
}

FieldReader::FieldReader(const Json& object, std::string path, std::optional<Error>& error)
    : object_(object), path_(std::move(path)), error_(error) {
  if (!object_.is_object())
    fail_at(path_, Code::kBadValue, fmt::format("expected a map of fields, found {}", describe(object_)));
}

void FieldReader::fail_at(std::string path, Code code, std::string detail) {
  if (error_) return;
  error_ = Error{code, path.empty() ? std::move(detail) : path + ": " + detail};
}

void FieldReader::fail(const char* key, Code code, std::string detail) { fail_at(child(key), code, std::move(detail)); }

const Json* FieldReader::take(const char* key, bool optional) {
  if (failed()) return nullptr;
  taken_.emplace(key);
  const auto found = object_.find(key);
  if (found == object_.end()) {
    if (!optional && !lenient_) fail(key, Code::kBadValue, "is missing");
    return nullptr;
  }
  return &*found;
}

void FieldReader::finish() {
  if (failed()) return;
  for (const auto& [key, value] : object_.items()) {
    if (taken_.contains(key)) continue;
    std::string known;
    for (const std::string& name : taken_) known += (known.empty() ? "" : ", ") + name;
    fail_at(child(key.substr(0, 80)), Code::kBadValue, "unknown key; known here: " + known);
    return;
  }
}

void FieldReader::text(const char* key, std::string& value, std::size_t bytes_max, std::size_t bytes_min) {
  const Json* member = take(key);
  if (!member) return;
  if (!member->is_string()) {
    return fail(key, Code::kBadValue,
                fmt::format("expected text, found {}{}", describe(*member), member->is_primitive() ? " (quote it)" : ""));
  }
  const std::string& read = member->get_ref<const std::string&>();
  if (read.size() > bytes_max) return fail(key, Code::kTooLarge, fmt::format("{} bytes, at most {}", read.size(), bytes_max));
  if (read.size() < bytes_min) return fail(key, Code::kBadValue, "must not be empty");
  value = read;
}

void FieldReader::bytes(const char* key, std::string& value, std::size_t bytes_max) {
  const std::string encoded_key = std::string(key) + "_base64";
  if (!has(encoded_key.c_str())) {
    text(key, value, bytes_max);
    return;
  }
  std::string encoded;
  text(encoded_key.c_str(), encoded, bytes_max / 3 * 4 + 4);
  if (failed()) return;
  if (!from_base64(encoded, value)) fail(encoded_key.c_str(), Code::kBadValue, "is not base64");
}

void FieldReader::hash(const char* key, std::string& value, bool may_be_empty) {
  text(key, value, 64);
  if (failed() || (lenient_ && !has(key)) || (may_be_empty && value.empty())) return;
  if (!is_sha256(value)) fail(key, Code::kBadValue, "expected a SHA-256 in 64 lower-case hex digits");
}

bool FieldReader::unsigned_in(const char* key, std::uint64_t& value, std::uint64_t low, std::uint64_t high) {
  const Json* member = take(key);
  if (!member) return false;
  const bool fits = member->is_number_unsigned() && member->get<std::uint64_t>() >= low && member->get<std::uint64_t>() <= high;
  const bool fits_signed = !member->is_number_unsigned() && member->is_number_integer() && member->get<std::int64_t>() >= 0 &&
                           static_cast<std::uint64_t>(member->get<std::int64_t>()) >= low &&
                           static_cast<std::uint64_t>(member->get<std::int64_t>()) <= high;
  if (!fits && !fits_signed) {
    fail(key, Code::kBadValue, fmt::format("expected a whole number from {} to {}, found {}", low, high, describe(*member)));
    return false;
  }
  value = fits ? member->get<std::uint64_t>() : static_cast<std::uint64_t>(member->get<std::int64_t>());
  return true;
}

void FieldReader::number(const char* key, double& value, double low, double high) {
  const Json* member = take(key);
  if (!member) return;
  const double read = member->is_number() ? member->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(read >= low && read <= high)) {
    if (low == -std::numeric_limits<double>::max())
      return fail(key, Code::kBadValue, fmt::format("expected a finite number, found {}", describe(*member)));
    return fail(key, Code::kBadValue, fmt::format("expected a number from {} to {}, found {}", low, high, describe(*member)));
  }
  value = read;
}

void FieldReader::flag(const char* key, bool& value) {
  const Json* member = take(key);
  if (!member) return;
  if (!member->is_boolean())
    return fail(key, Code::kBadValue, fmt::format("expected true or false, found {}", describe(*member)));
  value = member->get<bool>();
}

const Json* FieldReader::list_of(const char* key, std::size_t count_max) {
  const Json* member = take(key);
  if (!member) return nullptr;
  if (!member->is_array()) {
    fail(key, Code::kBadValue, fmt::format("expected a list, found {}", describe(*member)));
    return nullptr;
  }
  if (member->size() > count_max) {
    fail(key, Code::kTooLarge, fmt::format("{} entries, at most {}", member->size(), count_max));
    return nullptr;
  }
  return member;
}

const Json* FieldReader::map_of(const char* key, std::size_t count_max) {
  const Json* member = take(key);
  if (!member) return nullptr;
  if (!member->is_object()) {
    fail(key, Code::kBadValue, fmt::format("expected a map, found {}", describe(*member)));
    return nullptr;
  }
  if (member->size() > count_max) {
    fail(key, Code::kTooLarge, fmt::format("{} entries, at most {}", member->size(), count_max));
    return nullptr;
  }
  for (const auto& [name, value] : member->items()) {
    if (name.size() <= kWord && !name.empty()) continue;
    fail(key, Code::kBadValue, fmt::format("a key of {} bytes, expected 1 to {}", name.size(), kWord));
    return nullptr;
  }
  return member;
}

void FieldReader::texts(const char* key, std::vector<std::string>& values, std::size_t count_max, std::size_t bytes_max) {
  const Json* member = list_of(key, count_max);
  if (!member) return;
  values.clear();
  for (const Json& entry : *member) {
    const std::string place = std::string(key) + "[" + std::to_string(values.size()) + "]";
    if (!entry.is_string())
      return fail(place.c_str(), Code::kBadValue, fmt::format("expected text, found {}", describe(entry)));
    const std::string& read = entry.get_ref<const std::string&>();
    if (read.size() > bytes_max)
      return fail(place.c_str(), Code::kTooLarge, fmt::format("{} bytes, at most {}", read.size(), bytes_max));
    values.push_back(read);
  }
}

void FieldReader::integers(const char* key, std::vector<int>& values, std::size_t count_max, int high) {
  const Json* member = list_of(key, count_max);
  if (!member) return;
  values.clear();
  for (const Json& entry : *member) {
    if (!entry.is_number_integer() || entry.get<std::int64_t>() < 0 || entry.get<std::int64_t>() > high)
      return fail(key, Code::kBadValue, fmt::format("expected whole numbers from 0 to {}, found {}", high, describe(entry)));
    values.push_back(static_cast<int>(entry.get<std::int64_t>()));
  }
}

void FieldReader::text_map(const char* key, std::map<std::string, std::string>& values, std::size_t count_max,
                           std::size_t bytes_max) {
  const Json* member = map_of(key, count_max);
  if (!member) return;
  values.clear();
  for (const auto& [name, value] : member->items()) {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > bytes_max)
      return fail(key, Code::kBadValue, fmt::format("expected texts of at most {} bytes, found {}", bytes_max, describe(value)));
    values.emplace(name, value.get_ref<const std::string&>());
  }
}

void FieldReader::number_map(const char* key, std::map<std::string, double>& values, std::size_t count_max) {
  const Json* member = map_of(key, count_max);
  if (!member) return;
  values.clear();
  for (const auto& [name, value] : member->items()) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      return fail(key, Code::kBadValue, fmt::format("expected finite numbers, found {}", describe(value)));
    values.emplace(name, value.get<double>());
  }
}

void FieldReader::series_map(const char* key, std::map<std::string, std::vector<float>>& values, std::size_t count_max,
                             std::size_t length_max) {
  if (!has(key)) {
    taken_.emplace(key);
    return;
  }
  const Json* member = map_of(key, count_max);
  if (!member) return;
  values.clear();
  for (const auto& [name, series] : member->items()) {
    if (!series.is_array() || series.size() > length_max)
      return fail(key, Code::kBadValue, fmt::format("expected lists of at most {} numbers, found {}", length_max, describe(series)));
    std::vector<float>& out = values[name];
    out.reserve(series.size());
    for (const Json& value : series) {
      const double read = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
      if ((!value.is_number() && !value.is_null()) || std::fabs(read) > std::numeric_limits<float>::max())
        return fail(key, Code::kBadValue, fmt::format("expected numbers, found {}", describe(value)));
      out.push_back(static_cast<float>(read));
    }
  }
}

}  // namespace quantfleet::fields_io
