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
  std::vector<std::string> choices;   // loglikelihood
  int gold = -1;                      // index of the right choice
  std::string target;                 // the right answer's text, where the task has one
};

class PromptBuilder {
 public:
  // Compiles the templates of `task`, which must outlive the builder.
  static Result<PromptBuilder> make(const Task& task);

  Result<AskedItem> ask(const TaskItem& item) const;

  // The whole text before the answer for task.items[item]. `used_chat` tells whether a chat template was applied.
  Result<std::string> prompt(int item, const AskedItem& asked, const std::string& chat_template, bool& used_chat) const;

  // Which examples go before task.items[item]: indices into few_shot_items, or into items where the task has no such file.
  std::vector<int> examples_for(int item) const;

 private:
  const Task* task_ = nullptr;
  std::optional<Template> preamble_, prompt_, target_, target_index_;
  std::vector<Template> choices_;
};

}  // namespace quantfleet
