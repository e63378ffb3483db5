#include "suites/template/value.h"

#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet::jinja {
namespace {

constexpr int kJsonDepthMax = 64;

// Aliases a part of a shared value: no copy.
Value part(const Value& whole, const Json& inner) { return {std::shared_ptr<const Json>(whole.json, &inner), nullptr, {}}; }

std::string number_text(const Json& json) {
  if (!json.is_number_float()) return json.dump();
  const double value = json.get<double>();
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void append_repr(std::string& out, const Json& json) {
  switch (json.type()) {
    case Json::value_t::string: {
      const std::string& text = json.get_ref<const std::string&>();
      const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
      out += quote;
      for (char c : text) {
        if (c == quote || c == '\\') out += '\\', out += c;
        else if (c == '\n') out += "\\n";
        else if (c == '\t') out += "\\t";
        else if (c == '\r') out += "\\r";
        else out += c;
      }
      out += quote;
      break;
    }
    case Json::value_t::array:
      out += '[';
      for (std::size_t i = 0; i < json.size(); ++i) {
        if (i) out += ", ";
        append_repr(out, json[i]);
      }
      out += ']';
      break;
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, value] : json.items()) {
        if (!first) out += ", ";
        first = false;
        append_repr(out, Json(key));
        out += ": ";
        append_repr(out, value);
      }
      out += '}';
      break;
    }
    case Json::value_t::null: out += "None"; break;
    case Json::value_t::boolean: out += json.get<bool>() ? "True" : "False"; break;
    default: out += number_text(json);
  }
}

void append_json(std::string& out, const Json& json, int indent, int depth) {
  const auto newline = [&](int level) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
  };
  const char* separator = indent < 0 ? ", " : ",";
  if (json.is_array() && !json.empty()) {
    out += '[';
    for (std::size_t i = 0; i < json.size(); ++i) {
      if (i) out += separator;
      newline(depth + 1);
      append_json(out, json[i], indent, depth + 1);
    }
    newline(depth);
    out += ']';
  } else if (json.is_object() && !json.empty()) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : json.items()) {
      if (!first) out += separator;
      first = false;
      newline(depth + 1);
      out += Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + ": ";
      append_json(out, value, indent, depth + 1);
    }
    newline(depth);
    out += '}';
  } else if (json.is_number_float()) {
    out += number_text(json);
  } else {
    out += json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

std::int64_t to_int64(const Json& json, const Meter& meter) {
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    meter.fail(fmt::format("integer {} does not fit into 64 bits", json.get<std::uint64_t>()));
  return json.get<std::int64_t>();
}

Value integer_arithmetic(std::string_view op, std::int64_t a, std::int64_t b, const Meter& meter) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &result);
  else if (op == "-") overflow = __builtin_sub_overflow(a, b, &result);
  else if (op == "*") overflow = __builtin_mul_overflow(a, b, &result);
  else if (op == "//" || op == "%") {
    if (b == 0) meter.fail("division by zero");
    if (b == -1) {
      if (op == "//") overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
    } else {  // rounds down, as Python does
      const std::int64_t quotient = a / b, remainder = a % b;
      const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
      result = op == "//" ? quotient - adjust : remainder + (adjust ? b : 0);
    }
  } else if (op == "**") {
    if (b < 0) meter.fail("'**' with a negative exponent");
    result = 1;
    for (std::int64_t i = 0; i < b && !overflow && result != 0; ++i) {
      if (a == 1 || (a == -1 && i >= 2)) {
        result = a == 1 || b % 2 == 0 ? 1 : -1;
        break;
      }
      overflow = __builtin_mul_overflow(result, a, &result);
    }
  }
  if (overflow) meter.fail(fmt::format("{} {} {} does not fit into 64 bits", a, op, b));
  return of(result);
}

}  // namespace

void Meter::step(std::int64_t count) {
  steps_ += count;
  if (steps_ > limits_.steps) fail(fmt::format("more than {} steps", limits_.steps), Code::kTooLarge);
}

void Meter::made_text(std::size_t bytes) {
  if (bytes > limits_.output_bytes) fail(fmt::format("more than {} bytes of text", limits_.output_bytes), Code::kTooLarge);
  step(static_cast<std::int64_t>(bytes / 64));
}

void Meter::grows(std::size_t total_bytes, std::size_t added_bytes) {
  if (total_bytes > limits_.output_bytes)
    fail(fmt::format("more than {} bytes of text", limits_.output_bytes), Code::kTooLarge);
  step(1 + static_cast<std::int64_t>(added_bytes / 64));
}

void Meter::copies(const Json& json, int depth) {
  if (depth > kJsonDepthMax) fail(fmt::format("value nested deeper than {}", kJsonDepthMax), Code::kTooLarge);
  step();
  if (json.is_string()) made_text(json.get_ref<const std::string&>().size());
  if (json.is_array() || json.is_object())
    for (const Json& child : json) copies(child, depth + 1);
}

const Json& require(const Value& value, std::string_view what, const Meter& meter) {
  if (!value.json) meter.fail(fmt::format("{} needs a value, got {}", what, kind_name(value)));
  return *value.json;
}
const std::string& require_string(const Value& value, std::string_view what, const Meter& meter) {
  if (!value.is_string()) meter.fail(fmt::format("{} needs a string, got {}", what, kind_name(value)));
  return value.json->get_ref<const std::string&>();
}
std::int64_t require_integer(const Value& value, std::string_view what, const Meter& meter) {
  if (!value.is_integer()) meter.fail(fmt::format("{} needs an integer, got {}", what, kind_name(value)));
  return to_int64(*value.json, meter);
}

std::string_view kind_name(const Value& value) {
  if (value.members) return "a namespace";
  if (!value.json) return "an undefined value";
  switch (value.json->type()) {
    case Json::value_t::null: return "none";
    case Json::value_t::boolean: return "a boolean";
    case Json::value_t::string: return "a string";
    case Json::value_t::array: return "a list";
    case Json::value_t::object: return "a dictionary";
    default: return "a number";
  }
}

bool truth(const Value& value, const Meter& meter) {
  if (value.members) return true;
  if (!value.json) {
    if (meter.strict_undefined()) meter.fail(fmt::format("'{}' is undefined", value.name));
    return false;
  }
  const Json& json = *value.json;
  switch (json.type()) {
    case Json::value_t::null: return false;
    case Json::value_t::boolean: return json.get<bool>();
    case Json::value_t::string: return !json.get_ref<const std::string&>().empty();
    case Json::value_t::array:
    case Json::value_t::object: return !json.empty();
    default: return json.get<double>() != 0;
  }
}

std::string to_text(const Json& json, Meter& meter) {
  meter.copies(json);
  if (json.is_string()) return json.get<std::string>();
  std::string out;
  append_repr(out, json);
  return out;
}

std::string to_text(const Value& value, Meter& meter) {
  if (value.members) meter.fail("a namespace has no text");
  if (!value.json) {
    if (meter.strict_undefined()) meter.fail(fmt::format("'{}' is undefined", value.name));
    return {};
  }
  return to_text(*value.json, meter);
}

std::string to_json_text(const Json& json, int indent, Meter& meter) {
  meter.copies(json);
  std::string out;
  append_json(out, json, indent, 0);
  meter.made_text(out.size());
  return out;
}

bool equal(const Value& left, const Value& right) {
  if (left.members || right.members) return left.members == right.members;
  if (!left.json || !right.json) return !left.json && !right.json;
  return *left.json == *right.json;
}

int order(const Json& left, const Json& right, const Meter& meter) {
  if (left.is_string() && right.is_string())
    return left.get_ref<const std::string&>().compare(right.get_ref<const std::string&>());
  if (left.is_number() && right.is_number()) return left < right ? -1 : left == right ? 0 : 1;
  meter.fail(fmt::format("{} and {} have no order", left.type_name(), right.type_name()));
}

bool contains(const Value& container, const Value& element, Meter& meter) {
  if (container.members) return container.members->contains(require_string(element, "'in'", meter));
  const Json& json = require(container, "'in'", meter);
  if (json.is_string()) {
    meter.step(1 + static_cast<std::int64_t>(json.get_ref<const std::string&>().size() / 64));
    return json.get_ref<const std::string&>().find(require_string(element, "'in' a string", meter)) != std::string::npos;
  }
  if (json.is_object()) return element.is_string() && json.contains(element.json->get_ref<const std::string&>());
  if (!json.is_array()) meter.fail(fmt::format("'in' needs a list, a dictionary or a string, got {}", kind_name(container)));
  meter.step(static_cast<std::int64_t>(json.size()));
  return element.json && std::find(json.begin(), json.end(), *element.json) != json.end();
}

Value binary(std::string_view op, const Value& left, const Value& right, Meter& meter) {
  if (op == "~") {
    std::string text = to_text(left, meter) + to_text(right, meter);
    meter.made_text(text.size());
    return of(std::move(text));
  }
  const std::string what = fmt::format("'{}'", op);
  const Json& a = require(left, what, meter);
  const Json& b = require(right, what, meter);
  if (op == "+" && a.is_string() && b.is_string()) {
    const auto& x = a.get_ref<const std::string&>();
    const auto& y = b.get_ref<const std::string&>();
    meter.made_text(x.size() + y.size());
    return of(x + y);
  }
  if (op == "+" && a.is_array() && b.is_array()) {
    meter.copies(a), meter.copies(b);
    Json list = a;
    list.insert(list.end(), b.begin(), b.end());
    return of(std::move(list));
  }
  if (op == "*" && ((a.is_string() && b.is_number_integer()) || (b.is_string() && a.is_number_integer()))) {
    const std::string& text = (a.is_string() ? a : b).get_ref<const std::string&>();
    const std::int64_t count = std::max<std::int64_t>(0, to_int64(a.is_string() ? b : a, meter));
    std::size_t size = 0;
    if (__builtin_mul_overflow(text.size(), static_cast<std::size_t>(count), &size)) size = SIZE_MAX;
    meter.made_text(size);
    std::string repeated;
    if (!text.empty())
      for (std::int64_t i = 0; i < count; ++i) repeated += text;
    return of(std::move(repeated));
  }
  if (!a.is_number() || !b.is_number())
    meter.fail(fmt::format("'{}' does not work on {} and {}", op, kind_name(left), kind_name(right)));
  if (a.is_number_integer() && b.is_number_integer() && op != "/")
    return integer_arithmetic(op, to_int64(a, meter), to_int64(b, meter), meter);
  const double x = a.get<double>(), y = b.get<double>();
  if ((op == "/" || op == "//" || op == "%") && y == 0) meter.fail("division by zero");
  if (op == "+") return of(x + y);
  if (op == "-") return of(x - y);
  if (op == "*") return of(x * y);
  if (op == "/") return of(x / y);
  if (op == "//") return of(std::floor(x / y));
  if (op == "%") return of(x - y * std::floor(x / y));
  meter.fail("'**' works on integers only");
}

Value attribute(const Value& object, std::string_view name, const Meter& meter) {
  if (object.members) {
    const auto found = object.members->find(std::string(name));
    return found == object.members->end() ? undefined(std::string(name)) : found->second;
  }
  if (!object.json) meter.fail(fmt::format("'{}' is undefined, so it has no '{}'", object.name, name));
  if (object.json->is_object()) {
    const auto found = object.json->find(name);
    if (found != object.json->end()) return part(object, *found);
  }
  return undefined(std::string(name));
}

Value index(const Value& object, const Value& key, Meter& meter) {
  if (key.is_string()) return attribute(object, key.json->get_ref<const std::string&>(), meter);
  if (object.is_undefined()) meter.fail(fmt::format("'{}' is undefined, so it has no elements", object.name));
  std::int64_t at = require_integer(key, "an index", meter);
  if (!object.is_list() && !object.is_string()) return undefined(std::to_string(at));
  const auto size = static_cast<std::int64_t>(length(object, meter));
  if (at < 0) at += size;
  if (at < 0 || at >= size) return undefined(fmt::format("[{}]", at));
  if (object.is_list()) return part(object, (*object.json)[static_cast<std::size_t>(at)]);
  const std::string& text = object.json->get_ref<const std::string&>();
  meter.step(static_cast<std::int64_t>(text.size() / 64));
  const auto offsets = character_offsets(text);
  return of(text.substr(offsets[static_cast<std::size_t>(at)], offsets[static_cast<std::size_t>(at) + 1] - offsets[static_cast<std::size_t>(at)]));
}

Value slice(const Value& object, const Value* begin, const Value* end, const Value* step, Meter& meter) {
  if (!object.is_list() && !object.is_string())
    meter.fail(fmt::format("a slice needs a list or a string, got {}", kind_name(object)));
  const auto given = [&](const Value* value) { return value && !(value->json && value->json->is_null()); };
  const std::int64_t by = given(step) ? require_integer(*step, "a slice", meter) : 1;
  if (by == 0) meter.fail("a slice's step must not be 0");
  const std::vector<Value> all = elements(object, meter);
  const auto size = static_cast<std::int64_t>(all.size());
  const auto bound = [&](const Value* value, std::int64_t fallback) {
    if (!given(value)) return fallback;
    std::int64_t at = require_integer(*value, "a slice", meter);
    if (at < 0) at = std::max<std::int64_t>(at, -size) + size - (at < -size ? 1 : 0);  // before the first: -1
    return by > 0 ? std::clamp<std::int64_t>(at, 0, size) : std::clamp<std::int64_t>(at, -1, size - 1);
  };
  const std::int64_t from = bound(begin, by > 0 ? 0 : size - 1), to = bound(end, by > 0 ? size : -1);
  Json list = Json::array();
  std::string text;
  const std::int64_t stride = std::clamp<std::int64_t>(by, -size - 1, size + 1);
  for (std::int64_t i = from; by > 0 ? i < to : i > to; i += stride) {
    const Value& element = all[static_cast<std::size_t>(i)];
    if (object.is_string()) {
      text += element.json->get_ref<const std::string&>();
    } else {
      meter.copies(*element.json);
      list.push_back(*element.json);
    }
  }
  return of(object.is_string() ? Json(std::move(text)) : std::move(list));
}

std::vector<Value> elements(const Value& value, Meter& meter) {
  if (value.is_undefined() && !meter.strict_undefined()) return {};
  const Json& json = require(value, "a loop", meter);
  std::vector<Value> all;
  if (json.is_array()) {
    meter.step(static_cast<std::int64_t>(json.size()));
    for (const Json& element : json) all.push_back(part(value, element));
  } else if (json.is_object()) {
    meter.step(static_cast<std::int64_t>(json.size()));
    for (const auto& [key, element] : json.items()) all.push_back(of(key));
  } else if (json.is_string()) {
    const std::string& text = json.get_ref<const std::string&>();
    meter.step(static_cast<std::int64_t>(text.size()));
    const auto offsets = character_offsets(text);
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) all.push_back(of(text.substr(offsets[i], offsets[i + 1] - offsets[i])));
  } else {
    meter.fail(fmt::format("expected a list, a dictionary or a string, got {}", kind_name(value)));
  }
  return all;
}

std::size_t length(const Value& value, const Meter& meter) {
  const Json& json = require(value, "a length", meter);
  if (json.is_string()) return count_characters(json.get_ref<const std::string&>());
  if (json.is_array() || json.is_object()) return json.size();
  meter.fail(fmt::format("{} has no length", kind_name(value)));
}

}  // namespace quantfleet::jinja
