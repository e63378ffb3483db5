// A suite is a loaded task: its items rendered and checked once, put into their seeded order, turned into requests and
// handed to the task's scorer.
#include "suites/suite.h"

#include "suites/prompt.h"
#include "suites/scorers/scorer.h"
#include "suites/seeded_order.h"
#include "suites/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace quantfleet {
namespace {

class TaskSuite : public Suite {
 public:
  static Result<std::shared_ptr<const Suite>> make(Task loaded) {
    auto suite = std::make_shared<TaskSuite>();
    suite->task_ = std::move(loaded);
    const Task& task = suite->task_;
    auto prompts = PromptBuilder::make(task);
    if (!prompts) return prompts.error();
    suite->prompts_ = std::move(*prompts);
    auto scorers = make_scorers(task);
    if (!scorers) return scorers.error();
    suite->scorers_ = std::move(*scorers);

    for (const TaskItem& item : task.items) {
      auto asked = suite->prompts_.ask(item);
      if (!asked) return asked.error();
      suite->asked_.push_back(std::move(*asked));
    }
    for (const TaskItem& example : task.few_shot_items)
      if (auto asked = suite->prompts_.ask(example); !asked) return asked.error();
    std::vector<ScoredItem> items;
    for (std::size_t i = 0; i < task.items.size(); ++i) items.push_back({task.items[i], suite->asked_[i]});
    for (const ScoredItem& item : items)
      for (const auto& scorer : suite->scorers_)
        if (const Status status = scorer->check(item); !status)
          return Error{status.error().code, fmt::format("{}: {}", task.place, status.error().detail)};

    suite->order_ = seeded_order(static_cast<int>(task.items.size()), task.seed);
    SuiteInfo& info = suite->info_;
    info.name = task.name;
    info.version = task.version;
    info.sha256 = task.sha256;
    info.area = task.area;
    info.kind = name_of(task.kind);
    info.items = static_cast<int>(task.items.size());
    info.chance = task.chance ? *task.chance : suite->scorers_.front()->chance(items);
    return std::shared_ptr<const Suite>(std::move(suite));
  }

  const SuiteInfo& info() const override { return info_; }
  int size() const override { return info_.items; }
  ItemId item_id(int index) const override { return ItemId{task_.items[at(index)].id}; }

  Result<Request> request(int index, const std::string& chat_template) const override {
    if (index < 0 || index >= size())
      return Error{Code::kBadValue, fmt::format("suite '{}' has items 0 to {}, asked for {}", info_.name, size() - 1, index)};
    const std::size_t item = at(index);
    const AskedItem& asked = asked_[item];
    bool used_chat = false;
    auto prompt = prompts_.prompt(static_cast<int>(item), asked, chat_template, used_chat);
    if (!prompt) return prompt.error();
    switch (task_.kind) {
      case TaskKind::kLoglikelihood: {
        Loglikelihood request{std::move(*prompt), {}};
        for (const std::string& choice : asked.choices)
          request.continuations.push_back((used_chat ? std::string() : task_.target_delimiter) + choice);
        return Request(std::move(request));
      }
      case TaskKind::kRolling: return Request(RollingLoglikelihood{std::move(*prompt), task_.context_tokens});
      case TaskKind::kGenerate:
      case TaskKind::kCode: break;
    }
    return Request(Generate{std::move(*prompt), task_.stop, task_.tokens_max, 0, 0});
  }

  ItemResult score(int index, const Response& response, const CodeRunner* code_runner) const override {
    ItemResult row;
    row.index = index;
    if (index < 0 || index >= size()) {
      row.error = Error{Code::kBadValue, fmt::format("suite '{}' has items 0 to {}, asked for {}", info_.name, size() - 1, index)};
      return row;
    }
    const std::size_t item = at(index);
    row.item = ItemId{task_.items[item].id};
    row.prompt_tokens = response.prompt_tokens;
    row.generated_tokens = response.generated_tokens;
    row.first_token_ms = response.first_token_ms;
    row.total_ms = response.total_ms;
    row.logits_digest = response.logits_digest;
    for (const auto& scorer : scorers_) scorer->score({task_.items[item], asked_[item]}, response, code_runner, row);
    if (row.error) {
      row.scores.clear();
      row.series.clear();
    }
    return row;
  }

 private:
  std::size_t at(int index) const { return static_cast<std::size_t>(order_[static_cast<std::size_t>(index)]); }

  Task task_;
  PromptBuilder prompts_;
  std::vector<std::unique_ptr<Scorer>> scorers_;
  std::vector<AskedItem> asked_;  // by the items' order in their file
  std::vector<int> order_;        // index -> position in the file
  SuiteInfo info_;
};

}  // namespace

Result<std::shared_ptr<const Suite>> load_suite(const std::filesystem::path& directory) {
  auto task = load_task(directory);
  if (!task) return task.error();
  return TaskSuite::make(std::move(*task));
}

namespace {

// Its task.yaml has an import, and the file that the import makes is absent. A broken task.yaml is not: loading it says why.
bool awaits_import(const std::filesystem::path& directory) {
  std::ifstream file(directory / "task.yaml", std::ios::binary);
  const std::string yaml{std::istreambuf_iterator<char>(file), {}};
  const auto task = parse_task_yaml(yaml, (directory / "task.yaml").string());
  std::error_code failure;
  return task && task->import && !std::filesystem::exists(directory / task->items_file, failure);
}

}  // namespace

std::vector<std::string> names_of_not_imported(const std::filesystem::path& root) {
  std::vector<std::string> names;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(root, failure), end; !failure && entry != end; entry.increment(failure))
    if (std::filesystem::exists(entry->path() / "task.yaml") && awaits_import(entry->path())) names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::shared_ptr<const Suite>>> load_suites(const std::filesystem::path& root) {
  std::error_code failure;
  std::vector<std::filesystem::path> folders;
  for (std::filesystem::directory_iterator entry(root, failure), end; !failure && entry != end; entry.increment(failure))
    if (std::filesystem::exists(entry->path() / "task.yaml")) folders.push_back(entry->path());
  if (failure) return Error{Code::kNotFound, fmt::format("{}: no folder of suites can be read here: {}", root.string(), failure.message())};
  std::sort(folders.begin(), folders.end());
  std::vector<std::shared_ptr<const Suite>> suites;
  for (const auto& folder : folders) {
    if (awaits_import(folder)) continue;
    auto suite = load_suite(folder);
    if (!suite) return suite.error();
    suites.push_back(std::move(*suite));
  }
  return suites;
}

Result<std::shared_ptr<const Suite>> find_suite(const std::filesystem::path& root, std::string_view name) {
  const bool plain = !name.empty() && name[0] != '.' && name.find('/') == std::string_view::npos;
  std::error_code failure;
  if (plain && std::filesystem::exists(root / name / "task.yaml", failure)) return load_suite(root / name);
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(root, failure), end; !failure && entry != end; entry.increment(failure))
    if (std::filesystem::exists(entry->path() / "task.yaml")) names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return Error{Code::kUnknownName, fmt::format("no suite '{}' in {}; there {}: {}", name, root.string(), names.size() == 1 ? "is" : "are",
                                               names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")))};
}

}  // namespace quantfleet
