// YAML read strictly, as a tree that knows its lines. yaml-cpp 0.7 alone would read `yes` as true and `010` as eight and let
// duplicate keys pass; here scalars follow YAML 1.2's core rules, duplicate keys, anchors, aliases, merge keys and tags
// are errors, and MapReader makes a key that nobody asked for an error too.
#pragma once

#include "contract/error.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct YamlEntry;

struct YamlTree {
  enum class Kind { kScalar, kList, kMap };
  Kind kind = Kind::kScalar;
  int line = 0;                                             // from 1
  nlohmann::json scalar;                                    // string, integer, double, boolean or null
  std::string tag;                                          // "!function"; only where tags are kept
  std::vector<YamlTree> list;
  std::vector<YamlEntry> map;                               // in file order

  nlohmann::json to_json() const;
};

struct YamlEntry {
  std::string key;
  YamlTree value;
  int line = 0;  // of the key
};

// One document. Errors begin with "PLACE:LINE: ". At most 16 MiB, 100,000 values, 32 levels, 1,000 keys in a map.
// Tags are refused, or with `keep_tags` kept beside their value.
Result<YamlTree> parse_yaml(std::string_view yaml, std::string_view place, bool keep_tags = false);

// Reads the keys of one map. The first mistake is kept; finish() returns it, or names a key that was not read.
class MapReader {
 public:
  // `where` prefixes keys in errors: "" or "fewshot.".
  MapReader(const YamlTree& tree, std::string place, std::string where = "");

  bool has(std::string_view key) const;
  std::string text(std::string_view key, const char* fallback = nullptr);   // required without fallback
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high, const std::int64_t* fallback = nullptr);
  double number(std::string_view key, double low, double high);
  bool boolean(std::string_view key, bool fallback);
  std::vector<std::string> texts(std::string_view key);                     // absent: empty
  const YamlTree* child(std::string_view key);                              // nullptr when absent
  int line_of(std::string_view key) const;

  void fail(int line, std::string what);                                    // keeps the first
  void fail_with(Error error);                                              // of an inner reader
  bool failed() const { return failed_; }
  Status finish();

 private:
  const YamlTree* find(std::string_view key) const;
  const YamlTree* take(std::string_view key, bool required);

  const YamlTree& tree_;
  std::string place_, where_;
  std::map<std::string, bool, std::less<>> read_;
  bool failed_ = false;
  Error error_;
};

}  // namespace quantfleet
