#include "agent/runner/suite_of_lease.h"

#include "contract/twins.h"
#include "models/reference/corpus/suites.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

namespace quantfleet::agent {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Result<std::shared_ptr<const Suite>> suite_of_lease(const std::filesystem::path& root, std::string_view name, const SuiteOptions& options) {
  TwinName twin;
  if (!read_twin_name(name, twin)) return find_suite(root, name, options);
  const std::filesystem::path folder = root / twin.original;
  for (const reference::Area area : reference::kAreas) {
    if (reference::name_of(area) != twin.original) continue;
    const reference::Corpus corpus;
    const std::vector<reference::Item> originals = reference::suite_items(corpus, area);
    if (text_of(folder / "items.jsonl") != reference::items_jsonl(originals, area))
      return Error{Code::kHashMismatch, fmt::format("{}: these are not the built-in items, so they have no fresh twins", (folder / "items.jsonl").string())};
    const std::vector<reference::Item> twins = reference::fresh_twins(corpus, area, originals, twin.seed);
    if (twins.size() != originals.size())
      return Error{Code::kUnsupported, fmt::format("{}: only {} of {} items found a twin", name, twins.size(), originals.size())};
    return load_suite_with_items(folder, std::string(name), reference::items_jsonl(twins, area), options);
  }
  return find_suite(root, name, options);
}

}  // namespace quantfleet::agent
