// title changes ASCII letters only. sort and unique compare as Python does.
#include "suites/template/functions.h"

#include "suites/scorers/regular_expression.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace quantfleet::jinja {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string title(std::string text) {
  bool inside = false;
  for (char& c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
    c = inside ? lower(c) : upper(c);
    inside = letter;
  }
  return text;
}
std::string capitalize(const std::string& text) {
  if (text.empty()) return text;
  const std::size_t first = character_offsets(text)[1];
  return upper_case(text.substr(0, first)) + lower_case(text.substr(first));
}

// Python's strip: `characters` is a set of bytes here (ASCII sets are what templates use).
std::string strip(const std::string& text, std::string_view characters, bool left, bool right) {
  std::size_t begin = left ? text.find_first_not_of(characters) : 0;
  if (begin == std::string::npos) return {};
  const std::size_t end = right ? text.find_last_not_of(characters) : text.size() - 1;
  if (text.empty() || end == std::string::npos) return {};
  return text.substr(begin, end + 1 - begin);
}

std::string replace(const std::string& text, const std::string& from, const std::string& to, std::int64_t count, Meter& meter) {
  if (from.empty()) meter.fail("'replace' needs something to look for");
  std::string out;
  std::size_t at = 0;
  for (; count != 0; --count) {
    const std::size_t found = text.find(from, at);
    if (found == std::string::npos) break;
    out.append(text, at, found - at);
    out += to;
    meter.grows(out.size(), to.size());
    at = found + from.size();
  }
  out.append(text, at);
  meter.made_text(out.size());
  return out;
}

Json split(const std::string& text, const Value* separator, std::int64_t count, Meter& meter) {
  Json list = Json::array();
  meter.made_text(text.size());
  if (!separator || (separator->json && separator->json->is_null())) {
    std::size_t at = text.find_first_not_of(kSpaces);
    while (at != std::string::npos) {
      std::size_t end = count-- == 0 ? std::string::npos : text.find_first_of(kSpaces, at);
      meter.step();
      list.push_back(text.substr(at, end == std::string::npos ? end : end - at));
      at = end == std::string::npos ? end : text.find_first_not_of(kSpaces, end);
    }
    return list;
  }
  const std::string& cut = require_string(*separator, "'split'", meter);
  if (cut.empty()) meter.fail("'split' needs a separator that is not empty");
  for (std::size_t at = 0;;) {
    const std::size_t end = count-- == 0 ? std::string::npos : text.find(cut, at);
    meter.step();
    list.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return list;
    at = end + cut.size();
  }
}

std::string join(const Value& value, const Value* separator, const Value* attribute_name, Meter& meter) {
  const std::string between = separator ? to_text(*separator, meter) : "";
  std::string out;
  bool first = true;
  for (const Value& element : elements(value, meter)) {
    if (!first) out += between;
    first = false;
    out += attribute_name ? to_text(attribute(element, require_string(*attribute_name, "'join'", meter), meter), meter)
                          : to_text(element, meter);
    meter.grows(out.size(), between.size());
  }
  meter.made_text(out.size());
  return out;
}

Json pairs_of(const Value& value, std::string_view what, Meter& meter) {
  if (!value.is_dictionary()) meter.fail(fmt::format("{} needs a dictionary, got {}", what, kind_name(value)));
  meter.copies(*value.json);
  Json list = Json::array();
  for (const auto& [key, element] : value.json->items()) list.push_back(Json::array({key, element}));
  return list;
}

Json list_of(const std::vector<Value>& values, Meter& meter) {
  Json list = Json::array();
  for (const Value& value : values) {
    meter.copies(require(value, "a list", meter));
    list.push_back(*value.json);
  }
  return list;
}

Json sorted(const Value& value, const Arguments& arguments, Meter& meter) {
  const Value* by = arguments.find(2, "attribute");
  const Value* reverse = arguments.find(0, "reverse");
  std::vector<Value> all = elements(value, meter);
  meter.step(static_cast<std::int64_t>(all.size()) * 20);
  const auto key = [&](const Value& element) {
    return by ? attribute(element, require_string(*by, "'sort'", meter), meter) : element;
  };
  std::stable_sort(all.begin(), all.end(), [&](const Value& a, const Value& b) {
    return order(require(key(a), "'sort'", meter), require(key(b), "'sort'", meter), meter) < 0;
  });
  if (reverse && truth(*reverse, meter)) std::reverse(all.begin(), all.end());
  return list_of(all, meter);
}

Value extreme(const Value& value, int sign, Meter& meter) {
  const std::vector<Value> all = elements(value, meter);
  if (all.empty()) return undefined("an element of an empty list");
  std::size_t best = 0;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (order(require(all[i], "'min' and 'max'", meter), require(all[best], "'min' and 'max'", meter), meter) * sign > 0) best = i;
  return all[best];
}

// selectattr, rejectattr(attribute [, test [, argument]]) and select, reject([test [, argument]])
Json selected(const Value& value, const Arguments& arguments, bool by_attribute, bool wanted, Meter& meter) {
  std::vector<Value> kept;
  const std::size_t at = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty()) meter.fail("'selectattr' needs the name of an attribute");
  for (const Value& element : elements(value, meter)) {
    const Value tested = by_attribute
                             ? attribute(element, require_string(arguments.positional[0], "'selectattr'", meter), meter)
                             : element;
    bool passes = false;
    if (arguments.positional.size() > at) {
      Arguments rest;
      rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(at) + 1, arguments.positional.end());
      passes = apply_test(require_string(arguments.positional[at], "'select'", meter), tested, rest, meter);
    } else {
      passes = !tested.is_undefined() && truth(tested, meter);
    }
    if (passes == wanted) kept.push_back(element);
  }
  return list_of(kept, meter);
}

Json mapped_list(const Value& value, const Arguments& arguments, Meter& meter) {
  std::vector<Value> results;
  const Value* by = arguments.find(SIZE_MAX, "attribute");
  for (const Value& element : elements(value, meter)) {
    if (by) {
      results.push_back(attribute(element, require_string(*by, "'map'", meter), meter));
    } else {
      if (arguments.positional.empty()) meter.fail("'map' needs a filter or attribute='...'");
      Arguments rest;
      rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
      results.push_back(apply_filter(require_string(arguments.positional[0], "'map'", meter), element, rest, meter));
    }
  }
  return list_of(results, meter);
}

Json to_integer(const Value& value, const Arguments& arguments, Meter& meter) {
  const Json& json = require(value, "filter 'int'", meter);
  if (json.is_number_integer()) return json;
  if (json.is_boolean()) return json.get<bool>() ? 1 : 0;
  if (json.is_number_float()) {
    const double number = std::trunc(json.get<double>());
    if (!(std::fabs(number) < 9.2e18)) meter.fail("filter 'int': the number does not fit into 64 bits");
    return static_cast<std::int64_t>(number);
  }
  if (json.is_string()) {
    const std::string text = strip(json.get_ref<const std::string&>(), kSpaces, true, true);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size() && !text.empty()) return number;
  }
  const Value* fallback = arguments.find(0, "default");
  return fallback ? require(*fallback, "filter 'int'", meter) : Json(0);
}

Json to_float(const Value& value, const Arguments& arguments, Meter& meter) {
  const Json& json = require(value, "filter 'float'", meter);
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) {
    const std::string text = strip(json.get_ref<const std::string&>(), kSpaces, true, true);
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size() && !text.empty()) return number;
  }
  const Value* fallback = arguments.find(0, "default");
  return fallback ? require(*fallback, "filter 'float'", meter) : Json(0.0);
}

std::string indented(const std::string& text, const Arguments& arguments, Meter& meter) {
  const Value* width = arguments.find(0, "width");
  const Value* first = arguments.find(1, "first");
  const std::int64_t spaces = width ? require_integer(*width, "'indent'", meter) : 4;
  if (spaces < 0 || spaces > 1000) meter.fail("'indent' needs a width from 0 to 1000");
  const std::string pad(static_cast<std::size_t>(spaces), ' ');
  std::string out = first && truth(*first, meter) ? pad : "";
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n') {
      out += pad;
      meter.grows(out.size(), pad.size());
    }
  }
  meter.made_text(out.size());
  return out;
}

using Filter = Value (*)(const Value&, const Arguments&, Meter&);
struct NamedFilter {
  std::string_view name;
  Filter apply;
};

std::string text_of(const Value& value, Meter& meter) { return to_text(value, meter); }

constexpr std::array kFilters = {
    NamedFilter{"abs", [](const Value& v, const Arguments&, Meter& m) {
      const Json& json = require(v, "filter 'abs'", m);
      if (!json.is_number()) m.fail("filter 'abs' needs a number");
      return json.get<double>() < 0 ? binary("-", of(0), v, m) : v;
    }},
    NamedFilter{"capitalize", [](const Value& v, const Arguments&, Meter& m) { return of(capitalize(text_of(v, m))); }},
    NamedFilter{"count", [](const Value& v, const Arguments&, Meter& m) { return of(length(v, m)); }},
    NamedFilter{"d", [](const Value& v, const Arguments& a, Meter& m) { return apply_filter("default", v, a, m); }},
    NamedFilter{"default", [](const Value& v, const Arguments& a, Meter& m) {
      const Value* fallback = a.find(0, "default_value");
      const Value* also_false = a.find(1, "boolean");
      const bool use = v.is_undefined() || (also_false && truth(*also_false, m) && !truth(v, m));
      return !use ? v : fallback ? *fallback : of("");
    }},
    NamedFilter{"dictsort", [](const Value& v, const Arguments&, Meter& m) { return of(pairs_of(v, "filter 'dictsort'", m)); }},
    NamedFilter{"first", [](const Value& v, const Arguments&, Meter& m) {
      const auto all = elements(v, m);
      return all.empty() ? undefined("the first of nothing") : all.front();
    }},
    NamedFilter{"float", [](const Value& v, const Arguments& a, Meter& m) { return of(to_float(v, a, m)); }},
    NamedFilter{"indent", [](const Value& v, const Arguments& a, Meter& m) { return of(indented(text_of(v, m), a, m)); }},
    NamedFilter{"int", [](const Value& v, const Arguments& a, Meter& m) { return of(to_integer(v, a, m)); }},
    NamedFilter{"items", [](const Value& v, const Arguments&, Meter& m) { return of(pairs_of(v, "filter 'items'", m)); }},
    NamedFilter{"join", [](const Value& v, const Arguments& a, Meter& m) { return of(join(v, a.find(0, "d"), a.find(1, "attribute"), m)); }},
    NamedFilter{"last", [](const Value& v, const Arguments&, Meter& m) {
      const auto all = elements(v, m);
      return all.empty() ? undefined("the last of nothing") : all.back();
    }},
    NamedFilter{"length", [](const Value& v, const Arguments&, Meter& m) { return of(length(v, m)); }},
    NamedFilter{"list", [](const Value& v, const Arguments&, Meter& m) { return of(list_of(elements(v, m), m)); }},
    NamedFilter{"lower", [](const Value& v, const Arguments&, Meter& m) { return of(lower_case(text_of(v, m))); }},
    NamedFilter{"map", [](const Value& v, const Arguments& a, Meter& m) { return of(mapped_list(v, a, m)); }},
    NamedFilter{"max", [](const Value& v, const Arguments&, Meter& m) { return extreme(v, 1, m); }},
    NamedFilter{"min", [](const Value& v, const Arguments&, Meter& m) { return extreme(v, -1, m); }},
    NamedFilter{"regex_replace", [](const Value& v, const Arguments& a, Meter& m) {
      const Value *pattern = a.find(0, "pattern"), *to = a.find(1, "replacement");
      if (!pattern || !to) m.fail("filter 'regex_replace' needs a pattern and a replacement");
      const auto compiled = RegularExpression::compile(require_string(*pattern, "filter 'regex_replace'", m));
      if (!compiled) m.fail(compiled.error().detail);
      const std::string text = text_of(v, m);
      m.step(static_cast<std::int64_t>(text.size() / 16));
      const auto replaced = compiled->replace_all(text, require_string(*to, "filter 'regex_replace'", m));
      if (!replaced) m.fail(replaced.error().detail);
      m.made_text(replaced->size());
      return of(*replaced);
    }},
    NamedFilter{"reject", [](const Value& v, const Arguments& a, Meter& m) { return of(selected(v, a, false, false, m)); }},
    NamedFilter{"rejectattr", [](const Value& v, const Arguments& a, Meter& m) { return of(selected(v, a, true, false, m)); }},
    NamedFilter{"replace", [](const Value& v, const Arguments& a, Meter& m) {
      const Value* from = a.find(0, "old");
      const Value* to = a.find(1, "new");
      const Value* count = a.find(2, "count");
      if (!from || !to) m.fail("filter 'replace' needs two strings");
      return of(replace(text_of(v, m), text_of(*from, m), text_of(*to, m),
                        count ? require_integer(*count, "filter 'replace'", m) : -1, m));
    }},
    NamedFilter{"reverse", [](const Value& v, const Arguments&, Meter& m) {
      auto all = elements(v, m);
      std::reverse(all.begin(), all.end());
      if (!v.is_string()) return of(list_of(all, m));
      std::string text;
      for (const Value& character : all) text += character.json->get_ref<const std::string&>();
      return of(std::move(text));
    }},
    NamedFilter{"round", [](const Value& v, const Arguments& a, Meter& m) {
      const Value* digits = a.find(0, "precision");
      const std::int64_t places = digits ? require_integer(*digits, "filter 'round'", m) : 0;
      if (places < 0 || places > 15) m.fail("filter 'round' needs 0 to 15 digits");
      const Json& json = require(v, "filter 'round'", m);
      if (!json.is_number()) m.fail("filter 'round' needs a number");
      double scale = 1;
      for (std::int64_t i = 0; i < places; ++i) scale *= 10;
      return of(std::nearbyint(json.get<double>() * scale) / scale);
    }},
    NamedFilter{"safe", [](const Value& v, const Arguments&, Meter&) { return v; }},
    NamedFilter{"select", [](const Value& v, const Arguments& a, Meter& m) { return of(selected(v, a, false, true, m)); }},
    NamedFilter{"selectattr", [](const Value& v, const Arguments& a, Meter& m) { return of(selected(v, a, true, true, m)); }},
    NamedFilter{"sort", [](const Value& v, const Arguments& a, Meter& m) { return of(sorted(v, a, m)); }},
    NamedFilter{"string", [](const Value& v, const Arguments&, Meter& m) { return of(text_of(v, m)); }},
    NamedFilter{"sum", [](const Value& v, const Arguments&, Meter& m) {
      Value total = of(0);
      for (const Value& element : elements(v, m)) total = binary("+", total, element, m);
      return total;
    }},
    NamedFilter{"title", [](const Value& v, const Arguments&, Meter& m) { return of(title(text_of(v, m))); }},
    NamedFilter{"tojson", [](const Value& v, const Arguments& a, Meter& m) {
      const Value* indent = a.find(0, "indent");
      const bool flat = !indent || !indent->json || indent->json->is_null();
      const std::int64_t spaces = flat ? -1 : require_integer(*indent, "filter 'tojson'", m);
      if (spaces > 32) m.fail("filter 'tojson' needs an indent of at most 32");
      return of(to_json_text(require(v, "filter 'tojson'", m), static_cast<int>(std::max<std::int64_t>(spaces, -1)), m));
    }},
    NamedFilter{"trim", [](const Value& v, const Arguments& a, Meter& m) {
      const Value* characters = a.find(0, "chars");
      return of(characters ? strip(text_of(v, m), text_of(*characters, m), true, true) : strip_white_space(text_of(v, m), true, true));
    }},
    NamedFilter{"unique", [](const Value& v, const Arguments&, Meter& m) {
      Json list = Json::array();
      for (const Value& element : elements(v, m)) {
        m.step(static_cast<std::int64_t>(list.size()));
        m.copies(*element.json);
        if (std::find(list.begin(), list.end(), *element.json) == list.end()) list.push_back(*element.json);
      }
      return of(std::move(list));
    }},
    NamedFilter{"upper", [](const Value& v, const Arguments&, Meter& m) { return of(upper_case(text_of(v, m))); }},
};

}  // namespace

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments, Meter& meter) {
  meter.step();
  for (const NamedFilter& filter : kFilters)
    if (filter.name == name) return filter.apply(value, arguments, meter);
  meter.fail(fmt::format("no filter '{}'", name));
}

bool apply_test(std::string_view name, const Value& value, const Arguments& arguments, Meter& meter) {
  meter.step();
  const auto is = [&](Json::value_t type) { return value.json && value.json->type() == type; };
  const auto argument = [&]() -> const Value& {
    if (arguments.positional.empty()) meter.fail(fmt::format("test '{}' needs an argument", name));
    return arguments.positional[0];
  };
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return is(Json::value_t::null);
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_dictionary() || value.members != nullptr;
  if (name == "sequence") return value.is_list() || value.is_string() || value.is_dictionary();
  if (name == "iterable") return value.is_list() || value.is_string() || value.is_dictionary();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_integer();
  if (name == "float") return is(Json::value_t::number_float);
  if (name == "boolean") return is(Json::value_t::boolean);
  if (name == "true") return is(Json::value_t::boolean) && value.json->get<bool>();
  if (name == "false") return is(Json::value_t::boolean) && !value.json->get<bool>();
  if (name == "callable") return false;
  if (name == "even" || name == "odd") return (require_integer(value, "a test", meter) % 2 == 0) == (name == "even");
  if (name == "divisibleby") {
    const std::int64_t by = require_integer(argument(), "'divisibleby'", meter);
    if (by == 0) meter.fail("division by zero");
    return by == -1 || require_integer(value, "'divisibleby'", meter) % by == 0;
  }
  if (name == "equalto" || name == "eq" || name == "sameas") return equal(value, argument());
  if (name == "ne") return !equal(value, argument());
  if (name == "in") return contains(argument(), value, meter);
  if (name == "lt" || name == "lessthan") return order(require(value, "a test", meter), require(argument(), "a test", meter), meter) < 0;
  if (name == "gt" || name == "greaterthan") return order(require(value, "a test", meter), require(argument(), "a test", meter), meter) > 0;
  meter.fail(fmt::format("no test '{}'", name));
}

Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Meter& meter) {
  meter.step();
  const auto no_method = [&]() -> Value { meter.fail(fmt::format("{} has no method '{}'", kind_name(object), name)); };
  if (object.is_dictionary()) {
    if (name == "items") return of(pairs_of(object, "'items'", meter));
    if (name == "keys" || name == "values") {
      Json list = Json::array();
      meter.copies(*object.json);
      for (const auto& [key, element] : object.json->items()) list.push_back(name == "keys" ? Json(key) : element);
      return of(std::move(list));
    }
    if (name == "get") {
      const Value* key = arguments.find(0, "key");
      if (!key) meter.fail("'get' needs a key");
      const Value found = key->is_string() ? attribute(object, key->json->get_ref<const std::string&>(), meter) : undefined("");
      if (!found.is_undefined()) return found;
      const Value* fallback = arguments.find(1, "default");
      return fallback ? *fallback : of(nullptr);
    }
    return no_method();
  }
  if (object.is_list() && (name == "index" || name == "count")) {
    const Value* wanted = arguments.find(0, "value");
    if (!wanted) meter.fail(fmt::format("'{}' needs a value", name));
    const Json& what = require(*wanted, "a list's method", meter);
    std::int64_t place = 0, count = 0;
    for (const Json& element : *object.json) {
      meter.step();
      if (element == what && ++count == 1 && name == "index") return of(place);
      ++place;
    }
    if (name == "index") meter.fail("'index': the list does not hold the value");
    return of(count);
  }
  if (!object.is_string()) return no_method();
  const std::string& text = object.json->get_ref<const std::string&>();
  meter.made_text(text.size());
  const Value* first = arguments.find(0, "sep");
  const auto first_text = [&]() -> const std::string& {
    if (!first) meter.fail(fmt::format("'{}' needs a string", name));
    return require_string(*first, fmt::format("'{}'", name), meter);
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const bool left = name != "rstrip", right = name != "lstrip";
    return of(first && first->json && !first->json->is_null() ? strip(text, first_text(), left, right) : strip_white_space(text, left, right));
  }
  if (name == "upper") return of(upper_case(text));
  if (name == "lower") return of(lower_case(text));
  if (name == "title") return of(title(text));
  if (name == "capitalize") return of(capitalize(text));
  if (name == "startswith" || name == "endswith") {
    const auto matches = [&](const std::string& affix) { return name == "startswith" ? text.starts_with(affix) : text.ends_with(affix); };
    if (first && first->is_list()) {
      for (const Value& affix : elements(*first, meter))
        if (matches(require_string(affix, "'startswith'", meter))) return of(true);
      return of(false);
    }
    return of(matches(first_text()));
  }
  if (name == "split") {
    const Value* count = arguments.find(1, "maxsplit");
    return of(split(text, first, count ? require_integer(*count, "'split'", meter) : -1, meter));
  }
  if (name == "splitlines") {
    const Value newline = of("\n");
    Json lines = split(text, &newline, -1, meter);
    if (lines.back().get_ref<const std::string&>().empty()) lines.erase(lines.size() - 1);
    return of(std::move(lines));
  }
  if (name == "replace") {
    if (arguments.positional.size() < 2) meter.fail("'replace' needs two strings");
    return of(replace(text, first_text(), require_string(arguments.positional[1], "'replace'", meter),
                      arguments.positional.size() > 2 ? require_integer(arguments.positional[2], "'replace'", meter) : -1, meter));
  }
  if (name == "join") return of(first ? join(*first, &object, nullptr, meter) : std::string());
  if (name == "find") {
    const std::size_t found = text.find(first_text());
    return of(found == std::string::npos ? std::int64_t{-1}
                                         : static_cast<std::int64_t>(count_characters(std::string_view(text).substr(0, found))));
  }
  if (name == "count") {
    const std::string& what = first_text();
    if (what.empty()) meter.fail("'count' needs a string that is not empty");
    std::int64_t count = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++count;
    return of(count);
  }
  if (name == "isdigit")
    return of(!text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }));
  return no_method();
}

Value call_function(std::string_view name, const Arguments& arguments, Meter& meter) {
  meter.step();
  if (name == "raise_exception")
    meter.fail(arguments.positional.empty() ? std::string("raise_exception") : to_text(arguments.positional[0], meter));
  if (name == "namespace") {
    Value space;
    space.members = std::make_shared<std::map<std::string, Value>>();
    for (const auto& [key, value] : arguments.keywords) {
      if (value.members) meter.fail("a namespace cannot hold a namespace");
      (*space.members)[key] = value;
    }
    return space;
  }
  if (name == "dict") {
    Json object = Json::object();
    for (const auto& [key, value] : arguments.keywords) {
      meter.copies(require(value, "'dict'", meter));
      object[key] = *value.json;
    }
    return of(std::move(object));
  }
  if (name == "range") {
    if (arguments.positional.empty() || arguments.positional.size() > 3) meter.fail("'range' needs one to three integers");
    std::array<std::int64_t, 3> bounds{0, 0, 1};
    for (std::size_t i = 0; i < arguments.positional.size(); ++i)
      bounds[i] = require_integer(arguments.positional[i], "'range'", meter);
    if (arguments.positional.size() == 1) bounds = {0, bounds[0], 1};
    const auto [begin, end, by] = bounds;
    if (by == 0) meter.fail("'range' needs a step that is not 0");
    Json list = Json::array();
    for (std::int64_t i = begin; by > 0 ? i < end : i > end;) {
      meter.step();
      list.push_back(i);
      if (__builtin_add_overflow(i, by, &i)) break;
    }
    return of(std::move(list));
  }
  meter.fail(fmt::format("no function '{}'", name));
}

}  // namespace quantfleet::jinja
