#include "suites/harness_task.h"

#include "contract/yaml_tree.h"
#include "suites/import.h"
#include "suites/task.h"
#include "suites/template/template.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Says what data it is, or how it is shown: no request and no score depends on it.
constexpr std::array<std::string_view, 13> kNoEffect = {"tag", "group", "task_alias", "metadata", "dataset_path", "dataset_name", "dataset_kwargs", "training_split",
                                                        "fewshot_split", "should_decontaminate", "doc_to_decontamination_query", "unsafe_code", "repeats"};

// What is taken over.
constexpr std::array<std::string_view, 15> kHonoured = {"task", "output_type", "test_split", "validation_split", "description", "doc_to_text", "doc_to_target", "doc_to_choice",
                                                        "target_delimiter", "num_fewshot", "fewshot_delimiter", "fewshot_config", "generation_kwargs", "filter_list", "metric_list"};

struct Refused {
  Error error;
};

[[noreturn]] void refuse(std::string what, Code code = Code::kUnsupported) { throw Refused{{code, std::move(what)}}; }

std::string read_all(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) refuse(fmt::format("{}: cannot be read", path.string()), Code::kNotFound);
  return text;
}

// "{{ expression }}" and nothing else: its expression.
std::optional<std::string> sole_expression(const std::string& source) {
  const std::string text = strip_white_space(source);
  if (!text.starts_with("{{") || !text.ends_with("}}") || text.size() < 5) return std::nullopt;
  const std::string inside = text.substr(2, text.size() - 4);
  if (inside.find("{{") != std::string::npos || inside.find("}}") != std::string::npos || inside.find("{%") != std::string::npos) return std::nullopt;
  return inside;
}

std::string yaml_text(const std::string& text) { return Json(text).dump(); }  // a JSON string is a YAML string

class Translation {
 public:
  Translation(const YamlTree& tree, std::string place, std::vector<Json> records, std::vector<Json> examples, std::string area)
      : tree_(tree), place_(std::move(place)), records_(std::move(records)), examples_(std::move(examples)), area_(std::move(area)) {}

  HarnessTask run() {
    if (records_.empty()) refuse("the data have no records", Code::kBadValue);
    for (const YamlEntry& entry : tree_.map) {
      if (std::find(kHonoured.begin(), kHonoured.end(), entry.key) != kHonoured.end()) continue;
      if (std::find(kNoEffect.begin(), kNoEffect.end(), entry.key) == kNoEffect.end()) refuse(fmt::format("{}: line {}: this field is not supported", entry.key, entry.line));
    }
    const std::string name = text("task");
    for (char c : name) task_.name += (c >= 'A' && c <= 'Z') ? static_cast<char>(c | 0x20) : ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-') ? c : '_';
    const std::string type = text("output_type", "generate_until");
    const bool choice = type == "multiple_choice", generate = type == "generate_until", word = type == "loglikelihood", rolling = type == "loglikelihood_rolling";
    if (!choice && !generate && !word && !rolling) refuse(fmt::format("output_type: '{}' is not supported", type));

    line("name", yaml_text(task_.name));
    line("version", yaml_text("1"));
    line("area", area_);
    line("kind", choice || word ? "loglikelihood" : generate ? "generate" : "rolling");
    line("description", yaml_text(fmt::format("{} of lm-evaluation-harness", name)));
    line("source", yaml_text(fmt::format("lm-evaluation-harness task {}, data set {} {}", name, text("dataset_path", "unknown"), text("dataset_name", ""))));
    line("split", split());
    line("licence", yaml_text("that of the data set"));
    if (const std::string description = text("description", ""); !description.empty()) line("preamble", yaml_text(description));
    if (rolling) {
      if (strip_white_space(text("doc_to_text", "")) != "") refuse("doc_to_text: a rolling task has none");
      line("prompt", yaml_text(as_template("doc_to_target")));
      line("windows", "every_token");
      line("context_tokens", "4096");
    } else {
      line("prompt", yaml_text(as_template("doc_to_text")));
    }
    if (choice) choices();
    else if (!rolling) target(generate);
    delimiters(word, rolling);
    shots();
    if (generate) generation();
    else if (has("generation_kwargs") || has("filter_list")) refuse(fmt::format("{} does not belong to output_type {}", has("filter_list") ? "filter_list" : "generation_kwargs", type));
    metrics(choice, generate, word);
    for (const YamlEntry& entry : tree_.map)
      if (!read_.contains(entry.key)) task_.no_effect.push_back(entry.key);
    line("scorers", "[" + scorer_ + "]");
    line("aggregation", fmt::format("{{{}}}", fmt::join(aggregation_, ", ")));
    items(records_, task_.items_jsonl, "item");
    if (!examples_.empty()) items(examples_, task_.fewshot_jsonl, "example");
    task_.count = static_cast<int>(records_.size());
    return std::move(task_);
  }

 private:
  // ---- reading ----------------------------------------------------------------------------------------------------------
  const YamlTree* find(std::string_view key) {
    read_.insert(std::string(key));
    for (const YamlEntry& entry : tree_.map)
      if (entry.key == key) return entry.value.kind == YamlTree::Kind::kScalar && entry.value.scalar.is_null() && entry.value.tag.empty() ? nullptr : &entry.value;
    return nullptr;
  }
  bool has(std::string_view key) { return find(key) != nullptr; }
  void no_function(std::string_view key, const YamlTree& value) {
    if (!value.tag.empty()) refuse(fmt::format("{}: line {}: {} {} is Python code, which is not run", key, value.line, value.tag, value.scalar.is_string() ? value.scalar.get<std::string>() : ""));
  }
  std::string text(std::string_view key, std::optional<std::string> fallback = std::nullopt) {
    const YamlTree* value = find(key);
    if (!value) {
      if (fallback) return *fallback;
      refuse(fmt::format("{}: is missing", key), Code::kBadValue);
    }
    no_function(key, *value);
    if (value->kind != YamlTree::Kind::kScalar) refuse(fmt::format("{}: line {}: a text was expected", key, value->line), Code::kBadValue);
    return value->scalar.is_string() ? value->scalar.get<std::string>() : value->scalar.dump();
  }
  // A field's name stands for the field.
  std::string as_template(std::string_view key) {
    const std::string source = text(key);
    return records_[0].contains(source) ? "{{ " + source + " }}" : source;
  }
  std::string rendered(const std::string& source, const Json& record, std::string_view key) {
    const auto compiled = Template::parse(source, fmt::format("{}, {}", place_, key));
    if (!compiled) throw Refused{compiled.error()};
    auto result = compiled->render(record);
    if (!result) throw Refused{result.error()};
    return *result;
  }
  Json computed(const std::string& expression, const Json& record, std::string_view key) {
    return Json::parse(rendered("{{ (" + expression + ") | tojson }}", record, key), nullptr, false);
  }

  // ---- the parts --------------------------------------------------------------------------------------------------------
  void choices() {
    const YamlTree* value = find("doc_to_choice");
    if (!value) refuse("doc_to_choice: is missing", Code::kBadValue);
    no_function("doc_to_choice", *value);
    if (value->kind == YamlTree::Kind::kMap) refuse("doc_to_choice: a map of choices is not supported");
    if (value->kind == YamlTree::Kind::kList) {
      std::vector<std::string> listed;
      for (const YamlTree& one : value->list) {
        no_function("doc_to_choice", one);
        listed.push_back(yaml_text(one.scalar.is_string() ? one.scalar.get<std::string>() : one.scalar.dump()));
      }
      line("choices", fmt::format("[{}]", fmt::join(listed, ", ")));
    } else {
      const std::string source = text("doc_to_choice");
      const auto expression = records_[0].contains(source) ? std::optional(source) : sole_expression(source);
      if (!expression) refuse("doc_to_choice: a field, a list, or one {{ expression }} that gives a list is expected");
      add_field("harness_choices", *expression, "doc_to_choice");
      line("choices", "harness_choices");
    }
    const YamlTree* right = find("doc_to_target");
    if (!right) refuse("doc_to_target: is missing", Code::kBadValue);
    const std::string source = as_template("doc_to_target");
    const std::string first = rendered(source, records_[0], "doc_to_target");
    const bool index = !first.empty() && first.find_first_not_of("0123456789[], ") == std::string::npos;
    line(index ? "target_index" : "target", yaml_text(source));
  }

  void target(bool generate) {
    const std::string source = as_template("doc_to_target");
    const auto expression = sole_expression(source);
    if (generate && expression && computed(*expression, records_[0], "doc_to_target").is_array()) {
      add_field("harness_targets", *expression, "doc_to_target");
      targets_ = true;
      line("target", yaml_text("{{ harness_targets[0] }}"));
      return;
    }
    if (generate && rendered(source, records_[0], "doc_to_target").starts_with("[")) refuse("doc_to_target: a list that is put together from pieces is not supported");
    line("target", yaml_text(source));
  }

  void delimiters(bool word, bool rolling) {
    const std::string delimiter = text("target_delimiter", " ");
    // The continuation of a loglikelihood request is the target as it stands.
    if (!rolling) line("target_delimiter", yaml_text(word ? "" : delimiter));
  }

  void shots() {
    const std::string delimiter = text("fewshot_delimiter", "\n\n");
    const YamlTree* config = find("fewshot_config");
    bool first = false;
    if (config) {
      if (config->kind != YamlTree::Kind::kMap) refuse("fewshot_config: a map was expected", Code::kBadValue);
      for (const YamlEntry& entry : config->map) {
        if (entry.key == "sampler" && entry.value.scalar == "first_n") first = true;
        else if (entry.key == "sampler" && entry.value.scalar == "default") first = false;
        else if (entry.key == "samples") samples(entry.value);
        else refuse(fmt::format("fewshot_config.{}: line {}: this is not supported", entry.key, entry.line));
      }
    }
    const std::string number = text("num_fewshot", "0");
    const int count = number.size() <= 3 && number.find_first_not_of("0123456789") == std::string::npos ? std::stoi(number) : -1;
    if (count < 0) refuse(fmt::format("num_fewshot: '{}' is not a number of examples", number), Code::kBadValue);
    if (count == 0) {
      examples_.clear();
      return;
    }
    if (!first) refuse("num_fewshot: the default sampler draws with Python's generator, which cannot be repeated here; fewshot_config: {sampler: first_n} can");
    if (static_cast<int>(examples_.size()) < count) refuse(fmt::format("num_fewshot: {} examples are needed, --fewshot or samples give {}", count, examples_.size()), Code::kBadValue);
    examples_.resize(static_cast<std::size_t>(count));
    line("fewshot", fmt::format("{{count: {}, items: fewshot.jsonl, delimiter: {}}}", count, yaml_text(delimiter)));
  }

  // The examples themselves, instead of a file.
  void samples(const YamlTree& list) {
    no_function("fewshot_config.samples", list);
    if (list.kind != YamlTree::Kind::kList) refuse(fmt::format("fewshot_config.samples: line {}: a list of maps was expected", list.line), Code::kBadValue);
    examples_.clear();
    for (const YamlTree& sample : list.list) {
      if (sample.kind != YamlTree::Kind::kMap) refuse(fmt::format("fewshot_config.samples: line {}: a map was expected", sample.line), Code::kBadValue);
      examples_.push_back(sample.to_json());
    }
  }

  void generation() {
    std::vector<std::string> stops;
    int tokens = 256;
    bool sample = false;
    double temperature = 0, top_p = 1;
    if (const YamlTree* options = find("generation_kwargs")) {
      if (options->kind != YamlTree::Kind::kMap) refuse("generation_kwargs: a map was expected", Code::kBadValue);
      for (const YamlEntry& entry : options->map) {
        no_function("generation_kwargs." + entry.key, entry.value);
        const Json& value = entry.value.scalar;
        const auto number = [&] {
          if (!value.is_number()) refuse(fmt::format("generation_kwargs.{}: a number was expected", entry.key), Code::kBadValue);
          if (!(value.get<double>() >= 0 && value.get<double>() <= 1e6)) refuse(fmt::format("generation_kwargs.{}: {} is out of range", entry.key, value.dump()), Code::kBadValue);
          return value.get<double>();
        };
        if (entry.key == "until" && entry.value.kind == YamlTree::Kind::kList) {
          for (const YamlTree& one : entry.value.list) stops.push_back(one.scalar.is_string() ? one.scalar.get<std::string>() : one.scalar.dump());
        } else if (entry.key == "until" && value.is_string()) {
          stops.push_back(value.get<std::string>());
        } else if (entry.key == "max_gen_toks" || entry.key == "max_tokens" || entry.key == "max_new_tokens") {
          tokens = static_cast<int>(number());
        } else if (entry.key == "do_sample" && value.is_boolean()) {
          sample = value.get<bool>();
        } else if (entry.key == "temperature") {
          temperature = number();
        } else if (entry.key == "top_p") {
          top_p = number();
        } else {
          refuse(fmt::format("generation_kwargs.{}: line {}: this is not supported", entry.key, entry.line));
        }
      }
    }
    std::erase_if(stops, [](const std::string& stop) { return stop.empty(); });
    std::transform(stops.begin(), stops.end(), stops.begin(), yaml_text);
    if (!stops.empty()) line("stop", fmt::format("[{}]", fmt::join(stops, ", ")));
    line("tokens_max", std::to_string(tokens));
    const std::string repeats = text("repeats", "1");
    if (!sample && repeats != "1") refuse("repeats: several greedy answers are all the same");
    if (sample) line("sampling", fmt::format("{{count: {}, temperature: {}, top_p: {}}}", repeats, temperature, top_p));
  }

  void metrics(bool choice, bool generate, bool word) {
    std::string options;
    bool trim_answer = false, any_filter = false;
    if (choice || generate || word) aggregate("accuracy", "mean");
    if (generate) {
      if (const YamlTree* filters = find("filter_list")) {
        std::vector<std::string> also;
        for (const YamlTree& filter : filters->list) {
          const std::string extract = read_filter(filter, trim_answer, any_filter);
          if (&filter == &filters->list.front()) options += extract.empty() ? "" : ", extract: {" + extract + "}";
          else if (extract.empty()) refuse("filter_list: a further filter without a regex is not supported");
          else also.push_back(fmt::format("{{name: {}, {}}}", yaml_text(word_of(entry_text(filter, "name"))), extract));
          if (&filter != &filters->list.front()) aggregate("accuracy_" + word_of(entry_text(filter, "name")), "mean");
        }
        if (!also.empty()) options += fmt::format(", also: [{}]", fmt::join(also, ", "));
      }
    }
    const YamlTree* metrics = find("metric_list");
    if (!metrics || metrics->kind != YamlTree::Kind::kList || metrics->list.empty()) refuse("metric_list: is missing: the harness' default metrics are not taken over by name");
    for (const YamlTree& metric : metrics->list) {
      if (metric.kind != YamlTree::Kind::kMap) refuse("metric_list: a list of maps was expected", Code::kBadValue);
      const std::string name = entry_text(metric, "metric");
      const bool known = choice ? name == "acc" || name == "acc_norm" : generate ? name == "exact_match" : word ? name == "acc" || name == "perplexity" :
                         name == "word_perplexity" || name == "byte_perplexity" || name == "bits_per_byte";
      if (!known) refuse(fmt::format("metric_list: '{}' is not supported for this output_type", name));
      const std::string number = name == "acc" || name == "exact_match" ? "accuracy" : name == "acc_norm" ? "accuracy_norm" : name;
      const auto fitting = functions_of(number);
      std::string function(fitting.front());
      for (const YamlEntry& entry : metric.map) {
        no_function("metric_list." + name + "." + entry.key, entry.value);
        const Json& value = entry.value.scalar;
        if (entry.key == "metric" || entry.key == "higher_is_better") continue;
        if (entry.key == "aggregation") {
          function = value.is_string() ? value.get<std::string>() : value.dump();
          if (std::find(fitting.begin(), fitting.end(), function) == fitting.end()) refuse(fmt::format("metric_list: aggregation '{}' of '{}' is not supported", function, name));
        } else if (generate && (entry.key == "ignore_case" || entry.key == "ignore_punctuation") && value.is_boolean()) {
          options += fmt::format(", {}: {}", entry.key, value.get<bool>());
        } else if (generate && entry.key == "ignore_numbers" && value.is_boolean()) {
          options += fmt::format(", ignore_digits: {}", value.get<bool>());
        } else if (generate && entry.key == "regexes_to_ignore" && entry.value.kind == YamlTree::Kind::kList) {
          std::vector<std::string> patterns;
          for (const YamlTree& one : entry.value.list) {
            if (!one.scalar.is_string()) refuse("metric_list: regexes_to_ignore must be texts", Code::kBadValue);
            patterns.push_back(yaml_text(one.scalar.get<std::string>()));
          }
          options += fmt::format(", ignore_regexes: [{}]", fmt::join(patterns, ", "));
        } else {
          refuse(fmt::format("metric_list: option {} of '{}' is not supported", entry.key, name));
        }
      }
      aggregate(number, function);
    }
    if (choice) scorer_ = "multiple_choice";
    else if (word) scorer_ = "last_word";
    else if (generate) scorer_ = fmt::format("{{name: exact_match, trim: false{}{}{}}}", trim_answer ? ", trim_answer: true" : "", targets_ ? ", targets: harness_targets" : "", options);
    else scorer_ = fmt::format("{{name: perplexity, original: {}}}", yaml_text(as_template("doc_to_target")));
  }

  void aggregate(const std::string& number, const std::string& function) {
    const std::string one = fmt::format("{}: {}", number, function);
    if (std::find(aggregation_.begin(), aggregation_.end(), one) == aggregation_.end()) aggregation_.push_back(one);
  }

  // One filter's steps: at most one regex; remove_whitespace before it, the same for all filters.
  std::string read_filter(const YamlTree& filter, bool& trim_answer, bool& any_filter) {
    if (filter.kind != YamlTree::Kind::kMap) refuse("filter_list: a list of maps was expected", Code::kBadValue);
    std::string extract;
    bool trims = false;
    for (const YamlEntry& entry : filter.map) {
      if (entry.key == "name") continue;
      if (entry.key != "filter" || entry.value.kind != YamlTree::Kind::kList) refuse(fmt::format("filter_list.{}: line {}: this is not supported", entry.key, entry.line));
      for (const YamlTree& step : entry.value.list) {
        const std::string function = entry_text(step, "function");
        if (function == "take_first") continue;
        if (function == "remove_whitespace") {
          trims = trims || extract.empty();
          continue;
        }
        if (function != "regex") refuse(fmt::format("filter_list: filter '{}' is not supported", function));
        if (!extract.empty()) refuse("filter_list: two regexes one behind the other are not supported");
        std::string match = "first", fallback = "[invalid]";
        for (const YamlEntry& option : step.map) {
          if (option.key == "function" || option.key == "regex_pattern") continue;
          if (option.key == "group_select" && (option.value.scalar == 0 || option.value.scalar == -1)) match = option.value.scalar == 0 ? "first" : "last";
          else if (option.key == "fallback" && option.value.scalar.is_string()) fallback = option.value.scalar.get<std::string>();
          else refuse(fmt::format("filter_list: option {} of regex is not supported", option.key));
        }
        extract = fmt::format("regex: {}, match: {}, fallback: {}", yaml_text(entry_text(step, "regex_pattern")), match, yaml_text(fallback));
      }
    }
    if (any_filter && trims != trim_answer) refuse("filter_list: remove_whitespace in one filter but not in another is not supported");
    any_filter = true;
    trim_answer = trims;
    return extract;
  }

  std::string entry_text(const YamlTree& map, std::string_view key) {
    if (map.kind == YamlTree::Kind::kMap)
      for (const YamlEntry& entry : map.map)
        if (entry.key == key) {
          no_function(key, entry.value);
          if (entry.value.scalar.is_string()) return entry.value.scalar.get<std::string>();
        }
    refuse(fmt::format("line {}: '{}' must be a text", map.line, key), Code::kBadValue);
  }
  static std::string word_of(const std::string& name) {
    std::string word;
    for (char c : name) word += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    return word;
  }

  // What the harness asks: its test split, else the validation split.
  std::string split() {
    const std::string named = split_named_by(has("test_split") ? text("test_split") : text("validation_split", ""));
    return named.empty() ? "all" : named;
  }

  // ---- writing ----------------------------------------------------------------------------------------------------------
  void line(std::string_view key, const std::string& value) {
    text_ += fmt::format("{}: {}\n", key, value);
    task_.task_yaml = text_;
  }
  void add_field(std::string name, std::string expression, std::string key) { fields_.push_back({std::move(name), std::move(expression), std::move(key)}); }
  void items(const std::vector<Json>& records, std::string& jsonl, std::string_view prefix) {
    for (std::size_t i = 0; i < records.size(); ++i) {
      Json item = records[i];
      for (const Field& field : fields_) {
        Json value = computed(field.expression, records[i], field.key);
        if (!value.is_array()) refuse(fmt::format("{}: record {} gives no list", field.key, i + 1), Code::kBadValue);
        item[field.name] = std::move(value);
      }
      item["id"] = fmt::format("{}-{}", prefix, i);
      jsonl += item.dump() + "\n";
    }
  }

  struct Field {
    std::string name, expression, key;
  };
  const YamlTree& tree_;
  std::string place_;
  std::vector<Json> records_, examples_;
  std::string area_, text_, scorer_;
  std::set<std::string> read_;
  std::vector<Field> fields_;
  std::vector<std::string> aggregation_;  // "number: function"
  bool targets_ = false;
  HarnessTask task_;
};

// `include` names a file beside it, whose fields stand where this one has none.
YamlTree with_includes(const fs::path& file, int depth) {
  if (depth > 8) refuse(fmt::format("{}: include goes deeper than 8 files", file.string()));
  auto tree = parse_yaml(read_all(file), file.string(), true);
  if (!tree) throw Refused{tree.error()};
  if (tree->kind != YamlTree::Kind::kMap) refuse(fmt::format("{}: a map was expected", file.string()), Code::kBadValue);
  std::optional<fs::path> included;
  for (const YamlEntry& entry : tree->map)
    if (entry.key == "include") {
      if (!entry.value.scalar.is_string() || entry.value.scalar.get<std::string>().find("..") != std::string::npos) refuse("include: one file beside this one was expected");
      included = file.parent_path() / entry.value.scalar.get<std::string>();
    }
  std::erase_if(tree->map, [](const YamlEntry& entry) { return entry.key == "include"; });
  if (!included) return std::move(*tree);
  YamlTree base = with_includes(*included, depth + 1);
  for (YamlEntry& own : tree->map) {
    std::erase_if(base.map, [&](const YamlEntry& entry) { return entry.key == own.key; });
    base.map.push_back(std::move(own));
  }
  return base;
}

std::vector<Json> records_of(std::string_view bytes, const fs::path& name) {
  ImportSource source;
  const std::string file = name.string();
  source.format = file.ends_with(".csv") || file.ends_with(".csv.gz") ? ImportSource::Format::kCsv : file.ends_with(".json") ? ImportSource::Format::kJson : ImportSource::Format::kJsonl;
  auto records = read_records(bytes, source, file);
  if (!records) throw Refused{records.error()};
  std::vector<Json> all;
  for (ImportRecord& record : *records) all.push_back(std::move(record.fields));
  return all;
}

}  // namespace

Result<HarnessTask> read_harness_task(const fs::path& yaml, const fs::path& data, const fs::path& fewshot, std::string_view area) {
  try {
    const YamlTree tree = with_includes(yaml, 0);
    std::vector<Json> examples;
    if (!fewshot.empty()) examples = records_of(read_all(fewshot), fewshot);
    return Translation(tree, yaml.string(), records_of(read_all(data), data), std::move(examples), std::string(area)).run();
  } catch (const Refused& refused) {
    return at(yaml.string(), refused.error);
  }
}

Result<HarnessTask> translate_harness_task(std::string_view yaml, std::string_view place, std::string_view records, std::string_view examples, std::string_view area) {
  try {
    auto tree = parse_yaml(yaml, place, true);
    if (!tree) return tree.error();
    if (tree->kind != YamlTree::Kind::kMap) return Error{Code::kBadValue, fmt::format("{}: a map was expected", place)};
    return Translation(*tree, std::string(place), records_of(records, "data.jsonl"), records_of(examples, "examples.jsonl"), std::string(area)).run();
  } catch (const Refused& refused) {
    return at(place, refused.error);
  }
}

}  // namespace quantfleet
