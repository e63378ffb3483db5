#include "suites/scorers/code_tests.h"

#include "suites/scorers/code_runner.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

class CodeTests : public Scorer {
 public:
  CodeTests(Template program, Template tests, std::string secret)
      : program_(std::move(program)), tests_(std::move(tests)), secret_(std::move(secret)) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner* code_runner, ItemResult& row) const override {
    const auto* answer = std::get_if<GenerateAnswer>(&response.answer);
    if (!answer) {
      row.error = wrong_answer_kind("generated-text");
      return;
    }
    row.output = answer->text;
    if (!code_runner) {
      row.error = Error{Code::kSandboxUnavailable, "no sandbox was given, and code never runs outside of one"};
      return;
    }
    const std::string reached = fmt::format("reached the end of {} {}", item.item.id, secret_);
    const auto program = assembled(item, answer->text, reached);
    if (!program) {
      row.error = program.error();
      return;
    }
    const auto run = code_runner->run_python(*program, "");
    if (!run) {
      row.error = run.error();
      return;
    }
    const bool passed = run->exit_code == 0 && !run->timed_out && run->stdout_text.find(reached) != std::string::npos;
    row.scores["accuracy"] = passed;
  }

  void tally(const ScoredItem&, ChanceTally&) const override {}

  std::vector<std::string> numbers() const override { return {"accuracy"}; }

  Status check(const ScoredItem& item) const override {
    const auto program = assembled(item, "", "");
    if (!program) return program.error();
    return {};
  }

 private:
  Result<std::string> assembled(const ScoredItem& item, const std::string& generation, const std::string& reached) const {
    nlohmann::json variables = item.item.fields;
    variables["prompt"] = item.asked.question;
    variables["generation"] = generation;
    auto program = program_.render(variables);
    if (!program) return program.error();
    auto tests = tests_.render(variables);
    if (!tests) return tests.error();
    return fmt::format("{}\n{}\n__import__('os').write(1, b'\\n{}\\n')\n", *program, *tests, reached);
  }

  Template program_, tests_;
  std::string secret_;
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_code_tests(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "code_tests.");
  const std::string program = options.text("program", "{{ prompt }}{{ generation }}");
  const std::string tests = options.text("tests", "{{ tests }}");
  if (const Status status = options.finish(); !status) return status.error();
  auto program_template = Template::parse(program, fmt::format("{}, code_tests.program", task.place));
  if (!program_template) return program_template.error();
  auto tests_template = Template::parse(tests, fmt::format("{}, code_tests.tests", task.place));
  if (!tests_template) return tests_template.error();
  return std::unique_ptr<Scorer>(std::make_unique<CodeTests>(std::move(*program_template), std::move(*tests_template), task.sha256));
}

}  // namespace quantfleet
