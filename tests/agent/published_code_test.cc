// The authors' own solutions of HumanEval and MBPP, marked as if a model had written them: all must pass, and a solution cut short
// must not. Every eighth item, to be quick.
#include "tests/paths.h"
#include "agent/sandbox/sandbox.h"
#include "suites/import.h"
#include "suites/suite.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

void check_solutions(const std::string& name, const std::string& data, const std::string& solution_field, const std::string& behind) {
  if (!test::has_shared("datasets/" + data)) return;
  if (!sandbox_available()) {
    WARN("skipped: no sandbox here");
    return;
  }
  const fs::path folder = fs::temp_directory_path() / fmt::format("quantfleet-published-{}", ::getpid()) / name;
  fs::create_directories(folder);
  std::ifstream file(test::source_dir() / "suites/tasks" / name / "task.yaml");
  const std::string yaml{std::istreambuf_iterator<char>(file), {}};
  const Task task = parse_task_yaml(yaml, name).value();
  const auto write = [&](const std::string& target, const std::string& text) { std::ofstream(folder / target, std::ios::binary) << text; };
  const std::string items = import_items(task.import->items, test::shared_root() / "datasets" / data, name).value().jsonl;
  write("task.yaml", yaml);
  write(task.items_file, items);
  if (task.import->few_shot) write(task.few_shot.items_file, import_items(*task.import->few_shot, test::shared_root() / "datasets" / data, name).value().jsonl);
  const auto suite = load_suite(folder).value();
  fs::remove_all(folder.parent_path());
  std::map<std::string, std::string> solutions;
  const ItemFile lines = ItemFile::of_text(items, name).value();
  for (std::size_t i = 0; i < lines.size(); ++i) solutions[lines[i].id] = lines[i].fields[solution_field].get<std::string>();

  const Sandbox sandbox{SandboxLimits{}};
  for (int i = 0; i < suite->size(); i += 8) {
    const std::string id = suite->item_id(i).value;
    INFO(name << " " << id);
    const std::string solution = solutions.at(id) + behind;
    Response response;
    response.answer = GenerateAnswer{};
    std::get<GenerateAnswer>(response.answer).text = solution;
    const ItemResult passed = suite->score(i, response, &sandbox);
    REQUIRE_FALSE(passed.error.has_value());
    CHECK(passed.scores.at("accuracy") == 1);
    if (i % 64 != 0) continue;
    std::get<GenerateAnswer>(response.answer).text = "    pass\n";
    CHECK(suite->score(i, response, &sandbox).scores.at("accuracy") == 0);
  }
}

TEST_CASE("HumanEval's own solutions pass", "[published]") { check_solutions("humaneval", "humaneval", "canonical_solution", ""); }
TEST_CASE("MBPP's own solutions pass", "[published]") { check_solutions("mbpp", "mbpp", "code", "\n"); }

}  // namespace
}  // namespace quantfleet
