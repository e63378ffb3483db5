// The commands that measure accuracy and judge it, as programs with the reference model: JSON against its schema, exit codes.
#include "tests/cli/command.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

using test::check_schema, test::CommandFolder, test::Outcome;

const std::string kModel = (test::source_dir() / "models/reference/reference.gguf").string();

}  // namespace

TEST_CASE("evaluate prints what its schema says, a row per item", "[cli]") {
  const CommandFolder folder;
  const Outcome outcome = folder.run("evaluate " + kModel + " --suite knowledge math text --limit 5 --json");
  INFO(outcome.error);
  REQUIRE(outcome.code == 0);
  check_schema("evaluate", nlohmann::json::parse(outcome.out));
}

TEST_CASE("suites import takes the split that the task asks for, suites show says it and the numbers", "[cli]") {
  const CommandFolder folder;
  fs::create_directories(folder.path / "suites/quiz");
  std::ofstream(folder.path / "suites/quiz/task.yaml") << R"(name: quiz
version: "1"
area: knowledge
kind: loglikelihood
description: d
source: s
split: test
licence: MIT
items: imported.jsonl
import:
  items: {files: [test.jsonl]}
  count: 1
prompt: "{{ q }}"
choices: ["a", "b"]
target: "{{ right }}"
scorers: [multiple_choice]
aggregation: {accuracy: mean, accuracy_norm: median}
)";
  for (const char* name : {"train.jsonl", "test.jsonl"}) std::ofstream(folder.path / name) << R"({"q": "Q?", "right": "b"})" << "\n";
  const std::string import = "suites import quiz --root suites --from ";
  Outcome outcome = folder.run(import + "train.jsonl");
  CHECK(outcome.code == 2);
  CHECK(outcome.error == "quantfleet: train.jsonl: its name says split train, quiz asks items of split test; --accept imports them all the same\n");
  CHECK_FALSE(fs::exists(folder.path / "suites/quiz/imported.jsonl"));
  CHECK(folder.run(import + "train.jsonl --accept").code == 0);
  outcome = folder.run(import + ". --json");
  INFO(outcome.error);
  REQUIRE(outcome.code == 0);
  const auto imported = nlohmann::json::parse(outcome.out);
  check_schema("suites_import", imported);
  CHECK(imported["split"] == "test");
  const auto shown = nlohmann::json::parse(folder.run("suites show quiz --root suites --json").out);
  check_schema("suites_show", shown);
  CHECK(shown["split"] == "test");
  for (const std::string command : {"list", "verify"}) {
    const auto suites = nlohmann::json::parse(folder.run("suites " + command + " --root suites --json").out);
    check_schema("suites_" + command, suites);
    CHECK_FALSE(suites.empty());
  }
  CHECK(shown["aggregation"] == nlohmann::json{{"accuracy", "mean"}, {"accuracy_norm", "median"}});
}

TEST_CASE("gate passes a run against itself, is undecided about one too small, and fails one that is worse", "[cli]") {
  const CommandFolder folder;
  const auto measure = [&](const std::string& name, int limit, const std::string& model = kModel) {
    std::ofstream(folder.path / (name + ".yaml")) << fmt::format(
        "name: {}\nmodels: [{{name: reference, path: {}}}]\nformats: [F16, Q8_0]\nbaseline: F16\nsuites: [{{name: math, limit: {}}}]\n", name,
        model, limit);
    const Outcome outcome = folder.run(fmt::format("run {}.yaml --db results.db", name));
    INFO(outcome.error);
    REQUIRE(outcome.code == 0);
  };
  const auto gate = [&](const std::string& baseline, const std::string& candidate, int code, const std::string& expected) {
    const Outcome outcome = folder.run(fmt::format("gate --baseline {} --candidate {} --db results.db --json", baseline, candidate));
    CAPTURE(baseline, candidate, outcome.error, outcome.out);
    CHECK(outcome.code == code);
    const auto json = nlohmann::json::parse(outcome.out);
    check_schema("gate", json);
    CHECK(json["outcome"] == expected);
  };
  measure("whole", 300);
  measure("small", 3);
  REQUIRE(folder.run("quantize " + kModel + " coarse.gguf --format Q2_K").code == 0);
  REQUIRE(folder.run("convert coarse.gguf damaged.gguf --format f16").code == 0);
  measure("damaged", 300, "damaged.gguf");
  gate("whole", "whole", 0, "pass");
  gate("small", "small", 3, "undecided");
  gate("whole", "damaged", 1, "fail");
  const Outcome compared = folder.run("compare whole damaged --db results.db --json");
  REQUIRE(compared.code == 0);
  const auto comparison = nlohmann::json::parse(compared.out);
  check_schema("compare", comparison);
  check_schema("results", comparison["results"]);
  CHECK(comparison["formats"][0].contains("pooled"));
  const Outcome unknown = folder.run("gate --baseline whole --candidate nowhere --db results.db --json");
  CHECK(unknown.code == 2);
  CHECK(unknown.error.find("nowhere") != std::string::npos);
}

TEST_CASE("what a plan's files lack is said with the plan's names: before the run where it can be, exit code 2 or 4", "[cli]") {
  const CommandFolder folder;
  const auto bytes = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  REQUIRE(folder.run("convert " + kModel + " good.gguf --format f16").code == 0);
  const std::string good = bytes((folder.path / "good.gguf").string());
  std::string damaged = good;
  std::ofstream(folder.path / "cut.gguf", std::ios::binary) << good.substr(0, good.size() / 2);
  damaged[damaged.size() - 1] = damaged[damaged.size() - 2] = '\xff';  // the last value is no number
  std::ofstream(folder.path / "nan.gguf", std::ios::binary) << damaged;
  const auto run = [&](const std::string& model, const std::string& options = "", const std::string& before = "") {
    std::ofstream(folder.path / "plan.yaml") << "name: p\nmodels: [{name: m, path: " << model << "}]\nformats: [as-is]\nsuites: [{name: math, limit: 1}]\ntiming: off\n";
    if (!before.empty()) ::setenv("QUANTFLEET_MEMORY_BYTES", before.c_str(), 1);
    const Outcome outcome = folder.run("run plan.yaml --db results.db " + options);
    ::unsetenv("QUANTFLEET_MEMORY_BYTES");
    CAPTURE(model, outcome.error);
    CHECK(outcome.error.find("artifacts/") == std::string::npos);
    return outcome;
  };
  const auto has_run = [&] { return folder.run("results latest --db results.db").code == 0; };
  Outcome outcome = run("cut.gguf");
  CHECK(outcome.code == 2);
  CHECK(outcome.error.find("quantfleet: cut.gguf: tensor ") == 0);
  outcome = run("good.gguf", "--kernels foo");
  CHECK(outcome.code == 2);
  CHECK(outcome.error.find("quantfleet: no kernels are called 'foo'") == 0);
  CHECK_FALSE(has_run());
  outcome = run("nan.gguf");
  CHECK(outcome.code == 2);
  CHECK(outcome.error.find(": 1 of 1 units failed: nan.gguf: tensor ") != std::string::npos);
  outcome = run("good.gguf", "", "1000");
  CHECK(outcome.code == 4);
  CHECK(outcome.error.find(": 1 of 1 units failed: good.gguf: needs ") != std::string::npos);
  const Outcome gate = folder.run("gate --baseline latest --candidate latest --db results.db --json");
  CHECK(gate.code == 3);
  check_schema("gate", nlohmann::json::parse(gate.out));
  CHECK(gate.out.find("measured nothing: ") != std::string::npos);
  CHECK(gate.out.find("measured nothing: ") == gate.out.rfind("measured nothing: "));  // one run, said once
}

TEST_CASE("rescore marks a run's stored answers again: nothing changes by itself, another rule changes what it says", "[cli]") {
  const CommandFolder folder;
  std::ofstream(folder.path / "plan.yaml") << "name: kept\nmodels: [{name: reference, path: " << kModel
                                           << "}]\nformats: [F16]\nsuites: [{name: math, limit: 20}, {name: knowledge, limit: 20}, {name: text, limit: 2}]\ntiming: off\ntwins: {seed: 7}\n";
  const Outcome measured = folder.run("run plan.yaml --db results.db");
  INFO(measured.error);
  REQUIRE(measured.code == 0);
  const auto rescored = [&](const std::string& options) {
    const Outcome outcome = folder.run("rescore latest --db results.db --json " + options);
    INFO(outcome.error);
    REQUIRE(outcome.code == 0);
    const auto json = nlohmann::json::parse(outcome.out);
    check_schema("rescore", json);
    return json;
  };
  const auto same = rescored("");
  REQUIRE(same["lines"].size() == 4);  // math's fresh twins, too
  CHECK(same["notes"].empty());
  for (const auto& line : same["lines"]) {
    CAPTURE(line.dump());
    CHECK(line["rows"] == line["rescored"]);
    CHECK(line["not_kept"] == 0);
    CHECK(line["changes"].empty());
    CHECK(line["accuracy_before"] == line["accuracy_after"]);
  }

  // A suite of the same items whose rule lets no answer pass.
  fs::create_directories(folder.path / "suites");
  fs::copy(test::source_dir() / "suites/tasks/math", folder.path / "suites/math", fs::copy_options::recursive);
  std::ifstream before(folder.path / "suites/math/task.yaml");
  std::string yaml{std::istreambuf_iterator<char>(before), {}};
  const std::string rule = "scorers: [exact_match]";
  REQUIRE(yaml.find(rule) != std::string::npos);
  yaml.replace(yaml.find(rule), rule.size(), "scorers: [{name: exact_match, extract: {regex: \"never\"}}]");
  std::ofstream(folder.path / "suites/math/task.yaml") << yaml;
  const auto changed = rescored("--root suites --suite math");
  REQUIRE(changed["lines"].size() == 1);
  CHECK(changed["lines"][0]["accuracy_before"].get<double>() > 0.5);
  CHECK(changed["lines"][0]["accuracy_after"] == 0);
  CHECK(changed["lines"][0]["changes"].size() == 20);  // "no_answer" is new in every row
  CHECK(changed["notes"].size() == 1);                 // another suite hash
  CHECK(folder.run("rescore latest --db results.db --suite coding").code == 2);
}

TEST_CASE("rescore puts the options into the order that the run asked for", "[cli]") {
  const CommandFolder folder;
  fs::create_directories(folder.path / "suites");
  fs::copy(test::source_dir() / "suites/tasks/knowledge", folder.path / "suites/knowledge", fs::copy_options::recursive);
  std::ofstream(folder.path / "suites/knowledge/task.yaml", std::ios::app) << "choice_order: {options: choices, answer: answer}\n";
  std::ofstream(folder.path / "plan.yaml") << "name: turned\nmodels: [{name: reference, path: " << kModel
                                           << "}]\nformats: [F16]\nsuites: [{name: knowledge, limit: 40, choice_seed: 5}]\ntiming: off\n";
  const Outcome measured = folder.run("run plan.yaml --db results.db --suites suites");
  INFO(measured.error);
  REQUIRE(measured.code == 0);
  const Outcome outcome = folder.run("rescore latest --db results.db --root suites --json");
  INFO(outcome.error);
  REQUIRE(outcome.code == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["lines"][0]["rescored"] == 40);
  CHECK(json["lines"][0]["accuracy_before"].get<double>() > 0.3);
  CHECK(json["lines"][0]["changes"].empty());
  CHECK(json["notes"].empty());  // the suite is the run's, options and all
}

TEST_CASE("a plan's formats may be recipes: folders, calibration texts, importance, budgets; the same bytes for any threads and kernels", "[cli][recipes]") {
  const CommandFolder folder;
  REQUIRE(std::system((test::binary_dir().string() + "/bin/make_random_model " + (folder.path / "tiny.gguf").string() +
                       " --format BF16 --width 64 --layers 2 --feed-forward 128 --heads 4 --kv-heads 2 --vocabulary 300 --context 2048").c_str()) == 0);
  std::ofstream text(folder.path / "calibration.txt");
  for (int i = 0; i < 400; ++i) text << i * i << " the ";
  text.close();
  REQUIRE(folder.run("imatrix tiny.gguf --text calibration.txt --context 64 --out tiny.imatrix").code == 0);
  const std::string calibrated = "text: calibration.txt, context: 64, chunks: 8";
  const std::string formats = "[as-is, Q8_0, bnb-nf4, {name: w4, format: w4a16, group_size: 32}, {name: gptq, format: GPTQ-4bit-g32, " + calibrated +
                              ", mse: true}, {name: awq, format: AWQ-4bit-g32, " + calibrated + "}, {name: q4, format: Q4_0, imatrix: tiny.imatrix}, {name: q4-text, format: Q4_0, " +
                              calibrated + "}, {name: mix, budget_bpw: 6, candidates: [Q4_0, Q8_0], " + calibrated + "}]";
  const auto plan = [&](const std::string& name, const std::string& model, const std::string& list) {
    std::ofstream(folder.path / (name + ".yaml")) << fmt::format(
        "name: {}\nmodels: [{{name: tiny, path: {}}}]\nformats: {}\nbaseline: as-is\naccuracy: once\ntiming: off\nsuites: [{{name: math, limit: 2}}]\n", name, model, list);
  };
  plan("recipes", "tiny.gguf", formats);
  std::map<std::string, std::set<std::string>> made;  // by machine: the artifacts
  for (const std::string& options : {std::string("--threads 1 --kernels scalar"), std::string("--threads 3")}) {
    const Outcome outcome = folder.run(fmt::format("run recipes.yaml --db {0}/results.db --artifacts {0}/artifacts {1} --json", options.substr(10, 1), options));
    INFO(outcome.error << outcome.out);
    REQUIRE(outcome.code == 0);
    CHECK(nlohmann::json::parse(outcome.out).size() == 9);  // a line each
    for (const auto& entry : fs::directory_iterator(folder.path / options.substr(10, 1) / "artifacts"))
      if (entry.is_regular_file()) made[options].insert(entry.path().filename().string());
    for (const auto& entry : fs::directory_iterator(folder.path / options.substr(10, 1) / "artifacts/work")) FAIL("left behind: " << entry.path());
  }
  CHECK(made.begin()->second == made.rbegin()->second);
  CHECK(made.begin()->second.size() == 8 + 4);  // eight formats; the model and its token probes, the text, the importance matrix

  // A folder is a model like any other, and what was wrong with a recipe is said before anything runs.
  REQUIRE(folder.run("quantize tiny.gguf nf4/ --format bnb-nf4").code == 0);
  plan("folder", "nf4", "[as-is, Q8_0]");
  const Outcome outcome = folder.run("run folder.yaml --db folder.db --json");
  INFO(outcome.error);
  CHECK(outcome.code == 0);
  for (const auto& [recipe, sentence] : {std::pair("{name: x, format: GPTQ-4bit-g32}", "formats: \"x\": GPTQ-4bit-g32 needs a calibration text (text: FILE)"),
                                         std::pair("{name: x, format: GPTQ-5bit, text: calibration.txt}", "no format is called GPTQ-5bit"),
                                         std::pair("{name: x, format: bnb-nf4, text: calibration.txt}", "bnb-nf4 takes no calibration text"),
                                         std::pair("{name: x, format: w8a8, group_size: 32}", "w8a8 has no groups to choose"),
                                         std::pair("{name: x, format: Q4_0, imatrix: nowhere}", "formats: \"x\": there is no file nowhere"),
                                         std::pair("GPTQ-4bit-g32", "\"GPTQ-4bit-g32\" needs a calibration text")}) {
    plan("wrong", "tiny.gguf", fmt::format("[as-is, {}]", recipe));
    const Outcome refused = folder.run("run wrong.yaml --db wrong.db");
    CAPTURE(refused.error);
    CHECK(refused.code == 2);
    CHECK(refused.error.find(sentence) != std::string::npos);
  }
}

TEST_CASE("a run until a verdict stops early where a format is clearly worse", "[cli]") {
  const CommandFolder folder;
  const auto plan = [&](const std::string& name, const std::string& suites, const std::string& more) {
    std::ofstream(folder.path / (name + ".yaml")) << fmt::format(
        "name: {}\nmodels: [{{name: reference, path: {}}}]\nformats: [F16, Q8_0, Q2_K]\nbaseline: F16\ntiming: off\nsuites: {}\n{}", name, kModel, suites, more);
    const Outcome outcome = folder.run(fmt::format("run {}.yaml --db results.db", name));
    INFO(outcome.error);
    REQUIRE(outcome.code == 0);
    return outcome.out;
  };
  const auto json_of = [&](const std::string& run) {
    REQUIRE(folder.run("report " + run + " --db results.db --html " + run).code == 0);
    std::ifstream file(folder.path / run / "index.html");
    const std::string page{std::istreambuf_iterator<char>(file), {}};
    const std::string mark = "const data = ";
    const std::size_t begin = page.find(mark) + mark.size();
    return nlohmann::json::parse(page.substr(begin, page.find(";\n", begin) - begin));
  };

  const std::string until = plan("until", "[math]", "until: verdict\nlimits: {unit_items: 20}\n");
  INFO(until);
  CHECK(until.find("valid at any time") != std::string::npos);
  const auto verdicts = json_of("until");
  REQUIRE(verdicts["area_verdicts"].size() == 2);
  for (const auto& v : verdicts["area_verdicts"]) {
    CHECK(v["available"] == 300);
    if (v["format"] != "Q2_K") continue;
    CHECK(v["verdict"] == "WORSE");  // the reference model loses most of its arithmetic at two bits
    CHECK(v["items"] < 100);
    CHECK(v["answered"] < 300);
  }
}

TEST_CASE("a run on the items that told most before estimates the whole suite", "[cli]") {
  const CommandFolder folder;
  const auto run_plan = [&](const std::string& name, const std::string& suites, const std::string& more, const std::string& model = kModel) {
    std::ofstream(folder.path / (name + ".yaml")) << fmt::format(
        "name: {}\nmodels: [{{name: reference, path: {}}}]\nformats: [F16, Q2_K]\nbaseline: F16\ntiming: off\nsuites: {}\n{}", name, model, suites, more);
    return folder.run(fmt::format("run {}.yaml --db results.db", name));
  };
  const auto chosen_in = [&](const std::string& name) {
    REQUIRE(folder.run("report " + name + " --db results.db --html " + name).code == 0);
    std::ifstream file(folder.path / name / "index.html");
    const std::string page{std::istreambuf_iterator<char>(file), {}}, mark = "const data = ";
    const std::size_t begin = page.find(mark) + mark.size();
    return nlohmann::json::parse(page.substr(begin, page.find(";\n", begin) - begin))["chosen_items"];
  };
  // What all items alike would give.
  const auto plain_difference = [](const nlohmann::json& line) { return (line["flips_gained"].get<int>() - line["flips_lost"].get<int>()) / 60.0; };
  REQUIRE(run_plan("before", "[{name: math, limit: 40}]", "").code == 0);
  const Outcome before = folder.run("informative math --db results.db --json");
  CAPTURE(before.error);
  REQUIRE(before.code == 0);
  const auto ranking = nlohmann::json::parse(before.out);
  check_schema("informative", ranking);
  CHECK(ranking["items"] == 300);
  CHECK(ranking["comparisons"] == 40);
  CHECK(ranking["flips"] > 0);
  CHECK(ranking["ranking"].size() == 300);
  CHECK(ranking["ranking"][0]["flip_rate"] > ranking["ranking"][299]["flip_rate"]);
  // The same model on the same night: its own flips may not choose, so all items are alike.
  const Outcome telling = run_plan("telling", "[{name: math, most_telling: 60}]", "");
  CAPTURE(telling.error, telling.out);
  REQUIRE(telling.code == 0);
  CHECK(telling.out.find("weighted by inclusion probability") != std::string::npos);
  const auto chosen = chosen_in("telling");
  REQUIRE(chosen.size() == 2);
  CHECK(chosen[0]["items"] == 60);
  CHECK(chosen[1]["difference"]["value"] < -0.1);
  CHECK(chosen[1]["difference"]["interval"][1] < 0);
  CHECK(chosen[1]["difference"]["value"].get<double>() == Approx(plain_difference(chosen[1])));
  // Another model's flips of the same night may: now items weigh as often as they were likely to be drawn.
  REQUIRE(folder.run("convert " + kModel + " other.gguf --format f32").code == 0);
  REQUIRE(run_plan("other", "[{name: math, limit: 40}]", "", "other.gguf").code == 0);
  REQUIRE(run_plan("telling-again", "[{name: math, most_telling: 60}]", "").code == 0);
  const auto again = chosen_in("telling-again")[1];
  const double weighted = again["difference"]["value"], plain = plain_difference(again);
  CAPTURE(weighted, plain);
  CHECK(std::abs(weighted - plain) > 1e-3);
  const Outcome wrong = run_plan("wrong", "[{name: math, most_telling: 9}]", "until: verdict\n");
  CHECK(wrong.code == 2);
  CHECK(wrong.error.find("exclude each other") != std::string::npos);
}

}  // namespace quantfleet
