// The built-in suites as data: that they load, are large enough, and that no constant answer makes them easy. That their items
// are the generator's is checked in tests/models/reference.
#include "tests/paths.h"
#include "suites/suite.h"
#include "suites/task.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

namespace quantfleet {
namespace {

const std::filesystem::path kRoot = test::source_dir() / "suites/tasks";
constexpr const char* kAreas[] = {"reasoning", "coding", "math", "language", "knowledge", "safety"};

TEST_CASE("each area has a built-in suite of at least 300 items", "[suites][data]") {
  const std::string area = GENERATE(from_range(std::begin(kAreas), std::end(kAreas)));
  CAPTURE(area);
  const auto suite = find_suite(kRoot, area);
  REQUIRE(suite.has_value());
  CHECK((*suite)->info().area == area);
  CHECK((*suite)->size() >= 300);
  // A score of 92 % must still lie five standard errors above chance, and so must one of 68 %.
  const double chance = (*suite)->info().chance, n = (*suite)->size();
  CHECK(chance + 5 * std::sqrt(chance * (1 - chance) / n) < 0.68);
}

TEST_CASE("every request of the built-in suites can be made", "[suites][data]") {
  const auto suites = load_suites(kRoot);
  REQUIRE(suites.has_value());
  std::set<std::string> kinds;
  for (const auto& suite : *suites) {
    CAPTURE(suite->info().name);
    kinds.insert(suite->info().kind);
    for (int i = 0; i < suite->size(); ++i) REQUIRE(suite->request(i, "").has_value());
  }
  CHECK(kinds == std::set<std::string>{"loglikelihood", "generate", "code", "rolling"});
}

TEST_CASE("the list of tasks says of each that is imported how far its reader was checked: whole where a hash is known", "[suites][data]") {
  std::ifstream page(test::source_dir() / "docs/tasks.md");
  std::map<std::string, std::string> rows;  // by task
  for (std::string line; std::getline(page, line);) {
    const std::size_t begin = line.find("| `"), end = line.find("` |");
    if (begin != std::string::npos && end != std::string::npos) rows[line.substr(begin + 3, end - begin - 3)] = line.substr(end + 2);
  }
  int imported = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot)) {
    std::ifstream file(entry.path() / "task.yaml");
    const std::string yaml{std::istreambuf_iterator<char>(file), {}};
    const Task task = parse_task_yaml(yaml, "task.yaml").value();
    if (!task.import) continue;
    INFO(task.name);
    REQUIRE(rows.contains(task.name));
    const std::string& row = rows[task.name];
    CHECK(row.find("| " + task.split + " | ") == 0);
    CHECK((row.find("| whole") != std::string::npos) == !task.import->sha256.empty());
    ++imported;
  }
  CHECK(imported == static_cast<int>(rows.size()));
}

TEST_CASE("each built-in suite says what it does not measure", "[suites][data]") {
  const auto suites = load_suites(kRoot);
  REQUIRE(suites.has_value());
  for (const auto& suite : *suites) {
    std::ifstream readme(kRoot / suite->info().name / "README.md");
    const std::string text{std::istreambuf_iterator<char>(readme), {}};
    CAPTURE(suite->info().name);
    CHECK(text.find("not measure") != std::string::npos);
    CHECK(text.find("MMLU") != std::string::npos);
  }
}

}  // namespace
}  // namespace quantfleet
