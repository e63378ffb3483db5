// A task of EleutherAI's lm-evaluation-harness as one of ours: its YAML becomes a task.yaml, its data set (exported as JSON lines, JSON
// or CSV) becomes the items. Only what can be honoured exactly is taken: any field, function, filter or metric beyond is refused by
// name. Fields: docs/adding-a-task.md.  Fuzz: tests/fuzz/fuzz_harness_task.cc
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct HarnessTask {
  std::string name;                  // of the task: `task`, in the characters that ours may have
  std::string task_yaml, items_jsonl;
  std::string fewshot_jsonl;         // empty: no examples
  int count = 0;
  std::vector<std::string> no_effect;  // fields that say nothing about requests or scores: "tag", "metadata", ...
};

// yaml: the task's file; `include` is followed beside it. data: the evaluated split. fewshot: the split that examples come from, where
// the task has any (sampler first_n). area: one of ours. Errors name the field: kUnsupported, kBadValue, kNotFound.
Result<HarnessTask> read_harness_task(const std::filesystem::path& yaml, const std::filesystem::path& data, const std::filesystem::path& fewshot, std::string_view area);

// The same from texts, without `include`; `records` and `examples` as JSON lines.
Result<HarnessTask> translate_harness_task(std::string_view yaml, std::string_view place, std::string_view records, std::string_view examples, std::string_view area);

}  // namespace quantfleet
