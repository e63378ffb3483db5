// A scorer marks one response: (item, response) -> named scores. Pure but for the code runner it may be given; never fails:
// what cannot be marked becomes the row's error. A new one adds its two files, its test and one line in catalog.cc.
#pragma once

#include "contract/item_result.h"
#include "contract/request.h"
#include "suites/prompt.h"
#include "suites/task.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class CodeRunner;

struct ScoredItem {
  const TaskItem& item;
  const AskedItem& asked;
};

class Scorer {
 public:
  virtual ~Scorer() = default;
  // Adds scores, series and output to `row`, or sets its error. `code_runner` may be nullptr.
  virtual void score(const ScoredItem& item, const Response& response, const CodeRunner* code_runner, ItemResult& row) const = 0;
  // What guessing or the best constant answer reaches on these items; 0 where neither means anything.
  virtual double chance(std::span<const ScoredItem> items) const = 0;
  // Whether one item can be marked at all: its fields render to what this scorer expects.
  virtual Status check(const ScoredItem& item) const = 0;
};

struct ScorerType {
  std::string_view name;
  std::vector<TaskKind> kinds;                // whose responses it marks
  Result<std::unique_ptr<Scorer>> (*make)(const ScorerSpec& spec, const Task& task);  // checks the options
};

std::span<const ScorerType> all_scorers();
const ScorerType* find_scorer(std::string_view name);  // nullptr when unknown

// The task's scorers, in its order. Each must fit the task's kind.
Result<std::vector<std::unique_ptr<Scorer>>> make_scorers(const Task& task);

// The error of a response whose alternative is not the one that belongs to the request.
Error wrong_answer_kind(std::string_view expected);

}  // namespace quantfleet
