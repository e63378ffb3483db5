// A task of lm-evaluation-harness becomes one of ours that asks the same, or is refused with the field's name.
#include "suites/harness_task.h"
#include "suites/suite.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

constexpr const char* kRecords = "{\"q\":\"Is it?\",\"opts\":{\"text\":[\"yes\",\"no\"]},\"gold\":1,\"ans\":[\"x\",\"y\"],\"text\":\"a b c\"}\n";

std::string refusal(const std::string& yaml) {
  const auto task = translate_harness_task(yaml, "t.yaml", kRecords, "", "knowledge");
  return task ? "" : task.error().detail;
}

std::shared_ptr<const Suite> suite_of(const HarnessTask& task) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("quantfleet-harness-{}", ::getpid());
  fs::remove_all(folder);
  fs::create_directories(folder / task.name);
  std::ofstream(folder / task.name / "task.yaml") << task.task_yaml;
  std::ofstream(folder / task.name / "items.jsonl") << task.items_jsonl;
  if (!task.fewshot_jsonl.empty()) std::ofstream(folder / task.name / "fewshot.jsonl") << task.fewshot_jsonl;
  const auto suite = load_suite(folder / task.name);
  fs::remove_all(folder);
  if (!suite) FAIL(suite.error().detail);
  return *suite;
}

constexpr const char* kChoice = R"(task: My-Task
dataset_path: some/data
tag: [a, b]
output_type: multiple_choice
test_split: test
description: "About things.\n\n"
doc_to_text: "Q: {{q}}\nA:"
doc_to_choice: "{{opts.text}}"
doc_to_target: gold
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
)";

TEST_CASE("multiple choice: a template, a list from an expression, a field as the right index", "[harness]") {
  const auto task = translate_harness_task(kChoice, "t.yaml", kRecords, "", "knowledge");
  if (!task) FAIL(task.error().detail);
  CHECK(task->name == "my-task");
  CHECK(task->no_effect == std::vector<std::string>{"tag", "metadata"});
  CHECK_THAT(task->task_yaml, Contains("\nsplit: test\n") && Contains("\naggregation: {accuracy: mean, accuracy_norm: mean}\n"));
  const auto suite = suite_of(*task);
  CHECK(suite->info().aggregation == std::vector<Aggregation>{{"accuracy", "mean"}, {"accuracy_norm", "mean"}});
  const Request request = suite->request(0, "").value();
  CHECK(std::get<Loglikelihood>(request).context == "About things.\n\nQ: Is it?\nA:");
  CHECK(std::get<Loglikelihood>(request).continuations == std::vector<std::string>{" yes", " no"});
  Response response;
  response.answer = LoglikelihoodAnswer{{{-2, false, 1}, {-1, false, 1}}};
  CHECK(suite->score(0, response, nullptr).scores.at("accuracy") == 1);
}

TEST_CASE("generation: stops, filters, several targets, examples from a file", "[harness]") {
  const auto task = translate_harness_task(R"yaml(task: gen
output_type: generate_until
doc_to_text: q
doc_to_target: "{{ans}}"
num_fewshot: 1
fewshot_config: {sampler: first_n}
fewshot_delimiter: "\n"
generation_kwargs: {until: ["\n"], max_gen_toks: 32, do_sample: false, temperature: 0.0}
filter_list:
  - name: strict-match
    filter:
      - {function: regex, regex_pattern: "is ([a-z]+)"}
      - function: take_first
  - name: flexible-extract
    filter:
      - {function: regex, regex_pattern: "[a-z]", group_select: -1}
      - function: take_first
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, regexes_to_ignore: [","]}
)yaml", "t.yaml", kRecords, kRecords, "knowledge");
  if (!task) FAIL(task.error().detail);
  const auto suite = suite_of(*task);
  CHECK(suite->info().aggregation == std::vector<Aggregation>{{"accuracy", "mean"}, {"accuracy_flexible_extract", "mean"}});
  const Request made = suite->request(0, "").value();
  const auto& request = std::get<Generate>(made);
  CHECK(request.prompt == "Is it? x\nIs it?");
  CHECK(request.stop == std::vector<std::string>{"\n"});
  CHECK(request.tokens_max == 32);
  Response response;
  response.answer = GenerateAnswer{"it is Y", {}, GenerateAnswer::Stop::kStopString};
  const auto scores = suite->score(0, response, nullptr).scores;
  CHECK(scores.at("no_answer") == 1);  // the pattern wants lower case
  CHECK(scores.at("accuracy") == 0);
  CHECK(scores.at("accuracy_flexible_extract") == 0);
  response.answer = GenerateAnswer{"it is y", {}, GenerateAnswer::Stop::kTokensMax};
  CHECK(suite->score(0, response, nullptr).scores.at("accuracy") == 1);
  CHECK(suite->score(0, response, nullptr).scores.at("truncated") == 1);
}

TEST_CASE("generation: examples that the YAML brings itself", "[harness]") {
  const std::string yaml = "task: g\ndoc_to_text: \"Q: {{q}}\\nA:\"\ndoc_to_target: \"{{ans[0] if ans is defined else target}}\"\nnum_fewshot: 2\nfewshot_config:\n  sampler: first_n\n"
                           "  samples:\n  - {q: One, target: a}\n  - q: Two\n    target: 'True'\n  - {q: Three, target: c}\nmetric_list: [{metric: exact_match}]\n";
  const auto task = translate_harness_task(yaml, "t.yaml", kRecords, "", "knowledge");
  if (!task) FAIL(task.error().detail);
  const Request made = suite_of(*task)->request(0, "").value();
  CHECK(std::get<Generate>(made).prompt == "Q: One\nA: a\n\nQ: Two\nA: True\n\nQ: Is it?\nA:");
  std::string function = yaml;
  function.replace(function.find("  samples:"), std::string::npos, "  samples: !function utils.shots\nmetric_list: [{metric: exact_match}]\n");
  CHECK_THAT(refusal(function), Contains("fewshot_config.samples") && Contains("utils.shots is Python code"));
}

TEST_CASE("a last word and a rolling text", "[harness]") {
  const auto word = translate_harness_task("task: w\noutput_type: loglikelihood\ndoc_to_text: \"{{text.split(' ')[:-1]|join(' ')}}\"\ndoc_to_target: \"{{' '+text.split(' ')[-1]}}\"\n"
                                           "metric_list: [{metric: perplexity, aggregation: perplexity}, {metric: acc}]\n", "t.yaml", kRecords, "", "language");
  if (!word) FAIL(word.error().detail);
  const Request asked = suite_of(*word)->request(0, "").value();
  CHECK(std::get<Loglikelihood>(asked).context == "a b");
  CHECK(std::get<Loglikelihood>(asked).continuations == std::vector<std::string>{" c"});
  CHECK(suite_of(*word)->info().aggregation == std::vector<Aggregation>{{"accuracy", "mean"}, {"perplexity", "perplexity"}});
  const auto rolling = translate_harness_task("task: r\noutput_type: loglikelihood_rolling\ndoc_to_text: \"\"\ndoc_to_target: \"{{text}}\"\nmetric_list: [{metric: word_perplexity}]\n", "t.yaml",
                                              kRecords, "", "text");
  if (!rolling) FAIL(rolling.error().detail);
  CHECK(std::get<RollingLoglikelihood>(suite_of(*rolling)->request(0, "").value()).text == "a b c");
  CHECK(suite_of(*rolling)->info().aggregation == std::vector<Aggregation>{{"word_perplexity", "weighted_perplexity"}});
}

TEST_CASE("what cannot be honoured is refused by name", "[harness]") {
  const std::string choice = kChoice;
  CHECK_THAT(refusal(choice + "process_docs: !function utils.process\n"), Contains("process_docs") && Contains("line 16"));
  CHECK_THAT(refusal("task: x\noutput_type: multiple_choice\ndoc_to_text: !function utils.text\n"), Contains("doc_to_text") && Contains("utils.text is Python code"));
  CHECK_THAT(refusal(choice + "doc_to_image: picture\n"), Contains("doc_to_image"));
  CHECK_THAT(refusal("task: x\ndoc_to_text: \"{{made_by_process_docs}}\"\nprocess_docs: !function utils.p\n"), Contains("process_docs: line 3"));
  CHECK_THAT(refusal(choice + "num_fewshot: 5\n"), Contains("num_fewshot") && Contains("first_n"));
  CHECK_THAT(refusal(choice + "generation_kwargs: {until: []}\n"), Contains("generation_kwargs"));
  std::string other = choice;
  other.replace(other.find("metric: acc\n"), 11, "metric: f1");
  CHECK_THAT(refusal(other), Contains("metric_list: 'f1'"));
  other = choice;
  other.replace(other.find("aggregation: mean"), 17, "aggregation: median");
  CHECK_THAT(refusal(other), Contains("aggregation 'median' of 'acc' is not supported"));
  const std::string generate = "task: g\ndoc_to_text: q\ndoc_to_target: q\nmetric_list: [{metric: exact_match}]\n";
  CHECK(refusal(generate).empty());
  CHECK_THAT(refusal(generate + "generation_kwargs: {num_beams: 4}\n"), Contains("generation_kwargs.num_beams"));
  CHECK_THAT(refusal(generate + "filter_list: [{name: a, filter: [{function: majority_vote}]}]\n"), Contains("filter 'majority_vote'"));
  CHECK_THAT(refusal("task: g\ndoc_to_text: q\ndoc_to_target: q\nmetric_list: [{metric: !function utils.m}]\n"), Contains("utils.m is Python code"));
}

}  // namespace
}  // namespace quantfleet
