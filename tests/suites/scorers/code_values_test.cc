// What the candidate is told, and what may be said back. The programs themselves run in tests/agent/hostile_programs_test.cc.
#include "suites/scorers/code_values.h"
#include "suites/scorers/code_runner.h"

#include <catch2/catch.hpp>

#include <functional>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

// Answers from `say(program)` instead of running anything.
struct ScriptedRunner : CodeRunner {
  explicit ScriptedRunner(std::function<CodeRun(const std::string&)> answer) : say(std::move(answer)) {}
  Result<CodeRun> run_python(const std::string& program, const std::string& input) const override {
    programs.push_back(program), inputs.push_back(input);
    return say(program);
  }
  std::function<CodeRun(const std::string&)> say;
  mutable std::vector<std::string> programs, inputs;
};

CodeRun saying(std::string text) {
  CodeRun run;
  run.stdout_text = std::move(text);
  return run;
}

double accuracy(const ScriptedRunner& runner) {
  const Task task = parse_task_yaml("name: square\nversion: \"1\"\narea: coding\nkind: code\ndescription: squares\nsource: here\nlicence: Apache-2.0\n"
                                    "prompt: \"# square\\n\"\ntokens_max: 100\nscorers: [code_values]\n", "task.yaml").value();
  TaskItem item;
  item.id = "square-1";
  item.fields = {{"id", item.id}, {"tests", "assert f(31) == 961\nassert f(43) == 1849"}};
  AskedItem asked;
  asked.question = "# square\n";
  Response response;
  response.answer = GenerateAnswer{"def f(x): return x * x\n", {}, GenerateAnswer::Stop::kEndOfText};
  ItemResult row;
  make_scorers(task).value().front()->score({item, asked}, response, &runner, row);
  REQUIRE_FALSE(row.error.has_value());
  return row.scores.at("accuracy");
}

// The mark before each value, as the program that the candidate shares a process with would write it.
std::string mark_in(const std::string& program) {
  const std::size_t begin = program.find("value of ");
  return "\n" + program.substr(begin, program.find('"', begin) - begin);
}

TEST_CASE("the candidate's process hears the questions, never the answers", "[suites][scorer]") {
  const ScriptedRunner runner([](const std::string& program) { return saying(mark_in(program) + "961\n" + mark_in(program) + "1849\n"); });
  CHECK(accuracy(runner) == 1);
  REQUIRE(runner.programs.size() == 1);  // equal text needs no comparison
  CHECK(runner.programs[0].find("f(31)") != std::string::npos);
  CHECK(runner.programs[0].find("961") == std::string::npos);
  CHECK(runner.programs[0].find("1849") == std::string::npos);
  CHECK(runner.inputs[0].empty());
}

TEST_CASE("every value must be said, once, in order, by a program that ends well", "[suites][scorer]") {
  const auto says = [](auto text) { return accuracy(ScriptedRunner([text](const std::string& program) { return saying(text(mark_in(program))); })); };
  CHECK(says([](const std::string& mark) { return "words of its own" + mark + "961\nmore" + mark + "1849\n"; }) == 1);
  CHECK(says([](const std::string& mark) { return mark + "1849\n" + mark + "961\n"; }) == 0);
  CHECK(says([](const std::string& mark) { return mark + "961\n"; }) == 0);
  CHECK(says([](const std::string& mark) { return mark + "961\n" + mark + "1849"; }) == 0);  // cut off
  CHECK(says([](const std::string& mark) { return mark + "961\n" + mark + "1849\n" + mark + "1849\n"; }) == 0);
  CHECK(says([](const std::string&) { return std::string("961\n1849\n"); }) == 0);
  for (const bool by_code : {true, false})
    CHECK(accuracy(ScriptedRunner([by_code](const std::string& program) {
            CodeRun run = saying(mark_in(program) + "961\n" + mark_in(program) + "1849\n");
            if (by_code) run.exit_code = 1;
            else run.ended_by = "memory";
            return run;
          })) == 0);
}

TEST_CASE("text that differs is compared as literals in a process of its own", "[suites][scorer]") {
  const auto compared = [](const std::string& verdict) {
    const ScriptedRunner runner([&verdict](const std::string& program) {
      return program.find("literal_eval") == std::string::npos ? saying(mark_in(program) + "961.0\n" + mark_in(program) + "1849\n") : saying(verdict);
    });
    const double mark = accuracy(runner);
    REQUIRE(runner.programs.size() == 2);
    CHECK(runner.programs[1].find("def f") == std::string::npos);
    CHECK(runner.inputs[1] == R"([["961.0","961"]])");
    return mark;
  };
  CHECK(compared("equal\n") == 1);
  CHECK(compared("different\n") == 0);
  CHECK(compared("") == 0);
}

TEST_CASE("tests are lines of expressions and literals", "[suites][scorer]") {
  const auto tests = value_tests("assert f('a == b') == [1, (2 == 2)]\n\n  assert g(\"\\\"\") == {'k': 1}\r\n").value();
  REQUIRE(tests.size() == 2);
  CHECK(tests[0] == std::pair<std::string, std::string>("f('a == b')", "[1, (2 == 2)]"));
  CHECK(tests[1] == std::pair<std::string, std::string>("g(\"\\\"\")", "{'k': 1}"));
  for (const char* bad : {"", "f(1) == 2", "assert f(1)", "assert f(1) == 2 == 2", "assert (f(1) == 2)", "x = 1\nassert f(x) == 2"}) {
    CAPTURE(bad);
    CHECK(value_tests(bad).error().code == Code::kBadValue);
  }
}

}  // namespace
}  // namespace quantfleet
