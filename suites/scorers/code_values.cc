#include "suites/scorers/code_values.h"

#include "suites/scorers/code_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace quantfleet {
namespace {

using ValueTests = std::vector<std::pair<std::string, std::string>>;

// Where "==" stands outside of brackets and quotes; npos unless it does so exactly once.
std::size_t only_equality(std::string_view line) {
  std::size_t found = std::string_view::npos;
  int depth = 0;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote) {
      if (c == '\\') ++i;
      else if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '(' || c == '[' || c == '{') {
      ++depth;
    } else if (c == ')' || c == ']' || c == '}') {
      --depth;
    } else if (depth == 0 && line.substr(i, 2) == "==") {
      if (found != std::string_view::npos) return std::string_view::npos;
      found = i++;
    }
  }
  return found;
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

bool is_integer(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && (text.size() == 1 || text[0] != '0') && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// Runs in a process of its own; its input is only ever read as literals.
constexpr const char* kComparison =
    "import ast, json, sys\n"
    "pairs = json.load(sys.stdin)\n"
    "print('equal' if all(ast.literal_eval(said) == ast.literal_eval(right) for said, right in pairs) else 'different')\n";

class CodeValues : public Scorer {
 public:
  CodeValues(Template program, Template tests, std::string secret)
      : program_(std::move(program)), tests_(std::move(tests)), mark_("\nvalue of " + secret + " ") {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner* code_runner, ItemResult& row) const override {
    const auto* answer = text_of(response, row);
    if (!answer) return;
    if (!code_runner) {
      row.error = Error{Code::kSandboxUnavailable, "no sandbox was given, and code never runs outside of one"};
      return;
    }
    const auto passed = passes(item, answer->text, *code_runner);
    if (passed) row.scores["accuracy"] = *passed;
    else row.error = passed.error();
  }

  void tally(const ScoredItem&, ChanceTally&) const override {}

  std::vector<std::string> numbers() const override { return {"accuracy"}; }

  Status check(const ScoredItem& item) const override {
    nlohmann::json variables = variables_of(item, "");
    if (const auto program = program_.render(variables); !program) return program.error();
    if (const auto tests = tests_of(item, variables); !tests) return tests.error();
    return {};
  }

 private:
  static nlohmann::json variables_of(const ScoredItem& item, const std::string& generation) {
    nlohmann::json variables = item.item.fields;
    variables["prompt"] = item.asked.question;
    variables["generation"] = generation;
    return variables;
  }

  Result<ValueTests> tests_of(const ScoredItem& item, const nlohmann::json& variables) const {
    const auto text = tests_.render(variables);
    if (!text) return text.error();
    auto tests = value_tests(*text);
    if (!tests) return at("item " + item.item.id, tests.error());
    return tests;
  }

  Result<bool> passes(const ScoredItem& item, const std::string& generation, const CodeRunner& code_runner) const {
    nlohmann::json variables = variables_of(item, generation);
    const auto program = program_.render(variables);
    if (!program) return program.error();
    const auto tests = tests_of(item, variables);
    if (!tests) return tests.error();

    nlohmann::json expressions = nlohmann::json::array();  // a list of JSON strings is one of Python
    for (const auto& [expression, right] : *tests) expressions.push_back(expression);
    const auto run = code_runner.run_python(
        fmt::format("{}\nfor expression in {}:\n    __import__('os').write(1, ({} + repr(eval(expression)) + '\\n').encode())\n", *program,
                    expressions.dump(), nlohmann::json(mark_).dump()), "");
    if (!run) return run.error();
    if (run->exit_code != 0 || !run->ended_by.empty()) return false;

    nlohmann::json doubtful = nlohmann::json::array();
    std::size_t from = 0;
    for (const auto& [expression, right] : *tests) {
      const std::size_t marked = run->stdout_text.find(mark_, from);
      if (marked == std::string::npos) return false;
      const std::size_t begin = marked + mark_.size(), end = run->stdout_text.find('\n', begin);
      if (end == std::string::npos) return false;
      const std::string said = run->stdout_text.substr(begin, end - begin);
      from = end;
      if (said == right) continue;
      if (is_integer(said) && is_integer(right)) return false;
      doubtful.push_back({said, right});
    }
    if (run->stdout_text.find(mark_, from) != std::string::npos) return false;  // more values than asked for: the program says some itself
    if (doubtful.empty()) return true;
    const auto compared = code_runner.run_python(kComparison, doubtful.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    if (!compared) return compared.error();
    return compared->exit_code == 0 && compared->stdout_text == "equal\n";
  }

  Template program_, tests_;
  std::string mark_;
};

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> value_tests(std::string_view tests) {
  ValueTests found;
  constexpr std::string_view kAssert = "assert ";
  for (std::size_t begin = 0; begin < tests.size();) {
    const std::size_t end = std::min(tests.find('\n', begin), tests.size());
    const std::string line = trimmed(tests.substr(begin, end - begin));
    begin = end + 1;
    if (line.empty()) continue;
    const std::size_t equality = line.starts_with(kAssert) ? only_equality(line) : std::string::npos;
    if (equality == std::string::npos)
      return Error{Code::kBadValue, fmt::format("the test \"{}\" is not of the form \"assert EXPRESSION == LITERAL\"", line)};
    found.emplace_back(trimmed(std::string_view(line).substr(kAssert.size(), equality - kAssert.size())),
                       trimmed(std::string_view(line).substr(equality + 2)));
  }
  if (found.empty()) return Error{Code::kBadValue, "there is no test"};
  return found;
}

Result<std::unique_ptr<Scorer>> make_code_values(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "code_values.");
  const std::string program = options.text("program", "{{ prompt }}{{ generation }}");
  const std::string tests = options.text("tests", "{{ tests }}");
  if (const Status status = options.finish(); !status) return status.error();
  auto program_template = Template::parse(program, fmt::format("{}, code_values.program", task.place));
  if (!program_template) return program_template.error();
  auto tests_template = Template::parse(tests, fmt::format("{}, code_values.tests", task.place));
  if (!tests_template) return tests_template.error();
  return std::unique_ptr<Scorer>(std::make_unique<CodeValues>(std::move(*program_template), std::move(*tests_template), task.sha256));
}

}  // namespace quantfleet
