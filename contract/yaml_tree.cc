// yaml-cpp's event interface is used, so that nothing is resolved, merged or expanded behind our back.
#include "contract/yaml_tree.h"

#include "contract/json_fields.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <cmath>
#include <sstream>

namespace quantfleet {
namespace {

constexpr std::size_t kBytesMax = 16u << 20;
constexpr int kNodesMax = 100'000;
constexpr std::size_t kDepthMax = 32;
constexpr std::size_t kKeysMax = 1000;

struct Stop {
  int line;
  std::string what;
  Code code = Code::kBadValue;
};

// YAML 1.2.2, section 10.3: the core schema's plain scalars, decimal only.
nlohmann::json plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const char* digits = begin + (*begin == '-' ? 1 : 0);
  const bool digit_first = digits < end && *digits >= '0' && *digits <= '9';
  if (!digit_first || (digits + 1 < end && *digits == '0' && digits[1] >= '0' && digits[1] <= '9')) return text;
  std::int64_t integer = 0;
  if (const auto [stop, error] = std::from_chars(begin, end, integer); error == std::errc{} && stop == end) return integer;
  std::uint64_t large = 0;
  if (const auto [stop, error] = std::from_chars(begin, end, large); error == std::errc{} && stop == end) return large;
  double number = 0;
  if (const auto [stop, error] = std::from_chars(begin, end, number); error == std::errc{} && stop == end && std::isfinite(number))
    return number;
  return text;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(bool keep_tags) : keep_tags_(keep_tags) {}

  YamlTree root;
  bool has_root = false;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, "", anchor).scalar = nullptr; placed(); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw Stop{mark.line + 1, "aliases are not allowed"}; }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    if (!fields_io::is_utf8(value)) throw Stop{mark.line + 1, "text is not valid UTF-8"};
    YamlTree& tree = add(mark, tag, anchor);
    tree.scalar = tag == "?" ? plain_scalar(value) : nlohmann::json(value);
    if (keep_tags_ && tag.size() > 1) tree.tag = tag;
    placed();
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(add(mark, tag, anchor), YamlTree::Kind::kList);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(add(mark, tag, anchor), YamlTree::Kind::kMap);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    YamlTree* tree;
    bool key_next = true;   // of a map
    YamlTree key;
  };

  YamlTree& add(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const int line = mark.line + 1;
    if (anchor) throw Stop{line, "anchors are not allowed"};
    if (!keep_tags_ && !tag.empty() && tag != "?" && tag != "!") throw Stop{line, fmt::format("tag '{}' is not allowed", tag)};
    if (++nodes_ > kNodesMax) throw Stop{line, fmt::format("more than {} values", kNodesMax), Code::kTooLarge};
    if (levels_.empty()) {
      if (has_root) throw Stop{line, "a second document; one is expected"};
      has_root = true;
      root.line = line;
      return root;
    }
    Level& level = levels_.back();
    if (level.tree->kind == YamlTree::Kind::kList) {
      level.tree->list.emplace_back();
      level.tree->list.back().line = line;
      return level.tree->list.back();
    }
    if (level.key_next) {
      level.key = YamlTree{};
      level.key.line = line;
      return level.key;
    }
    level.tree->map.back().value.line = line;
    return level.tree->map.back().value;
  }

  // A scalar, or a closed list or map, is complete: in a map it was the key or the value.
  void placed() {
    if (levels_.empty()) return;
    Level& level = levels_.back();
    if (level.tree->kind != YamlTree::Kind::kMap) return;
    if (level.key_next) {
      const int line = level.key.line;
      if (level.key.kind != YamlTree::Kind::kScalar || !level.key.scalar.is_string())
        throw Stop{line, "a key must be a string"};
      std::string key = level.key.scalar.get<std::string>();
      if (key == "<<") throw Stop{line, "merge keys are not allowed"};
      if (level.tree->map.size() >= kKeysMax) throw Stop{line, fmt::format("more than {} keys in one map", kKeysMax), Code::kTooLarge};
      for (const YamlEntry& entry : level.tree->map)
        if (entry.key == key) throw Stop{line, fmt::format("key '{}' appears twice", key)};
      level.tree->map.push_back({std::move(key), YamlTree{}, line});
    }
    level.key_next = !level.key_next;
  }

  void open(YamlTree& tree, YamlTree::Kind kind) {
    if (!levels_.empty() && levels_.back().tree->kind == YamlTree::Kind::kMap && levels_.back().key_next)
      throw Stop{tree.line, "a key must be a string"};
    if (levels_.size() >= kDepthMax) throw Stop{tree.line, fmt::format("nested deeper than {} levels", kDepthMax), Code::kTooLarge};
    tree.kind = kind;
    levels_.push_back({&tree, true, {}});
  }
  void close() {
    levels_.pop_back();
    placed();
  }

  std::vector<Level> levels_;
  int nodes_ = 0;
  bool keep_tags_;
};

std::string_view type_name(const YamlTree& tree) {
  if (tree.kind == YamlTree::Kind::kList) return "a list";
  if (tree.kind == YamlTree::Kind::kMap) return "a map";
  if (tree.scalar.is_null()) return "nothing";
  if (tree.scalar.is_boolean()) return "true or false";
  if (tree.scalar.is_string()) return "a string";
  return "a number";
}

}  // namespace

nlohmann::json YamlTree::to_json() const {
  if (kind == Kind::kScalar) return scalar;
  if (kind == Kind::kList) {
    nlohmann::json json = nlohmann::json::array();
    for (const YamlTree& element : list) json.push_back(element.to_json());
    return json;
  }
  nlohmann::json json = nlohmann::json::object();
  for (const YamlEntry& entry : map) json[entry.key] = entry.value.to_json();
  return json;
}

Result<YamlTree> parse_yaml(std::string_view yaml, std::string_view place, bool keep_tags) {
  if (yaml.find('\0') != std::string_view::npos) return Error{Code::kBadValue, fmt::format("{}: contains a zero byte", place)};
  if (yaml.size() > kBytesMax)
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are read", place, yaml.size(), kBytesMax)};
  if (!fields_io::is_utf8(yaml)) return Error{Code::kBadValue, fmt::format("{}: is not UTF-8 text", place)};
  TreeBuilder builder(keep_tags);
  try {
    std::istringstream stream{std::string(yaml)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    return Error{stop.code, fmt::format("{}:{}: {}", place, stop.line, stop.what)};
  } catch (const YAML::Exception& error) {
    return Error{Code::kBadValue, fmt::format("{}:{}: not valid YAML: {}", place, error.mark.line + 1, error.msg)};
  }
  if (!builder.has_root) return Error{Code::kBadValue, fmt::format("{}: empty, a map was expected", place)};
  return std::move(builder.root);
}

MapReader::MapReader(const YamlTree& tree, std::string place, std::string where)
    : tree_(tree), place_(std::move(place)), where_(std::move(where)) {
  if (tree.kind != YamlTree::Kind::kMap)
    fail(tree.line, fmt::format("{}: expected a map, found {}", where_.empty() ? "the file" : where_.substr(0, where_.size() - 1), type_name(tree)));
}

const YamlTree* MapReader::find(std::string_view key) const {
  for (const YamlEntry& entry : tree_.map)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

const YamlTree* MapReader::take(std::string_view key, bool required) {
  read_[std::string(key)] = true;
  const YamlTree* value = find(key);
  if (!value && required) fail(tree_.line, fmt::format("key '{}{}' is missing", where_, key));
  return value;
}

bool MapReader::has(std::string_view key) const { return find(key) != nullptr; }

int MapReader::line_of(std::string_view key) const {
  const YamlTree* value = find(key);
  return value ? value->line : tree_.line;
}

void MapReader::fail(int line, std::string what) {
  if (failed_) return;
  failed_ = true;
  error_ = {Code::kBadValue, fmt::format("{}:{}: {}", place_, line, what)};
}

void MapReader::fail_with(Error error) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(error);
}

std::string MapReader::text(std::string_view key, const char* fallback) {
  const YamlTree* value = take(key, !fallback);
  if (!value) return fallback ? fallback : "";
  if (value->kind != YamlTree::Kind::kScalar || !value->scalar.is_string()) {
    fail(value->line, fmt::format("'{}{}' must be a string, found {}{}", where_, key, type_name(*value),
                                  value->kind == YamlTree::Kind::kScalar && !value->scalar.is_null() ? " (put it in quotes)" : ""));
    return {};
  }
  return value->scalar.get<std::string>();
}

std::int64_t MapReader::integer(std::string_view key, std::int64_t low, std::int64_t high, const std::int64_t* fallback) {
  const YamlTree* value = take(key, !fallback);
  if (!value) return fallback ? *fallback : low;
  if (value->kind != YamlTree::Kind::kScalar || !value->scalar.is_number_integer()) {
    fail(value->line, fmt::format("'{}{}' must be an integer, found {}", where_, key, type_name(*value)));
    return low;
  }
  const std::int64_t number = value->scalar.get<std::int64_t>();
  if (number < low || number > high) {
    fail(value->line, fmt::format("'{}{}' is {}, allowed are {} to {}", where_, key, number, low, high));
    return low;
  }
  return number;
}

double MapReader::number(std::string_view key, double low, double high) {
  const YamlTree* value = take(key, true);
  if (!value) return low;
  if (value->kind != YamlTree::Kind::kScalar || !value->scalar.is_number()) {
    fail(value->line, fmt::format("'{}{}' must be a number, found {}", where_, key, type_name(*value)));
    return low;
  }
  const double number = value->scalar.get<double>();
  if (!(number >= low && number <= high)) {
    fail(value->line, fmt::format("'{}{}' is {}, allowed are {} to {}", where_, key, number, low, high));
    return low;
  }
  return number;
}

bool MapReader::boolean(std::string_view key, bool fallback) {
  const YamlTree* value = take(key, false);
  if (!value) return fallback;
  if (value->kind != YamlTree::Kind::kScalar || !value->scalar.is_boolean()) {
    fail(value->line, fmt::format("'{}{}' must be true or false, found {}", where_, key, type_name(*value)));
    return fallback;
  }
  return value->scalar.get<bool>();
}

std::vector<std::string> MapReader::texts(std::string_view key) {
  const YamlTree* value = take(key, false);
  std::vector<std::string> all;
  if (!value) return all;
  if (value->kind != YamlTree::Kind::kList) {
    fail(value->line, fmt::format("'{}{}' must be a list of strings, found {}", where_, key, type_name(*value)));
    return all;
  }
  for (const YamlTree& element : value->list) {
    if (element.kind != YamlTree::Kind::kScalar || !element.scalar.is_string()) {
      fail(element.line, fmt::format("'{}{}' must hold strings, found {} (put it in quotes)", where_, key, type_name(element)));
      return all;
    }
    all.push_back(element.scalar.get<std::string>());
  }
  return all;
}

const YamlTree* MapReader::child(std::string_view key) { return take(key, false); }

Status MapReader::finish() {
  if (failed_) return error_;
  for (const YamlEntry& entry : tree_.map)
    if (!read_.contains(entry.key))
      return Error{Code::kBadValue, fmt::format("{}:{}: unknown key '{}{}'", place_, entry.line, where_, entry.key)};
  return {};
}

}  // namespace quantfleet
