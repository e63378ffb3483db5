// A checker for the part of JSON Schema (draft-07) that docs/schemas uses: type, enum, required, properties,
// additionalProperties, items, minItems, minimum, maximum, pattern. An unknown keyword fails, so that a schema
// cannot promise what is not checked. (Debian's only packaged validator drags in Qt; see docs/decisions.)
#pragma once

#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace quantfleet::test {

inline bool has_type(const nlohmann::json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return false;
}

inline void collect_violations(const nlohmann::json& schema, const nlohmann::json& value, const std::string& where,
                               std::vector<std::string>& found) {
  static const std::set<std::string> kKnown = {"$schema", "title", "description", "type", "enum", "required", "properties",
                                               "additionalProperties", "items", "minItems", "minimum", "maximum", "pattern"};
  for (const auto& [keyword, unused] : schema.items())
    if (!kKnown.contains(keyword)) found.push_back(where + ": the schema uses '" + keyword + "', which is not checked");
  if (schema.contains("type")) {
    const auto& type = schema["type"];
    bool matches = false;
    if (type.is_string()) matches = has_type(value, type);
    if (type.is_array())
      for (const auto& one : type) matches = matches || has_type(value, one);
    if (!matches) {
      found.push_back(where + ": " + value.dump().substr(0, 60) + " is not of type " + type.dump());
      return;
    }
  }
  if (schema.contains("enum")) {
    bool listed = false;
    for (const auto& one : schema["enum"]) listed = listed || one == value;
    if (!listed) found.push_back(where + ": " + value.dump() + " is not one of " + schema["enum"].dump());
  }
  if (value.is_string() && schema.contains("pattern") &&
      !std::regex_search(value.get<std::string>(), std::regex(schema["pattern"].get<std::string>())))
    found.push_back(where + ": " + value.dump() + " does not match " + schema["pattern"].dump());
  if (value.is_number() && schema.contains("minimum") && value.get<double>() < schema["minimum"].get<double>())
    found.push_back(where + ": below the minimum");
  if (value.is_number() && schema.contains("maximum") && value.get<double>() > schema["maximum"].get<double>())
    found.push_back(where + ": above the maximum");
  if (value.is_object()) {
    if (schema.contains("required"))
      for (const auto& key : schema["required"])
        if (!value.contains(key.get<std::string>())) found.push_back(where + ": lacks " + key.get<std::string>());
    for (const auto& [key, member] : value.items()) {
      if (schema.contains("properties") && schema["properties"].contains(key))
        collect_violations(schema["properties"][key], member, where + "/" + key, found);
      else if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object())
        collect_violations(schema["additionalProperties"], member, where + "/" + key, found);
      else if (schema.contains("additionalProperties") && schema["additionalProperties"] == false)
        found.push_back(where + ": has " + key + ", which the schema does not know");
    }
  }
  if (value.is_array()) {
    if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>()) found.push_back(where + ": too few items");
    if (schema.contains("items"))
      for (std::size_t i = 0; i < value.size(); ++i)
        collect_violations(schema["items"], value[i], where + "/" + std::to_string(i), found);
  }
}

// Violations of docs/schemas/<name>.json by `value`; empty when it conforms.
inline std::vector<std::string> schema_violations(const std::string& name, const nlohmann::json& value) {
  std::ifstream in(test::source_dir().string() + "/docs/schemas/" + name + ".json");
  REQUIRE(in);
  std::vector<std::string> found;
  collect_violations(nlohmann::json::parse(in), value, "", found);
  return found;
}

}  // namespace quantfleet::test
