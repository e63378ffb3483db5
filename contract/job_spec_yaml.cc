// Plans as YAML: the strict subset of yaml_tree.h, as a JSON tree with the line of every field, through the reader of
// job_spec.cc.
#include "contract/job_spec_fields.h"
#include "contract/yaml_tree.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

// The line of the field that `path` names ("models[0].name"), or of the nearest value around it that the file has.
int line_of(const YamlTree& tree, std::string_view path) {
  if (path.empty()) return tree.line;
  if (tree.kind == YamlTree::Kind::kList && path.front() == '[') {
    const std::size_t close = path.find(']');
    std::size_t index = 0;
    for (const char c : path.substr(1, close - 1)) index = index * 10 + static_cast<std::size_t>(c - '0');
    if (close == std::string_view::npos || index >= tree.list.size()) return tree.line;
    return line_of(tree.list[index], path.substr(close + 1));
  }
  if (tree.kind == YamlTree::Kind::kMap) {
    if (path.front() == '.') path.remove_prefix(1);
    for (const auto& [key, value, line] : tree.map) {
      if (path == key) return line;
      if (path.size() > key.size() && path.starts_with(key) && (path[key.size()] == '.' || path[key.size()] == '['))
        return line_of(value, path.substr(key.size()));
    }
  }
  return tree.line;
}

}  // namespace

Result<JobSpec> job_spec_from_yaml(std::string_view yaml, std::string_view place) {
  const Result<YamlTree> tree = parse_yaml(yaml, place);
  if (!tree) return tree.error();
  std::string field;
  Result<JobSpec> spec = job_spec_from_tree(tree->to_json(), field);
  if (!spec) return Error{spec.error().code, fmt::format("{}:{}: {}", place, line_of(*tree, field), spec.error().detail)};
  return spec;
}

}  // namespace quantfleet
