// A scorer marks one response: (item, response) -> named scores. Pure but for the code runner it may be given; never fails:
// what cannot be marked becomes the row's error. A new one adds its two files, its test and one line in catalog.cc.
#pragma once

#include "contract/item_result.h"
#include "contract/request.h"
#include "suites/prompt.h"
#include "suites/task.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace quantfleet {

class CodeRunner;

struct ScoredItem {
  const TaskItem& item;
  const AskedItem& asked;
};

// What guessing and constant answers reach, counted over a suite's items one by one. Constant answers are told apart by a 64-bit
// hash, so a million of them need no million texts.
class ChanceTally {
 public:
  void guess(double probability) { guessing_ += probability; }
  void constant(std::string_view answer) { most_ = std::max(most_, ++answers_[std::hash<std::string_view>()(answer)]); }
  // The better of both over `items` items.
  double chance(std::size_t items) const { return items == 0 ? 0 : std::max(guessing_, static_cast<double>(most_)) / static_cast<double>(items); }

 private:
  double guessing_ = 0;
  std::unordered_map<std::size_t, std::size_t> answers_;
  std::size_t most_ = 0;
};

class Scorer {
 public:
  virtual ~Scorer() = default;
  // Adds scores, series and output to `row`, or sets its error. `code_runner` may be nullptr.
  virtual void score(const ScoredItem& item, const Response& response, const CodeRunner* code_runner, ItemResult& row) const = 0;
  // Counts what guessing or a constant answer reaches on one item; nothing where neither means anything.
  virtual void tally(const ScoredItem& item, ChanceTally& tally) const = 0;
  // Whether one item can be marked at all: its fields render to what this scorer expects.
  virtual Status check(const ScoredItem& item) const = 0;
  // What a task's `aggregation` may name: the numbers that these marks become (contract/aggregation.h).
  virtual std::vector<std::string> numbers() const = 0;
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

// The response's log-likelihoods where they are one finite number for each choice; otherwise the row's error is set and nullptr given.
const LoglikelihoodAnswer* loglikelihoods_of(const ScoredItem& item, const Response& response, ItemResult& row);
// The response's text, likewise; becomes the row's output.
const GenerateAnswer* text_of(const Response& response, ItemResult& row);

// The error of a response whose alternative is not the one that belongs to the request.
Error wrong_answer_kind(std::string_view expected);

}  // namespace quantfleet
