// Plans as YAML: a strict subset of YAML 1.2's core schema, read into a JSON tree with the line of every field, then
// through the reader of job_spec.cc. The library converts loosely (yes -> true, 010 -> 8, duplicate keys pass in silence:
// docs/dependencies.md), so nothing here uses its conversions. Plain scalars: true/false, decimal whole numbers without a
// leading zero, decimal fractions; everything else is text. Anchors, tags and several documents are refused.
#include "contract/job_spec_fields.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>

namespace quantfleet {
namespace {

using fields_io::Json;

constexpr std::size_t kYamlBytesMax = 1u << 20;
constexpr int kNodesMax = 20'000;
constexpr int kYamlDepthMax = 12;

bool digits_only(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Json plain_scalar(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  if (text.empty() || text == "~" || text == "null") return nullptr;
  const std::string_view unsigned_part = std::string_view(text).substr(text[0] == '-' ? 1 : 0);
  if (digits_only(unsigned_part) && (unsigned_part.size() == 1 || unsigned_part[0] != '0')) {
    const char* end = text.data() + text.size();
    if (text[0] == '-') {
      std::int64_t value = 0;
      if (std::from_chars(text.data(), end, value).ptr == end && value > INT64_MIN) return value;
    } else {
      std::uint64_t value = 0;
      const auto [stop, code] = std::from_chars(text.data(), end, value);
      if (stop == end && code == std::errc{}) return value;
    }
    return text;
  }
  const bool fraction = unsigned_part.find_first_of(".eE") != std::string_view::npos && unsigned_part.front() >= '0' &&
                        unsigned_part.front() <= '9' &&
                        unsigned_part.find_first_not_of("0123456789.eE+-") == std::string_view::npos;
  if (fraction) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, code] = std::from_chars(text.data(), end, value);
    if (stop == end && code == std::errc{}) return value;
  }
  return text;
}

class TreeReader {
 public:
  Json read(const YAML::Node& node, const std::string& path, int depth) {
    lines_[path] = node.Mark().line + 1;
    if (error_) return nullptr;
    if (++nodes_ > kNodesMax) return fail(node, path, Code::kTooLarge, fmt::format("more than {} entries", kNodesMax));
    if (depth > kYamlDepthMax) return fail(node, path, Code::kTooLarge, fmt::format("nested deeper than {} levels", kYamlDepthMax));
    const std::string& tag = node.Tag();
    if (!tag.empty() && tag != "?" && tag != "!") return fail(node, path, Code::kBadValue, "tags are not read here");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return nullptr;
      case YAML::NodeType::Scalar: return tag == "!" ? Json(node.Scalar()) : plain_scalar(node.Scalar());
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (const YAML::Node& entry : node) {
          list.push_back(read(entry, path + "[" + std::to_string(list.size()) + "]", depth + 1));
          if (error_) break;
        }
        return list;
      }
      case YAML::NodeType::Map: {
        Json map = Json::object();
        for (const auto& pair : node) {
          if (error_) break;
          if (!pair.first.IsScalar()) return fail(pair.first, path, Code::kBadValue, "a key must be text");
          const std::string key = pair.first.Scalar().substr(0, 80);
          const std::string inner = path.empty() ? key : path + "." + key;
          if (map.contains(key)) return fail(pair.first, inner, Code::kBadValue, "the key stands twice");
          map[key] = read(pair.second, inner, depth + 1);
          lines_[inner] = pair.first.Mark().line + 1;
        }
        return map;
      }
    }
    return nullptr;
  }

  const std::optional<Error>& error() const { return error_; }

  // The line of a field, or of the nearest map around it that the file has.
  int line_of(std::string path) const {
    for (;;) {
      const auto found = lines_.find(path);
      if (found != lines_.end()) return found->second;
      const std::size_t cut = path.find_last_of(".[");
      if (cut == std::string::npos) return 1;
      path.resize(cut);
    }
  }

 private:
  Json fail(const YAML::Node& node, const std::string& path, Code code, std::string detail) {
    if (!error_)
      error_ = Error{code, fmt::format("{}: {}{}", node.Mark().line + 1, path.empty() ? "" : path + ": ", detail)};
    return nullptr;
  }

  std::map<std::string, int> lines_;
  std::optional<Error> error_;
  int nodes_ = 0;
};

Error at_line(std::string_view place, Error error) {
  error.detail.insert(0, std::string(place) + ":");
  return error;
}

}  // namespace

Result<JobSpec> job_spec_from_yaml(std::string_view yaml, std::string_view place) {
  if (yaml.size() > kYamlBytesMax)
    return at(place, Error{Code::kTooLarge, fmt::format("a plan of {} bytes, at most {} are read", yaml.size(), kYamlBytesMax)});
  if (!fields_io::is_utf8(yaml)) return at(place, Error{Code::kBadValue, "is not UTF-8 text"});
  // The parser recurses per level: refuse texts that could only be an attack on its stack.
  std::size_t open = 0;
  for (const char c : yaml) open += c == '[' || c == '{';
  if (open > kNodesMax) return at(place, Error{Code::kTooLarge, fmt::format("more than {} brackets", kNodesMax)});
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() != 1)
      return at(place, Error{Code::kBadValue, fmt::format("expected one YAML document, found {}", documents.size())});
    TreeReader reader;
    const Json tree = reader.read(documents.front(), "", 0);
    if (reader.error()) return at_line(place, *reader.error());
    std::string field;
    Result<JobSpec> spec = job_spec_from_tree(tree, field);
    if (!spec) return at_line(place, Error{spec.error().code, fmt::format("{}: {}", reader.line_of(field), spec.error().detail)});
    return spec;
  } catch (const YAML::Exception& error) {
    return at_line(place, Error{Code::kBadValue, fmt::format("{}: not valid YAML: {}", error.mark.line + 1, error.msg)});
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return at(place, Error{Code::kBadValue, fmt::format("not valid YAML: {}", error.what())});
  }
}

}  // namespace quantfleet
