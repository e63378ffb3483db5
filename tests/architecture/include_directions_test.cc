// The arrows of docs/architecture.md as data: which folder may include which. A wrong include is a red test with a sentence.
// Also two rules on names: no folder called util, common, helpers or misc, and no cyclic pair of top-level folders.
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

// The most specific entry wins. An entry allows includes of its own folder and of everything listed (a folder or a header).
const std::map<std::string, std::vector<std::string>> kMayInclude = {
    {"contract", {}},
    {"backends/formats", {"contract/error.h"}},
    {"backends/huggingface", {"contract/error.h", "backends/formats"}},
    {"backends/kernels", {"contract/error.h", "backends/formats"}},
    {"backends/tokenizers", {"contract/error.h", "backends/formats"}},
    {"backends/quantizers", {"contract/error.h", "contract/version.h", "backends/formats", "backends/huggingface", "backends/kernels"}},
    {"backends/models", {"contract/error.h", "backends/formats", "backends/kernels"}},
    {"backends/calibration",
     {"contract/error.h", "contract/version.h", "backends/formats", "backends/huggingface", "backends/kernels", "backends/models",
      "backends/tokenizers", "backends/quantizers"}},
    {"backends/engines",
     {"contract/error.h", "contract/request.h", "backends/formats", "backends/huggingface", "backends/kernels", "backends/models",
      "backends/tokenizers", "backends/quantizers"}},
    {"backends/training",
     {"contract/error.h", "contract/version.h", "backends/formats", "backends/kernels", "backends/models", "backends/tokenizers"}},
    {"suites", {"contract"}},
    {"agent",
     {"contract", "suites", "backends/engines", "backends/quantizers/quantize_model.h", "backends/quantizers/linear_quantizer.h",
      "backends/formats/file_hash.h", "backends/kernels/cpu_features.h"}},
    {"agent/runner",
     {"contract", "suites", "backends/engines", "backends/quantizers", "backends/calibration", "backends/formats/file_hash.h",
      "backends/huggingface/model_folder.h", "backends/kernels/cpu_features.h", "agent", "models/reference/corpus/suites.h"}},
    {"coordinator", {"contract"}},
    {"reports", {"contract"}},
    {"reports/statistics", {"contract", "coordinator/scheduler/stopping_rule.h"}},
    {"models/reference/corpus", {"contract/error.h"}},
};
// main.cc files and cli/ know everybody: they are the places where parts are joined. `models/` tools likewise.
const std::vector<std::string> kMayIncludeEverything = {"cli", "models/reference"};
const std::set<std::string> kTopLevel = {"contract", "backends", "suites", "agent", "coordinator", "reports", "cli", "models", "tests"};
const std::set<std::string> kForbiddenNames = {"util", "utils", "common", "helper", "helpers", "misc"};

bool is_below(const std::string& path, const std::string& folder) {
  return path == folder || (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

// The key of kMayInclude that governs `file`, or "" where nothing does.
std::string governing_folder(const std::string& file) {
  std::string best;
  for (const auto& [folder, allowed] : kMayInclude)
    if (is_below(file, folder) && folder.size() > best.size()) best = folder;
  return best;
}

std::vector<std::string> own_includes(const fs::path& file) {
  std::vector<std::string> includes;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    constexpr std::string_view kDirective = "#include \"";
    if (!line.starts_with(kDirective)) continue;
    includes.push_back(line.substr(kDirective.size(), line.find('"', kDirective.size()) - kDirective.size()));
  }
  return includes;
}

// All complaints about one file, in sentences.
std::vector<std::string> complaints(const std::string& file, const std::vector<std::string>& includes) {
  std::vector<std::string> found;
  const std::string folder = governing_folder(file);
  const bool everything = folder.empty() || file.ends_with("/main.cc");
  for (const std::string& included : includes) {
    if (included.ends_with(".inc")) continue;  // generated from a file of this folder when it is built
    const std::string top = included.substr(0, included.find('/'));
    if (!kTopLevel.contains(top)) {
      found.push_back(fmt::format("{} includes \"{}\": own headers are named from the root of the repository", file, included));
      continue;
    }
    if (top == "tests") {
      found.push_back(fmt::format("{} includes {}: nothing may include tests", file, included));
      continue;
    }
    if (everything || is_below(included, folder)) continue;
    bool allowed = false;
    for (const std::string& target : kMayInclude.at(folder)) allowed = allowed || is_below(included, target);
    if (!allowed) found.push_back(fmt::format("{} includes {}: the arrow {} -> {} is not in the table", file, included, folder, included));
  }
  return found;
}

}  // namespace

TEST_CASE("includes go only where the table of arrows allows", "[architecture]") {
  const fs::path root = quantfleet::test::source_dir();
  int files = 0;
  for (const std::string& top : kTopLevel) {
    if (top == "tests" || !fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".cu") continue;
      ++files;
      const std::string name = fs::relative(entry.path(), root).generic_string();
      if (governing_folder(name).empty()) {
        bool known = false;
        for (const std::string& folder : kMayIncludeEverything) known = known || is_below(name, folder);
        if (!known) FAIL_CHECK(name << " is in a folder without an entry in the table of arrows");
      }
      for (const std::string& sentence : complaints(name, own_includes(entry.path()))) FAIL_CHECK(sentence);
    }
  }
  CHECK(files > 20);  // the walk found the tree
}

TEST_CASE("a wrong arrow is noticed and named", "[architecture]") {
  CHECK(complaints("suites/task.cc", {"suites/task.h", "contract/request.h"}).empty());
  const auto found = complaints("suites/task.cc", {"backends/engines/engine.h"});
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("suites -> backends/engines/engine.h") != std::string::npos);
  CHECK(complaints("agent/runner/runner.cc", {"backends/formats/gguf.h"}).size() == 1);
  CHECK(complaints("backends/formats/q4_0.cc", {"contract/request.h"}).size() == 1);
  CHECK(complaints("agent/main.cc", {"coordinator/store/store.h"}).empty());
}

TEST_CASE("no folder is called after nothing", "[architecture]") {
  const fs::path root = quantfleet::test::source_dir();
  for (const std::string& top : kTopLevel) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (entry.is_directory() && kForbiddenNames.contains(entry.path().filename().string()))
        FAIL_CHECK(entry.path() << ": a folder is named after its subject");
    }
  }
}
