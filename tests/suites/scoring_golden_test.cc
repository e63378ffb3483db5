// The same item and the same answer get the same score, and the same question is asked, as in lm-evaluation-harness. The cases are
// what tests/interop/scoring.py wrote with the harness' own task files over invented items; QUANTFLEET_SCORING_CASES names further
// ones (over published items). Every case is equal but for those of tests/golden/scoring_explained.txt, and each of those differs.
#include "tests/paths.h"
#include "suites/import.h"
#include "suites/scorers/code_runner.h"
#include "suites/suite.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void write_lines(const fs::path& path, const std::vector<Json>& records) {
  std::ofstream file(path, std::ios::binary);
  for (const Json& record : records) file << record.dump() << "\n";
}

// Keeps the program instead of running it.
class ProgramKeeper : public CodeRunner {
 public:
  Result<CodeRun> run_python(const std::string& program, const std::string&) const override {
    latest = program;
    return CodeRun{};
  }
  mutable std::string latest;
};

class Cases {
 public:
  Cases(std::string name, std::vector<Json> cases, std::set<std::string>& explained)
      : name_(std::move(name)), cases_(std::move(cases)), explained_(explained) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / name_);
    fs::copy_file(home_ / "task.yaml", folder_ / name_ / "task.yaml");
    std::ifstream yaml_file(home_ / "task.yaml");
    const std::string yaml{std::istreambuf_iterator<char>(yaml_file), {}};
    task_ = parse_task_yaml(yaml, name_).value();
  }
  ~Cases() { fs::remove_all(folder_); }

  void check() {
    write_items();
    write_examples();
    const auto suite = load_suite(folder_ / name_);
    if (!suite) FAIL(suite.error().detail);
    for (int i = 0; i < (*suite)->size(); ++i) {
      const std::string id = (*suite)->item_id(i).value;
      if (const std::size_t sample = id.find("/sample-"); sample != std::string::npos && !id.ends_with("/sample-0")) continue;
      const Json& expected = cases_[std::stoul(id.substr(5))];
      INFO(expected.dump());
      check_request((*suite)->request(i, "").value(), expected);
      const ProgramKeeper keeper;
      const ItemResult row = (*suite)->score(i, response_of(expected), &keeper);
      if (row.error) FAIL(row.error->detail);
      if (expected.contains("program")) CHECK(keeper.latest.substr(0, keeper.latest.find("\npass\n")) == expected["program"].get<std::string>());
      if (explained_.erase(expected["id"].get<std::string>())) {
        bool equal = true;
        for (const auto& [score, value] : expected["scores"].items()) equal = equal && row.scores.at(score) == value.get<double>();
        CHECK_FALSE(equal);  // else it needs no explanation any more
        continue;
      }
      for (const auto& [score, value] : expected["scores"].items()) {
        INFO(score);
        REQUIRE(row.scores.contains(score));
        CHECK(row.scores.at(score) == Approx(value.get<double>()).epsilon(1e-12).margin(1e-12));
      }
    }
  }

 private:
  // Each record through the task's own import, as one file of JSON lines for each (edition, file name).
  void write_items() {
    std::map<std::pair<int, std::string>, std::vector<std::size_t>> groups;
    std::vector<Json> items(cases_.size());
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (cases_[i].value("imported", false)) items[i] = cases_[i]["item"];
      else groups[{cases_[i].value("edition", 0), cases_[i].value("file", "one.jsonl")}].push_back(i);
    }
    for (const auto& [key, members] : groups) {
      ImportSource source = task_.import->items.at(static_cast<std::size_t>(key.first));
      source.format = ImportSource::Format::kJsonl;
      source.records.clear();
      source.join.clear();
      source.when.clear();
      source.files = {key.second};
      source.id = "case-{{ index }}";
      std::vector<Json> records;
      for (const std::size_t i : members) records.push_back(cases_[i]["item"]);
      write_lines(folder_ / key.second, records);
      const auto imported = import_items(source, folder_ / key.second, name_);
      if (!imported) FAIL(imported.error().detail);
      const ItemFile lines = ItemFile::of_text(imported->jsonl, name_).value();
      for (std::size_t i = 0; i < members.size(); ++i) items[members[i]] = lines[i].fields;
    }
    for (std::size_t i = 0; i < items.size(); ++i) items[i]["id"] = fmt::format("case-{}", i);
    write_lines(folder_ / name_ / task_.items_file, items);
    first_item_ = items.front();
  }

  void write_examples() {
    const std::string& file = task_.few_shot.items_file;
    if (file.empty()) return;
    if (fs::exists(home_ / file)) {
      fs::copy_file(home_ / file, folder_ / name_ / file);
      return;
    }
    std::vector<Json> examples;
    std::set<std::string> seen;  // lists of examples; within one, equal rows stay (MMLU's college_physics has the same one twice)
    for (const Json& one : cases_) {
      const Json list = one.value("examples", Json::array());
      if (seen.insert(list.dump()).second) examples.insert(examples.end(), list.begin(), list.end());
    }
    if (!examples.empty() && !cases_[0].value("imported", false)) {
      ImportSource source = *task_.import->few_shot;
      source.files = {"examples.jsonl"};
      write_lines(folder_ / "examples.jsonl", examples);
      const auto imported = import_items(source, folder_ / "examples.jsonl", name_);
      if (!imported) FAIL(imported.error().detail);
      const ItemFile lines = ItemFile::of_text(imported->jsonl, name_).value();
      for (std::size_t i = 0; i < lines.size(); ++i) examples[i] = lines[i].fields;
    }
    // Where the harness has no examples here, some that are only there to be counted: the context is not compared then.
    while (examples.size() < static_cast<std::size_t>(task_.few_shot.count)) examples.push_back(first_item_);
    for (std::size_t i = 0; i < examples.size(); ++i) examples[i]["id"] = fmt::format("example-{}", i);
    write_lines(folder_ / name_ / file, examples);
  }

  static Response response_of(const Json& expected) {
    Response response;
    if (expected.contains("response")) {
      response.answer = GenerateAnswer{expected["response"].get<std::string>(), {}, GenerateAnswer::Stop::kStopString};
    } else if (expected.contains("nll")) {
      response.answer = RollingLoglikelihoodAnswer{expected["nll"].get<double>(), 0, expected["tokens"].get<int>(), {}};
    } else {
      LoglikelihoodAnswer answer;
      const auto values = expected["loglikelihoods"].get<std::vector<double>>();
      for (std::size_t i = 0; i < values.size(); ++i) answer.continuations.push_back({values[i], expected.contains("greedy") && expected["greedy"][i].get<bool>(), 1});
      response.answer = answer;
    }
    return response;
  }

  static void check_request(const Request& request, const Json& expected) {
    if (const auto* choice = std::get_if<Loglikelihood>(&request)) {
      if (expected.contains("context")) CHECK(choice->context == expected["context"].get<std::string>());
      if (expected.contains("contexts")) CHECK(choice->contexts == expected["contexts"].get<std::vector<std::string>>());
      CHECK(choice->continuations == expected["continuations"].get<std::vector<std::string>>());
    } else if (const auto* rolling = std::get_if<RollingLoglikelihood>(&request)) {
      CHECK(rolling->text == expected["text"].get<std::string>());
    } else if (expected.contains("context")) {
      CHECK(std::get<Generate>(request).prompt == expected["context"].get<std::string>());
    }
  }

  std::string name_;
  std::vector<Json> cases_;
  std::set<std::string>& explained_;  // loses what was seen
  fs::path home_ = test::source_dir() / "suites/tasks" / name_;
  fs::path folder_ = fs::temp_directory_path() / fmt::format("quantfleet-scoring-{}", ::getpid());
  Task task_;
  Json first_item_;
};

// The ids of one kind of items ("invented", "published"): a line is the kind, an id and why.
std::set<std::string> explained_of(const std::string& kind) {
  std::ifstream file(test::source_dir() / "tests/golden/scoring_explained.txt");
  REQUIRE(file.good());
  std::set<std::string> ids;
  std::string of, id;
  for (std::string line; std::getline(file, line);)
    if (std::istringstream words(line); words >> of >> id && of == kind) ids.insert(id);
  return ids;
}

std::set<std::string> check_file(const fs::path& path, const std::string& kind) {
  std::set<std::string> explained = explained_of(kind);
  std::ifstream file(path);
  REQUIRE(file.good());
  std::map<std::string, std::vector<Json>> by_task;
  for (std::string line; std::getline(file, line);) {
    Json one = Json::parse(line);
    by_task[one["task"].get<std::string>()].push_back(std::move(one));
  }
  std::set<std::string> names;
  for (const auto& [name, cases] : by_task) {
    INFO(name << ": " << cases.size() << " cases");
    Cases(name, cases, explained).check();
    names.insert(name);
  }
  std::erase_if(explained, [&](const std::string& id) { return !names.contains(id.substr(0, id.rfind('-'))); });  // a part of the tasks
  CHECK(explained == std::set<std::string>{});  // all of them are cases
  return names;
}

TEST_CASE("requests and scores equal the harness' on invented items", "[scoring]") {
  const auto names = check_file(test::source_dir() / "tests/golden/scoring.jsonl", "invented");
  CHECK(names.size() >= 23);
}

TEST_CASE("requests and scores equal the harness' on published items", "[scoring]") {
  if (const char* cases = std::getenv("QUANTFLEET_SCORING_CASES")) check_file(cases, "published");
}

}  // namespace
}  // namespace quantfleet
