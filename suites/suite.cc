// A suite is a loaded task: its items rendered and checked once, put into their seeded order, turned into requests and
// handed to the task's scorer.
#include "suites/suite.h"

#include "suites/choice_order.h"
#include "suites/prompt.h"
#include "suites/scorers/scorer.h"
#include "suites/seeded_order.h"
#include "suites/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <mutex>
#include <utility>

namespace quantfleet {
namespace {

// Each number of `aggregation` must come out of the marks.
Status check_numbers(const Task& task, std::vector<std::string> numbers) {
  for (const Aggregation& wanted : task.aggregation) {
    const int samples = samples_of_pass_at(wanted.number);
    if (samples > 0 && samples <= task.sampling.count && task.sampling.count > 1) continue;
    if (std::find(numbers.begin(), numbers.end(), wanted.number) != numbers.end()) continue;
    if (task.sampling.count > 1) numbers.push_back(fmt::format("pass@1 to pass@{}", task.sampling.count));
    return Error{Code::kBadValue, fmt::format("{}:{}: 'aggregation' names '{}', scorer {} gives {}", task.place, task.aggregation_line, wanted.number,
                                              task.scorers.front().name, fmt::join(numbers, ", "))};
  }
  return {};
}

class TaskSuite : public Suite {
 public:
  static Result<std::shared_ptr<const Suite>> make(Task loaded, const SuiteOptions& options) {
    auto suite = std::make_shared<TaskSuite>();
    suite->task_ = std::move(loaded);
    const Task& task = suite->task_;
    auto prompts = PromptBuilder::make(task);
    if (!prompts) return prompts.error();
    suite->prompts_ = std::move(*prompts);
    auto scorers = make_scorers(task);
    if (!scorers) return scorers.error();
    suite->scorers_ = std::move(*scorers);
    suite->choice_seed_ = options.choice_seed ? options.choice_seed : task.choice_order.seed;
    if (options.choice_seed && task.choice_order.answer.empty())
      return Error{Code::kUnsupported, fmt::format("{}: its task.yaml has no 'choice_order', so there are no options to put into another order", task.name)};

    if (const Status status = check_numbers(task, suite->scorers_.front()->numbers()); !status) return status.error();

    // Every item once: can it be asked and marked, and what does guessing reach.
    ChanceTally tally;
    for (std::size_t i = 0; i < task.items.size(); ++i) {
      const auto item = suite->item(i);
      if (!item) return item.error();
      const auto asked = suite->prompts_.ask(*item);
      if (!asked) return asked.error();
      if (const auto group = suite->prompts_.group(*item); !group) return group.error();
      for (const auto& scorer : suite->scorers_)
        if (const Status status = scorer->check({*item, *asked}); !status)
          return Error{status.error().code, fmt::format("{}: {}", task.place, status.error().detail)};
      suite->scorers_.front()->tally({*item, *asked}, tally);
      if (task.items.size() <= kRemembered) suite->remember(i, std::make_shared<const Read>(Read{*item, *asked}));
    }
    for (const TaskItem& example : task.few_shot_items)
      if (auto asked = suite->prompts_.ask(example); !asked) return asked.error();

    suite->order_ = seeded_order(static_cast<int>(task.items.size()), task.seed);
    SuiteInfo& info = suite->info_;
    info.name = task.name;
    info.version = task.version;
    info.sha256 = suite->choice_seed_ == task.choice_order.seed ? task.sha256 : sha256_of_text(fmt::format("{} choice_seed {}", task.sha256, suite->choice_seed_));
    info.area = task.area;
    info.kind = name_of(task.kind);
    info.items = static_cast<int>(task.items.size()) * task.sampling.count;
    info.aggregation = task.aggregation;
    info.chance = task.chance ? *task.chance : tally.chance(task.items.size());
    return std::shared_ptr<const Suite>(std::move(suite));
  }

  const SuiteInfo& info() const override { return info_; }
  int size() const override { return info_.items; }

  ItemId item_id(int index) const override { return id_of(task_.items[at(index)], index); }

  Result<Request> request(int index, const std::string& chat_template) const override {
    if (index < 0 || index >= size()) return outside(index);
    std::shared_ptr<const Read> held = remembered(at(index));
    if (!held) {
      auto read = this->read(at(index));
      if (!read) return read.error();
      held = std::make_shared<const Read>(std::move(*read));
      remember(at(index), held);
    }
    const TaskItem* const item = &held->item;
    const AskedItem* const asked = &held->asked;
    bool used_chat = false;
    const int number = static_cast<int>(at(index));
    auto prompt = prompts_.prompt(number, *item, asked->question, chat_template, used_chat);
    if (!prompt) return prompt.error();
    switch (task_.kind) {
      case TaskKind::kLoglikelihood: {
        Loglikelihood request{std::move(*prompt), {}, {}};
        for (const std::string& choice : asked->choices)
          request.continuations.push_back((used_chat ? std::string() : task_.target_delimiter) + choice);
        for (const std::string& context : asked->contexts) {
          auto own = prompts_.prompt(number, *item, context, chat_template, used_chat);
          if (!own) return own.error();
          request.contexts.push_back(std::move(*own));
        }
        return Request(std::move(request));
      }
      case TaskKind::kRolling:
        return Request(RollingLoglikelihood{std::move(*prompt), task_.context_tokens,
                                            task_.every_token ? RollingLoglikelihood::Windows::kEveryToken : RollingLoglikelihood::Windows::kSecondHalf});
      case TaskKind::kGenerate:
      case TaskKind::kCode: break;
    }
    Generate request{std::move(*prompt), task_.stop, task_.tokens_max, static_cast<float>(task_.sampling.temperature), 0, static_cast<float>(task_.sampling.top_p)};
    if (request.temperature > 0) request.seed = seed_of(item->id, sample_of(index));
    return Request(std::move(request));
  }

  ItemResult score(int index, const Response& response, const CodeRunner* code_runner) const override {
    ItemResult row;
    row.index = index;
    if (index < 0 || index >= size()) {
      row.error = outside(index);
      return row;
    }
    row.prompt_tokens = response.prompt_tokens;
    row.generated_tokens = response.generated_tokens;
    row.first_token_ms = response.first_token_ms;
    row.total_ms = response.total_ms;
    row.logits_digest = response.logits_digest;
    std::shared_ptr<const Read> held = remembered(at(index));
    if (!held) {
      auto read = this->read(at(index));
      if (!read) {
        row.item = item_id(index);
        row.error = read.error();
        return row;
      }
      held = std::make_shared<const Read>(std::move(*read));
    }
    row.item = id_of(held->item, index);
    const auto group = prompts_.group(held->item);
    if (!group) {
      row.error = group.error();
      return row;
    }
    row.group = group->substr(0, kGroupBytesMax);
    for (const auto& scorer : scorers_) scorer->score({held->item, held->asked}, response, code_runner, row);
    if (const auto* text = std::get_if<GenerateAnswer>(&response.answer)) row.scores["truncated"] = text->stop == GenerateAnswer::Stop::kTokensMax;
    if (row.error) {
      row.scores.clear();
      row.series.clear();
    }
    return row;
  }

 private:
  static constexpr std::size_t kGroupBytesMax = 128;
  static constexpr std::size_t kRemembered = 1024, kRememberedBytesMax = 4096;

  // An item as it is asked.
  struct Read {
    TaskItem item;
    AskedItem asked;
  };

  Result<Read> read(std::size_t number) const {
    auto item = this->item(number);
    if (!item) return item.error();
    auto asked = prompts_.ask(*item);
    if (!asked) return asked.error();
    return Read{std::move(*item), std::move(*asked)};
  }

  // A small suite's items were read when it was loaded, and what was asked lately is marked next: short items are kept until then, so that
  // they are not read and rendered twice.
  void remember(std::size_t number, const std::shared_ptr<const Read>& read) const {
    if (read->asked.question.size() > kRememberedBytesMax) return;
    const std::lock_guard lock(mutex_);
    if (lately_.empty()) lately_.resize(kRemembered);
    lately_[number % kRemembered] = {number, read};
  }
  std::shared_ptr<const Read> remembered(std::size_t number) const {
    const std::lock_guard lock(mutex_);
    if (lately_.empty() || lately_[number % kRemembered].first != number) return nullptr;
    return lately_[number % kRemembered].second;
  }

  ItemId id_of(const TaskItem& item, int index) const {
    return ItemId{task_.sampling.count == 1 ? item.id : fmt::format("{}/sample-{}", item.id, sample_of(index))};
  }

  Error outside(int index) const {
    return {Code::kBadValue, fmt::format("suite '{}' has items 0 to {}, asked for {}", info_.name, size() - 1, index)};
  }
  std::size_t at(int index) const { return static_cast<std::size_t>(order_[static_cast<std::size_t>(index / task_.sampling.count)]); }
  int sample_of(int index) const { return index % task_.sampling.count; }

  // As it is asked: with its options in their order of this suite.
  Result<TaskItem> item(std::size_t number) const {
    TaskItem item = task_.items[number];
    if (choice_seed_)
      if (const Status status = reorder_choices(item, task_.choice_order, choice_seed_); !status)
        return Error{status.error().code, fmt::format("{}: {}", task_.place, status.error().detail)};
    return item;
  }

  // The same for every model and format: samples are paired, too.
  std::uint64_t seed_of(const std::string& id, int sample) const {
    std::uint64_t hash = 0xcbf29ce484222325u ^ task_.sampling.seed;  // FNV-1a
    for (char c : fmt::format("{}/{}", id, sample)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return hash;
  }

  Task task_;
  PromptBuilder prompts_;
  std::vector<std::unique_ptr<Scorer>> scorers_;
  std::vector<int> order_;        // index -> position in the file
  std::uint64_t choice_seed_ = 0;
  SuiteInfo info_;
  mutable std::mutex mutex_;  // guards lately_
  mutable std::vector<std::pair<std::size_t, std::shared_ptr<const Read>>> lately_;
};

}  // namespace

Result<std::shared_ptr<const Suite>> load_suite(const std::filesystem::path& directory, const SuiteOptions& options) {
  auto task = load_task(directory);
  if (!task) return task.error();
  return TaskSuite::make(std::move(*task), options);
}

Result<std::shared_ptr<const Suite>> load_suite_with_items(const std::filesystem::path& directory, std::string name, std::string_view items,
                                                           const SuiteOptions& options) {
  auto task = load_task(directory);
  if (!task) return task.error();
  auto parsed = ItemFile::of_text(std::string(items), name);
  if (!parsed) return parsed.error();
  task->sha256 = sha256_of_text(task->canonical + "\n" + std::string(items));
  task->name = std::move(name);
  task->items = std::move(*parsed);
  return TaskSuite::make(std::move(*task), options);
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

Result<std::shared_ptr<const Suite>> find_suite(const std::filesystem::path& root, std::string_view name, const SuiteOptions& options) {
  const bool plain = !name.empty() && name[0] != '.' && name.find('/') == std::string_view::npos;
  std::error_code failure;
  if (plain && std::filesystem::exists(root / name / "task.yaml", failure)) return load_suite(root / name, options);
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(root, failure), end; !failure && entry != end; entry.increment(failure))
    if (std::filesystem::exists(entry->path() / "task.yaml")) names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return Error{Code::kUnknownName, fmt::format("no suite '{}' in {}; there {}: {}", name, root.string(), names.size() == 1 ? "is" : "are",
                                               names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")))};
}

}  // namespace quantfleet
