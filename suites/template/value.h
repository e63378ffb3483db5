// What an expression gives: a JSON value (shared, never copied by reading it), a namespace, or nothing at all (undefined).
// Operations follow Python where Jinja does: truth, text, equality, order. Internal to suites/template.
#pragma once

#include "suites/template/lexer.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quantfleet::jinja {

using Json = nlohmann::json;

struct Value {
  std::shared_ptr<const Json> json;                       // nullptr: undefined, unless `members`
  std::shared_ptr<std::map<std::string, Value>> members;  // of namespace() and loop; hold JSON only, so no cycles
  std::string name;                                       // of an undefined one, for messages

  bool is_undefined() const { return !json && !members; }
  bool is_string() const { return json && json->is_string(); }
  bool is_list() const { return json && json->is_array(); }
  bool is_dictionary() const { return json && json->is_object(); }
  bool is_integer() const { return json && json->is_number_integer(); }
  bool is_number() const { return json && json->is_number(); }
};

inline Value undefined(std::string name) { return {nullptr, nullptr, std::move(name)}; }
inline Value of(Json json) { return {std::make_shared<const Json>(std::move(json)), nullptr, {}}; }

// Counts the work of one rendering and knows where it is.
class Meter {
 public:
  Meter(const TemplateLimits& limits, bool strict_undefined) : limits_(limits), strict_undefined_(strict_undefined) {}

  Position position;
  bool strict_undefined() const { return strict_undefined_; }
  [[noreturn]] void fail(std::string what, Code code = Code::kBadValue) const { throw Failure{position, std::move(what), code}; }
  void step(std::int64_t count = 1);
  void made_text(std::size_t bytes);      // a string of that size comes into being
  void grows(std::size_t total_bytes, std::size_t added_bytes);  // a string under construction
  void copies(const Json& json, int depth = 0);  // `json` is about to be copied or walked

 private:
  TemplateLimits limits_;
  bool strict_undefined_;
  std::int64_t steps_ = 0;
};

// The JSON of a value that must have one; `what` needs it ("filter 'trim'").
const Json& require(const Value& value, std::string_view what, const Meter& meter);
const std::string& require_string(const Value& value, std::string_view what, const Meter& meter);
std::int64_t require_integer(const Value& value, std::string_view what, const Meter& meter);

bool truth(const Value& value, const Meter& meter);
std::string to_text(const Value& value, Meter& meter);         // as Python's str()
std::string to_text(const Json& json, Meter& meter);
std::string to_json_text(const Json& json, int indent, Meter& meter);  // as Python's json.dumps; indent < 0: one line
std::string_view kind_name(const Value& value);                // "a string", "a list", "undefined 'x'"

bool equal(const Value& left, const Value& right);
int order(const Json& left, const Json& right, const Meter& meter);  // < 0, 0, > 0; numbers with numbers, strings with strings
bool contains(const Value& container, const Value& element, Meter& meter);
Value binary(std::string_view op, const Value& left, const Value& right, Meter& meter);
Value attribute(const Value& object, std::string_view name, const Meter& meter);
Value index(const Value& object, const Value& key, Meter& meter);
Value slice(const Value& object, const Value* begin, const Value* end, const Value* step, Meter& meter);
// What {% for %} walks over: a list's elements, a dictionary's keys, a string's characters.
std::vector<Value> elements(const Value& value, Meter& meter);
std::size_t length(const Value& value, const Meter& meter);

}  // namespace quantfleet::jinja
