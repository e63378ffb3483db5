// The same item and the same answer get the same score, and the same question is asked, as in lm-evaluation-harness. The cases are
// what tests/interop/scoring.py wrote with the harness' own task files over invented items; QUANTFLEET_SCORING_CASES names further
// ones (over published items).
#include "tests/paths.h"
#include "suites/import.h"
#include "suites/suite.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void write_lines(const fs::path& path, const std::vector<Json>& records) {
  std::ofstream file(path, std::ios::binary);
  for (const Json& record : records) file << record.dump() << "\n";
}

// The cases of one task: its items become a suite through the task's own import.
void check_cases(const std::string& name, const std::vector<Json>& cases) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("quantfleet-scoring-{}", ::getpid());
  fs::remove_all(folder);
  fs::create_directories(folder / name);
  fs::copy_file(test::source_dir() / "suites/tasks" / name / "task.yaml", folder / name / "task.yaml");
  std::ifstream yaml_file(folder / name / "task.yaml");
  const std::string yaml{std::istreambuf_iterator<char>(yaml_file), {}};
  const Task task = parse_task_yaml(yaml, name).value();

  std::vector<Json> items, examples;
  std::map<std::string, bool> subjects;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Json item = cases[i]["item"];
    if (name == "arc_challenge") {  // through the fields of the import
      ImportSource source = task.import->items;
      write_lines(folder / "one.jsonl", {item});
      source.files = {"one.jsonl"};
      const auto imported = import_items(source, folder / "one.jsonl", name);
      if (!imported) FAIL(imported.error().detail);
      item = Json::parse(imported->jsonl);
    }
    item["id"] = fmt::format("case-{}", i);
    items.push_back(item);
    if (cases[i].contains("examples") && !subjects[item["subject"].get<std::string>()]) {
      subjects[item["subject"].get<std::string>()] = true;
      for (Json example : cases[i]["examples"]) {
        example["id"] = fmt::format("example-{}", examples.size());
        examples.push_back(example);
      }
    }
  }
  while (examples.size() < static_cast<std::size_t>(task.few_shot.count)) {  // only there to be counted: the context is not compared
    examples.push_back(items[0]);
    examples.back()["id"] = fmt::format("filler-{}", examples.size());
  }
  write_lines(folder / name / task.items_file, items);
  if (!task.few_shot.items_file.empty()) write_lines(folder / name / task.few_shot.items_file, examples);
  const auto suite = load_suite(folder / name);
  if (!suite) FAIL(suite.error().detail);
  fs::remove_all(folder);

  for (int i = 0; i < (*suite)->size(); ++i) {
    const Json& expected = cases[std::stoul((*suite)->item_id(i).value.substr(5))];
    INFO(expected.dump());
    Response response;
    if (expected.contains("response")) {
      GenerateAnswer answer;
      answer.text = expected["response"].get<std::string>();
      response.answer = answer;
    } else {
      LoglikelihoodAnswer answer;
      for (const double value : expected["loglikelihoods"].get<std::vector<double>>()) answer.continuations.push_back({value, false, 1});
      response.answer = answer;
      const Request request = (*suite)->request(i, "").value();
      CHECK(std::get<Loglikelihood>(request).context == expected["context"].get<std::string>());
      CHECK(std::get<Loglikelihood>(request).continuations == expected["continuations"].get<std::vector<std::string>>());
    }
    const ItemResult row = (*suite)->score(i, response, nullptr);
    REQUIRE_FALSE(row.error.has_value());
    CHECK(row.scores.at("accuracy") == expected["accuracy"].get<int>());
    if (expected.contains("accuracy_norm")) CHECK(row.scores.at("accuracy_norm") == expected["accuracy_norm"].get<int>());
  }
}

void check_file(const fs::path& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::map<std::string, std::vector<Json>> by_task;
  for (std::string line; std::getline(file, line);) {
    Json one = Json::parse(line);
    by_task[one["task"].get<std::string>()].push_back(std::move(one));
  }
  REQUIRE(by_task.size() == 3);
  for (const auto& [name, cases] : by_task) check_cases(name, cases);
}

TEST_CASE("requests and scores equal the harness' on invented items", "[scoring]") {
  check_file(test::source_dir() / "tests/golden/scoring.jsonl");
  if (const char* more = std::getenv("QUANTFLEET_SCORING_CASES")) check_file(more);
}

}  // namespace
}  // namespace quantfleet
