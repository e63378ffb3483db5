// Task: what suites/tasks/<name>/task.yaml and its items say, checked. The reference for the keys is docs/adding-a-task.md.
//   task.yaml    how an item becomes a request and how the answer is marked      (strict: see contract/yaml_tree.h)
//   items.jsonl  one JSON object per line; "id" names the item, every other field is a variable of the templates
// All text comes from files and is hostile until checked here: unknown or duplicate keys, wrong types and values outside
// their limits are errors with file and line.  Tests: tests/suites/task_test.cc.  Fuzz: tests/fuzz/fuzz_task_yaml.cc
#pragma once

#include "contract/aggregation.h"
#include "contract/error.h"
#include "contract/yaml_tree.h"
#include "suites/item_file.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

inline constexpr std::size_t kTaskYamlBytesMax = 1u << 20;

enum class TaskKind { kLoglikelihood, kGenerate, kCode, kRolling };
std::string_view name_of(TaskKind kind);  // "loglikelihood", "generate", "code", "rolling"

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

// How files of the original authors become items (docs/adding-a-task.md, import). Templates see the record's fields, `file` (its
// name without ending), `folder` (the name of the folder it lies in), `index` (in its file, from 0) and `number` (over all files).
struct ImportSource {
  enum class Format { kJsonl, kJson, kCsv, kTsv, kLines, kText };
  std::vector<std::string> files;            // below --from; one * in the last part
  Format format = Format::kJsonl;
  std::string records;                       // json: the key that holds the list; empty: the document is the list, or one record
  std::vector<std::string> columns;          // csv, tsv without a header line; lines: names of a record's lines
  std::string record_starts;                 // text: pattern of the line that a record begins with; empty: the whole file
  std::vector<ImportSource> join;            // files whose n-th record belongs to the n-th record here (files pairwise, in order)
  std::string id;                            // template; characters that ids lack become -
  std::string when;                          // expression: records where it is false are left out; empty: all stay
  std::vector<std::pair<std::string, std::string>> fields;  // name and expression; none: the record as it is
};
struct ImportSpec {
  std::vector<ImportSource> items;           // editions of the same items: the first whose files are there is taken
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

// Several answers to one item, drawn at a temperature; each is a row of its own. count 1 at temperature 0: greedy.
struct Sampling {
  int count = 1;
  double temperature = 0, top_p = 1;
  std::uint64_t seed = 1234;
};

// Which fields of an item hold the options that a question shows, so that they can be put into another order.
struct ChoiceOrder {
  std::vector<std::string> fields;           // one field for each option, or
  std::string list;                          //   one field with the list of them
  std::string answer;                        // field: the right option's index, or its label
  std::vector<std::string> labels;           // of the places; empty: `answer` is an index
  std::uint64_t seed = 0;                    // not 0: shuffled always; a plan's choice_seed stands over it
};

struct Task {
  std::string name, version, area, description, source, licence;
  std::string split = "all";                 // of the authors' data set: "train", "validation", "test"; "all" where they divide nothing
  std::vector<std::string> overlaps;         // suites with the same items or some of them
  std::optional<double> reference_accuracy;  // a published or measured number to compare a run with
  std::string reference_of;                  // what was measured: "reference model, F16, int8 activations"
  TaskKind kind = TaskKind::kGenerate;
  std::uint64_t seed = 1234;                 // of the items' order

  std::string preamble;                      // template, rendered for the asked item: stands before examples and question
  std::string prompt;                        // template
  std::vector<std::string> contexts;         // loglikelihood: one prompt for each choice instead (WinoGrande)
  bool chat = false;                         // wrap the prompt in the model's chat template, where it has one
  std::string group;                         // template: the item's group (MMLU's subject); empty: none
  std::string choices_field;                 // loglikelihood: the item's field with the list of choices, or
  std::vector<std::string> choices;          //   one template per choice
  std::string target;                        // template: the right answer's text
  std::string target_index;                  // template: the right choice's index, from 0
  std::string target_delimiter;              // between prompt and answer (few-shot examples and continuations)
  FewShot few_shot;
  std::vector<std::string> stop;
  int tokens_max = 0;
  int context_tokens = 0;                    // rolling
  bool every_token = false;                  // rolling: score every token once, not each window's second half
  Sampling sampling;                         // generate, code
  ChoiceOrder choice_order;                  // loglikelihood, generate
  std::vector<ScorerSpec> scorers;
  std::vector<Aggregation> aggregation;      // which numbers the marks become, in the order shown; none: all that they allow
  int aggregation_line = 0;
  std::optional<double> chance;              // declared; otherwise computed from the items

  std::string items_file;                    // beside task.yaml
  std::optional<ImportSpec> import;          // the items are not in the repository: `suites import` makes their file
  std::string canonical;                     // task.yaml as JSON with sorted keys: comments and layout do not change the hash, nor do
                                             //   split and aggregation: no request and no mark of an item depends on them
  std::string sha256;                        // of the canonical JSON of task.yaml, items and few-shot items
  ItemFile items;                            // in file order
  std::vector<TaskItem> few_shot_items;      // of few_shot.items_file
  std::string place;                         // path of task.yaml, for errors
};

// Reads and checks DIRECTORY/task.yaml and the files it names (inside DIRECTORY only).
Result<Task> load_task(const std::filesystem::path& directory);

// The YAML part alone; `place` names it in errors. No files are read, `items` stays empty.
Result<Task> parse_task_yaml(std::string_view yaml, std::string_view place);

// SHA-256 of a text, 64 hex digits.
std::string sha256_of_text(std::string_view text);

}  // namespace quantfleet
