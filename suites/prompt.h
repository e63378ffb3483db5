// From an item to the text that a model reads: templates rendered, solved examples put before it, the model's chat template
// around it.
//   prompt = for every example: question + delimiter + answer + few-shot delimiter;  then the asked question
// (EleutherAI lm-evaluation-harness, api/task.py; differences: docs/adding-a-task.md.)
#pragma once

#include "suites/task.h"
#include "suites/template/template.h"

#include <optional>
#include <string>
#include <vector>

namespace quantfleet {

// One item, rendered: what scorers and requests need of it.
struct AskedItem {
  std::string question;               // the prompt without examples
  std::vector<std::string> choices;   // loglikelihood: the answers, at least one
  std::vector<std::string> contexts;  // one question for each choice, where they differ; then `question` is the right choice's
  int gold = -1;                      // index of the right choice, of several the first
  std::vector<int> golds;             // all right choices
  std::string target;                 // the right answer's text, where the task has one
};

class PromptBuilder {
 public:
  // Compiles the templates of `task`, which must outlive the builder.
  static Result<PromptBuilder> make(const Task& task);

  Result<AskedItem> ask(const TaskItem& item) const;

  // The whole text before the answer for `item`, the task's items[index]. `used_chat` tells whether a chat template was applied.
  // `question` stands in for asked.question (contexts).
  Result<std::string> prompt(int index, const TaskItem& item, const std::string& question, const std::string& chat_template, bool& used_chat) const;

  // Which examples go before items[index]: indices into few_shot_items, or into items where the task has no such file.
  std::vector<int> examples_for(int index, const TaskItem& item) const;

  Result<std::string> group(const TaskItem& item) const;  // "" where the task has none

 private:
  const Task* task_ = nullptr;
  std::optional<Template> preamble_, prompt_, target_, target_index_, group_;
  std::vector<Template> choices_, contexts_;
};

}  // namespace quantfleet
