// Task: what suites/tasks/<name>/task.yaml and its items say, checked. The reference for the keys is docs/adding-a-task.md.
//   task.yaml    how an item becomes a request and how the answer is marked      (strict: see contract/yaml_tree.h)
//   items.jsonl  one JSON object per line; "id" names the item, every other field is a variable of the templates
// All text comes from files and is hostile until checked here: unknown or duplicate keys, wrong types and values outside
// their limits are errors with file and line.  Tests: tests/suites/task_test.cc.  Fuzz: tests/fuzz/fuzz_task_yaml.cc
#pragma once

#include "contract/error.h"
#include "contract/yaml_tree.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

inline constexpr std::size_t kTaskYamlBytesMax = 1u << 20;
inline constexpr std::size_t kItemsBytesMax = 512u << 20;
inline constexpr std::size_t kItemBytesMax = 8u << 20;  // one line
inline constexpr int kItemsMax = 1'000'000;

enum class TaskKind { kLoglikelihood, kGenerate, kCode, kRolling };
std::string_view name_of(TaskKind kind);  // "loglikelihood", "generate", "code", "rolling"

// One line of an items file.
struct TaskItem {
  std::string id;
  nlohmann::json fields;  // the whole object, "id" included
  int line = 0;           // 1-based, in its file
};

// Solved examples put before the question.
struct FewShot {
  enum class Sampler { kFirst, kRandom };
  std::string items_file;  // JSONL beside task.yaml; empty: the task's own items, the asked one excluded
  int count = 0;
  Sampler sampler = Sampler::kFirst;
  std::uint64_t seed = 1234;
  std::string delimiter = "\n\n";
  std::string same;        // sampler first: only examples whose field of this name equals the item's
};

// How a file of the original authors becomes items (docs/adding-a-task.md, import). Templates see the record's fields, `file` (its
// name without ending), `index` (in its file, from 0) and `number` (over all files).
struct ImportSource {
  enum class Format { kJsonl, kJson, kCsv };
  std::vector<std::string> files;            // below --from; one * in the last part
  Format format = Format::kJsonl;
  std::string records;                       // json: the key that holds the list; empty: the document is the list
  std::vector<std::string> columns;          // csv without a header line
  std::string id;                            // template; characters that ids lack become -
  std::string when;                          // expression: records where it is false are left out; empty: all stay
  std::vector<std::pair<std::string, std::string>> fields;  // name and expression; none: the record as it is
};
struct ImportSpec {
  ImportSource items;
  std::optional<ImportSource> few_shot;      // for fewshot.items
  int count = 0;                             // items of the edition that the task means
  std::string sha256;                        // of their file, as written by the import; empty where nobody knows it
};

// A scorer as the task asks for it: its name and its options, still unread (each scorer checks its own).
struct ScorerSpec {
  std::string name;        // "multiple_choice", "exact_match", ...
  YamlTree options;        // map
  int line = 0;
};

struct Task {
  std::string name, version, area, description, source, licence;
  std::optional<double> reference_accuracy;  // a published or measured number to compare a run with
  std::string reference_of;                  // what was measured: "reference model, F16, int8 activations"
  TaskKind kind = TaskKind::kGenerate;
  std::uint64_t seed = 1234;                 // of the items' order

  std::string preamble;                      // template, rendered for the asked item: stands before examples and question
  std::string prompt;                        // template
  bool chat = false;                         // wrap the prompt in the model's chat template, where it has one
  std::string choices_field;                 // loglikelihood: the item's field with the list of choices, or
  std::vector<std::string> choices;          //   one template per choice
  std::string target;                        // template: the right answer's text
  std::string target_index;                  // template: the right choice's index, from 0
  std::string target_delimiter;              // between prompt and answer (few-shot examples and continuations)
  FewShot few_shot;
  std::vector<std::string> stop;
  int tokens_max = 0;
  int context_tokens = 0;                    // rolling
  std::vector<ScorerSpec> scorers;
  std::optional<double> chance;              // declared; otherwise computed from the items

  std::string items_file;                    // beside task.yaml
  std::optional<ImportSpec> import;          // the items are not in the repository: `suites import` makes their file
  std::string canonical;                     // task.yaml as JSON with sorted keys: comments and layout do not change the hash
  std::string sha256;                        // of the canonical JSON of task.yaml, items and few-shot items
  std::vector<TaskItem> items;               // in file order
  std::vector<TaskItem> few_shot_items;      // of few_shot.items_file
  std::string place;                         // path of task.yaml, for errors
};

// Reads and checks DIRECTORY/task.yaml and the files it names (inside DIRECTORY only).
Result<Task> load_task(const std::filesystem::path& directory);

// The YAML part alone; `place` names it in errors. No files are read, `items` stays empty.
Result<Task> parse_task_yaml(std::string_view yaml, std::string_view place);

// JSONL: "PLACE:LINE: what, expected" for a line that is not a JSON object with a fresh "id". Empty lines are errors,
// except nothing after the last newline.
Result<std::vector<TaskItem>> parse_items(std::string_view jsonl, std::string_view place);

// A JSON object without repeated keys into `json`; returns what is wrong with the line, or nothing.
std::string parse_json_line(std::string_view line, nlohmann::json& json);

// SHA-256 of a text, 64 hex digits.
std::string sha256_of_text(std::string_view text);

}  // namespace quantfleet
