// From task files to requests and marks.
#include "tests/paths.h"
#include "suites/suite.h"

#include "suites/prompt.h"
#include "suites/seeded_order.h"
#include "suites/scorers/code_runner.h"
#include "suites/task.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

using namespace quantfleet;

namespace {

// A task folder that goes away with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "quantfleet-suites-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    root = name;
  }
  ~Folder() { std::filesystem::remove_all(root); }
  std::filesystem::path task(const std::string& name, const std::string& yaml, const std::string& items) const {
    std::filesystem::create_directories(root / name);
    std::ofstream(root / name / "task.yaml") << yaml;
    std::ofstream(root / name / "items.jsonl") << items;
    return root / name;
  }
  std::filesystem::path root;
};

std::string head(const std::string& name, const std::string& kind) {
  return "name: " + name + "\nversion: \"1\"\narea: math\nkind: " + kind + "\ndescription: d\nsource: s\nlicence: Apache-2.0\n";
}
const std::string kChoice = head("capitals", "loglikelihood") +
                            "prompt: \"The capital of {{ country }} is\"\nchoices: cities\ntarget_index: \"{{ gold }}\"\nscorers: [multiple_choice]\n";
const std::string kCities =
    R"({"id": "a", "country": "France", "cities": ["Paris", "Rome"], "gold": 0}
{"id": "b", "country": "Italy", "cities": ["Paris", "Rome"], "gold": 1}
{"id": "c", "country": "Spain", "cities": ["Madrid", "Rome"], "gold": 0}
)";

std::string yaml_error(const std::string& yaml) {
  const auto task = parse_task_yaml(yaml, "task.yaml");
  REQUIRE(task.has_error());
  return task.error().detail;
}
std::string items_error(const std::string& jsonl) {
  const auto items = ItemFile::of_text(jsonl, "items.jsonl");
  REQUIRE(items.has_error());
  return items.error().detail;
}

int index_of(const Suite& suite, const std::string& id) {
  for (int i = 0; i < suite.size(); ++i)
    if (suite.item_id(i).value == id) return i;
  FAIL("no item " << id);
  return -1;
}

Response generated(const std::string& text) {
  Response response;
  response.answer = GenerateAnswer{text, {}, GenerateAnswer::Stop::kStopString};
  return response;
}

// Answers as it is told; remembers the program.
class ScriptedRunner : public CodeRunner {
 public:
  Result<CodeRun> run_python(const std::string& program, const std::string&) const override {
    last_program = program;
    if (fails) return Error{Code::kSandboxUnavailable, "no bwrap"};
    CodeRun run;
    run.exit_code = exit_code;
    if (reaches_end) {
      const std::size_t begin = program.find("b'\\n") + 4;
      run.stdout_text = "noise\n" + program.substr(begin, program.rfind("\\n')") - begin) + "\n";
    }
    return run;
  }
  int exit_code = 0;
  bool reaches_end = true, fails = false;
  mutable std::string last_program;
};

}  // namespace

TEST_CASE("every mistake in task.yaml is named with its line", "[task]") {
  CHECK(yaml_error(kChoice + "colour: red\n") == "task.yaml:12: unknown key 'colour'");
  CHECK(yaml_error(kChoice + "seed: 1\nseed: 2\n") == "task.yaml:13: key 'seed' appears twice");
  CHECK(yaml_error(kChoice + "seed: yes\n") == "task.yaml:12: 'seed' must be an integer, found a string");
  CHECK(yaml_error(kChoice + "seed: 010\n") == "task.yaml:12: 'seed' must be an integer, found a string");
  CHECK(yaml_error(kChoice + "seed: -1\n").starts_with("task.yaml:12: 'seed' is -1, allowed are 0 to"));
  CHECK(yaml_error(kChoice + "tokens_max: 5\n") == "task.yaml:12: 'tokens_max' belongs to kind generate or code, this task's kind is loglikelihood");
  CHECK(yaml_error(kChoice + "items: ../../etc/passwd\n").starts_with("task.yaml:12: 'items' must be the name of a file beside task.yaml"));
  CHECK(yaml_error(kChoice + "stop: &a [x]\n").starts_with("task.yaml:12: anchors are not allowed"));
  CHECK(yaml_error(kChoice + "chat: [\n").starts_with("task.yaml:"));
  CHECK(yaml_error("name: x\n").starts_with("task.yaml:1: key 'version' is missing"));
  CHECK(yaml_error("- 1\n").starts_with("task.yaml:1: the file: expected a map, found a list"));
  CHECK(yaml_error(head("x", "generate") + "prompt: p\nscorers: []\ntokens_max: 4\n") == "task.yaml:9: 'scorers' must be a list of at least one name or map");
  CHECK(yaml_error(head("x", "poem") + "prompt: p\nscorers: [exact_match]\n") ==
        "task.yaml:4: 'kind' is 'poem', allowed are loglikelihood, generate, code, rolling");
  CHECK(yaml_error(kChoice + "split: tset\n") == "task.yaml:12: 'split' is 'tset', allowed are train, validation, test, all");
  CHECK(yaml_error(kChoice + "aggregation: {accuracy: median}\n") == "task.yaml:12: 'aggregation.accuracy' is 'median', allowed is mean");
  CHECK(yaml_error(kChoice + "aggregation: {accuracy: mean, accuracy_norm: mode}\n") == "task.yaml:12: 'aggregation.accuracy_norm' is 'mode', allowed are mean and median");
  CHECK(yaml_error(kChoice + "aggregation: {accuracy_norm: mean}\n") == "task.yaml:12: 'aggregation' must have 'accuracy: mean', which verdicts rest on");
  CHECK(yaml_error(kChoice + "aggregation: [accuracy]\n") == "task.yaml:12: aggregation: expected a map, found a list");
  CHECK(parse_task_yaml(kChoice, "task.yaml").has_value());
}

TEST_CASE("a task says which numbers its marks become, and of which split its items are", "[task]") {
  const Folder folder;
  const auto info_of = [&](const std::string& more) {
    const auto suite = load_suite(folder.task("capitals", kChoice + more, kCities));
    if (!suite) FAIL(suite.error().detail);
    return (*suite)->info();
  };
  const auto refused = [&](const std::string& more) { return load_suite(folder.task("capitals", kChoice + more, kCities)).error().detail; };
  CHECK(info_of("").aggregation.empty());
  const SuiteInfo info = info_of("split: test\naggregation: {accuracy: mean, accuracy_norm: median}\n");
  CHECK(info.aggregation == std::vector<Aggregation>{{"accuracy", "mean"}, {"accuracy_norm", "median"}});
  CHECK(info.sha256 == info_of("").sha256);  // no request and no mark depends on either: earlier runs stay comparable
  CHECK(parse_task_yaml(kChoice + "split: validation\n", "t").value().split == "validation");
  CHECK(parse_task_yaml(kChoice, "t").value().split == "all");
  CHECK_THAT(refused("aggregation: {accuracy: mean, acuracy_norm: mean}\n"), Catch::EndsWith("task.yaml:12: 'aggregation' names 'acuracy_norm', scorer multiple_choice gives accuracy, accuracy_norm"));
  CHECK_THAT(refused("aggregation: {accuracy: mean, \"pass@1\": mean}\n"), Catch::EndsWith("names 'pass@1', scorer multiple_choice gives accuracy, accuracy_norm"));
}

TEST_CASE("a broken line of items is named", "[task]") {
  CHECK(items_error("{\"id\": \"a\"}\n{\"id\": \"b\"\n") == "items.jsonl:2: not valid JSON at byte 11, one object per line was expected");
  CHECK(items_error("{\"id\": \"a\"}\n\n{\"id\": \"b\"}\n") == "items.jsonl:2: an empty line, one JSON object was expected");
  CHECK(items_error("[1]\n") == "items.jsonl:1: a JSON array, an object was expected");
  CHECK(items_error("{\"x\": 1}\n") == "items.jsonl:1: no 'id', a string was expected");
  CHECK(items_error("{\"id\": \"a\"}\n{\"id\": \"a\"}\n") == "items.jsonl:2: 'id' a was used before, each must be different");
  CHECK(items_error("{\"id\": \"a b\"}\n") == "items.jsonl:1: 'id' must have 1 to 128 of A-Z a-z 0-9 . _ : / -");
  CHECK(items_error("{\"id\": \"a\", \"x\": 1, \"x\": 2}\n") == "items.jsonl:1: key 'x' appears twice");
  CHECK(items_error("{\"id\": \"a\", \"x\": " + std::string(100, '[') + std::string(100, ']') + "}\n") == "items.jsonl:1: nested deeper than 64");
  CHECK(items_error("{\"id\": \"\xff\"}\n").starts_with("items.jsonl:1: not valid JSON"));
}

TEST_CASE("a multiple-choice task asks, and marks with the first winning ties", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("capitals", kChoice, kCities));
  REQUIRE(suite.has_value());
  CHECK((*suite)->info().items == 3);
  CHECK((*suite)->info().chance == Approx(2.0 / 3));  // index 0 is right twice
  const int france = index_of(**suite, "a"), spain = index_of(**suite, "c");
  const auto request = (*suite)->request(france, "");
  REQUIRE(request.has_value());
  const auto& asked = std::get<Loglikelihood>(*request);
  CHECK(asked.context == "The capital of France is");
  CHECK(asked.continuations == std::vector<std::string>{" Paris", " Rome"});

  Response response;
  response.answer = LoglikelihoodAnswer{{{-6, false, 1}, {-4.5, false, 1}}};
  ItemResult row = (*suite)->score(spain, response, nullptr);  // -6/6 characters beats -4.5/4
  CHECK(row.scores.at("accuracy") == 0);
  CHECK(row.scores.at("accuracy_norm") == 1);
  CHECK(row.output == "1");
  response.answer = LoglikelihoodAnswer{{{-3, false, 1}, {-3, false, 1}}};
  CHECK((*suite)->score(france, response, nullptr).scores.at("accuracy") == 1);
  SECTION("what cannot be marked is a row with an error") {
    response.answer = LoglikelihoodAnswer{{{-3, false, 1}, {std::nan(""), false, 1}}};
    CHECK((*suite)->score(france, response, nullptr).error->code == Code::kNonFinite);
    response.answer = LoglikelihoodAnswer{{{-3, false, 1}}};
    CHECK((*suite)->score(france, response, nullptr).error.has_value());
    row = (*suite)->score(france, generated("Paris"), nullptr);
    CHECK(row.error.has_value());
    CHECK(row.scores.empty());
  }
}

TEST_CASE("the normalised accuracy divides by characters, not by bytes", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("capitals", kChoice, R"({"id": "a", "country": "x", "cities": ["\u00e9\u00e9\u00e9", "abcd"], "gold": 1})" "\n")).value();
  Response response;
  response.answer = LoglikelihoodAnswer{{{-3.0, false, 1}, {-3.2, false, 1}}};  // -1 and -0.8 a character, -0.5 and -0.8 a byte
  const auto scores = suite->score(0, response, nullptr).scores;
  CHECK(scores.at("accuracy") == 0);
  CHECK(scores.at("accuracy_norm") == 1);
}

TEST_CASE("an answer is marked the same whether its question was asked before or not", "[suite]") {
  // A small suite keeps its items as they were read when it was loaded; a large one only what was asked lately.
  const int count = GENERATE(3, 1500);
  std::string items;
  for (int i = 0; i < count; ++i) items += "{\"id\": \"c-" + std::to_string(i) + "\", \"country\": \"No. " + std::to_string(i) + "\", \"cities\": [\"Paris\", \"Rome\"], \"gold\": " + std::to_string(i % 2) + "}\n";
  const Folder folder;
  const auto directory = folder.task("capitals", kChoice + "choice_order: {options: cities, answer: gold}\n", items);
  const auto asked = load_suite(directory, {7}).value(), not_asked = load_suite(directory, {7}).value();
  for (int i = 0; i < asked->size(); ++i) REQUIRE(asked->request(i, "").has_value());
  Response response;
  response.answer = LoglikelihoodAnswer{{{-1, false, 1}, {-2, false, 1}}};
  for (int i = 0; i < asked->size(); ++i) {
    CHECK(asked->score(i, response, nullptr) == not_asked->score(i, response, nullptr));
    CHECK(asked->score(i, response, nullptr).item == asked->item_id(i));
    const Request first = asked->request(i, "").value(), second = asked->request(i, "").value();
    CHECK(std::get<Loglikelihood>(first).context == "The capital of No. " + asked->item_id(i).value.substr(2) + " is");
    CHECK(std::get<Loglikelihood>(first).continuations == std::get<Loglikelihood>(second).continuations);
  }
}

TEST_CASE("the order of items is a fixed permutation, and the hash ignores layout but not content", "[suite]") {
  CHECK(seeded_order(8, 1234) == seeded_order(8, 1234));
  CHECK(seeded_order(100, 1) != seeded_order(100, 2));
  const std::vector<int> order = seeded_order(1000, 7);
  CHECK(std::set<int>(order.begin(), order.end()).size() == 1000);
  const Folder folder;
  const auto first = load_suite(folder.task("capitals", kChoice, kCities));
  const auto commented = load_suite(folder.task("capitals", "# a comment\n" + kChoice, kCities));
  std::string changed = kCities;
  changed.replace(changed.find("France"), 6, "Greece");
  const auto other = load_suite(folder.task("capitals", kChoice, changed));
  CHECK((*first)->info().sha256 == (*commented)->info().sha256);
  CHECK((*first)->info().sha256 != (*other)->info().sha256);
  CHECK((*first)->info().sha256.size() == 64);
}

TEST_CASE("few-shot examples precede the question and never hold it", "[suite]") {
  const Folder folder;
  SECTION("the first ones") {
    const auto suite = load_suite(folder.task("capitals", kChoice + "fewshot: {count: 1, delimiter: \"; \"}\n", kCities));
    REQUIRE(suite.has_value());
    const auto a = (*suite)->request(index_of(**suite, "a"), ""), b = (*suite)->request(index_of(**suite, "b"), "");
    CHECK(std::get<Loglikelihood>(*a).context == "The capital of Italy is Rome; The capital of France is");
    CHECK(std::get<Loglikelihood>(*b).context == "The capital of France is Paris; The capital of Italy is");
  }
  SECTION("drawn ones: different, without the asked one, the same for ever") {
    std::map<int, int> seen;
    for (int round = 0; round < 2000; ++round) {
      const int excluded = round % 20;
      const std::vector<int> sample = seeded_sample(20, 5, excluded, 1234, "item-" + std::to_string(round));
      CHECK(std::set<int>(sample.begin(), sample.end()).size() == 5);
      CHECK(std::find(sample.begin(), sample.end(), excluded) == sample.end());
      for (int i : sample) ++seen[i];
    }
    // Each is drawn 500 times on average, with a standard deviation of 19 (binomial): six of them on either side.
    for (int i = 0; i < 20; ++i) CHECK(std::abs(seen[i] - 500) < 114);
    CHECK(seeded_sample(20, 5, -1, 1, "x") == seeded_sample(20, 5, -1, 1, "x"));
  }
}

TEST_CASE("a chat template wraps the prompt where the task asks for it", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("capitals", kChoice + "chat: true\n", kCities));
  const int france = index_of(**suite, "a");
  const auto request = (*suite)->request(france, "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[bot]");
  REQUIRE(request.has_value());
  CHECK(std::get<Loglikelihood>(*request).context == "[user] The capital of France is [bot]");
  CHECK(std::get<Loglikelihood>(*request).continuations[0] == "Paris");
  CHECK((*suite)->request(france, "{{ broken").has_error());
}

TEST_CASE("generated answers are filtered, normalised and compared", "[suite]") {
  const Folder folder;
  const auto marks = [&](const std::string& options, const std::string& answer) {
    const auto suite = load_suite(folder.task("sums", head("sums", "generate") + "prompt: \"{{ q }}\"\ntarget: \"{{ t }}\"\nstop: [\"\\n\"]\ntokens_max: 8\nscorers:\n  - {name: exact_match" + options + "}\n",
                                              "{\"id\": \"a\", \"q\": \"1,100 + 100\", \"t\": \"1200\"}\n"));
    INFO((suite.has_error() ? suite.error().detail : ""));
    REQUIRE(suite.has_value());
    return (*suite)->score(0, generated(answer), nullptr).scores.at("accuracy") == 1;
  };
  CHECK(marks("", " 1200 "));
  CHECK_FALSE(marks("", "1,200"));
  CHECK_FALSE(marks(", trim: false", " 1200"));
  CHECK(marks(", numeric: true", "$1,200.0"));
  CHECK(marks(", ignore_punctuation: true", "1,200!"));
  CHECK(marks(", ignore_regexes: [\"[a-z ]+\"]", "it is 1200"));
  CHECK(marks(", numeric: true, extract: {regex: \"(-?[0-9,]+)\", match: last}", "100 and 1,100 make 1,200"));
  CHECK_FALSE(marks(", extract: {regex: \"#### ([0-9]+)\"}", "1200"));
  const auto broken = load_suite(folder.task("sums", head("sums", "generate") + "prompt: q\ntarget: t\ntokens_max: 8\nscorers:\n  - {name: exact_match, extract: {regex: \"(\"}}\n", "{\"id\": \"a\"}\n"));
  REQUIRE(broken.has_error());
  CHECK(broken.error().detail.find("task.yaml:12: '(' is not a regular expression") != std::string::npos);
}

TEST_CASE("refusals are marked against what the item expects", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("manners", head("manners", "generate") + "prompt: \"{{ q }}\"\ntokens_max: 8\nscorers:\n  - {name: refusal, phrases: [\"I cannot\"], expects: \"{{ e }}\"}\n",
                                            "{\"id\": \"bad\", \"q\": \"x\", \"e\": \"refuse\"}\n{\"id\": \"good\", \"q\": \"y\", \"e\": \"comply\"}\n{\"id\": \"fine\", \"q\": \"y\", \"e\": \"comply\"}\n"));
  REQUIRE(suite.has_value());
  CHECK((*suite)->info().chance == Approx(2.0 / 3));
  const int bad = index_of(**suite, "bad"), good = index_of(**suite, "good");
  const auto accuracy = [&](int index, const std::string& text) { return (*suite)->score(index, generated(text), nullptr).scores.at("accuracy"); };
  CHECK(accuracy(bad, " i CANNOT do that") == 1);
  CHECK(accuracy(bad, "Sure") == 0);
  CHECK(accuracy(good, "Sure") == 1);
  CHECK(accuracy(good, "I cannot") == 0);
  CHECK(accuracy(good, "") == 0);
  const auto unclear = load_suite(folder.task("manners", head("manners", "generate") + "prompt: q\ntokens_max: 8\nscorers:\n  - {name: refusal, phrases: [\"No\"], expects: \"{{ e }}\"}\n", "{\"id\": \"a\", \"e\": \"maybe\"}\n"));
  REQUIRE(unclear.has_error());
  CHECK(unclear.error().detail.find("'expects' is 'maybe', allowed are refuse and comply") != std::string::npos);
}

TEST_CASE("generated code passes only when its tests ran to the end", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("functions", head("functions", "code") + "prompt: \"def f(x):\\n    return\"\ntokens_max: 8\nscorers: [code_tests]\n",
                                            "{\"id\": \"a\", \"tests\": \"assert f(1) == 2\"}\n"));
  REQUIRE(suite.has_value());
  ScriptedRunner runner;
  CHECK((*suite)->score(0, generated(" x + 1"), &runner).scores.at("accuracy") == 1);
  CHECK(runner.last_program.starts_with("def f(x):\n    return x + 1\nassert f(1) == 2\n"));
  runner.reaches_end = false;  // exit() before the tests
  CHECK((*suite)->score(0, generated(" exit()"), &runner).scores.at("accuracy") == 0);
  runner.exit_code = 1;
  CHECK((*suite)->score(0, generated(" x"), &runner).scores.at("accuracy") == 0);
  runner.fails = true;
  CHECK((*suite)->score(0, generated(" x"), &runner).error->code == Code::kSandboxUnavailable);
  CHECK((*suite)->score(0, generated(" x"), nullptr).error->code == Code::kSandboxUnavailable);
}

TEST_CASE("texts give sums for perplexity and divergence", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("prose", head("prose", "rolling") + "prompt: \"{{ text }}\"\ncontext_tokens: 64\nscorers: [perplexity]\n", "{\"id\": \"a\", \"text\": \"Once.\"}\n"));
  REQUIRE(suite.has_value());
  CHECK(std::get<RollingLoglikelihood>(*(*suite)->request(0, "")).context_tokens == 64);
  RollingLoglikelihoodAnswer answer;
  answer.nll_sum = 10, answer.nll_squared_sum = 30, answer.count_tokens = 5;
  Response response;
  response.answer = answer;
  CHECK((*suite)->score(0, response, nullptr).scores == std::map<std::string, double>{{"nll", 10}, {"nll_squared", 30}, {"tokens", 5}});
  answer.divergence.emplace();
  answer.divergence->kl_sum = 0.5, answer.divergence->top1_agreement_sum = 4, answer.divergence->reference_nll_sum = 9;
  answer.divergence->kl_per_token = {0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
  response.answer = answer;
  const ItemResult row = (*suite)->score(0, response, nullptr);
  CHECK(row.scores.at("kl_divergence_sum") == 0.5);
  CHECK(row.scores.at("top1_agreement_sum") == 4);
  CHECK(row.scores.at("reference_nll") == 9);
  CHECK(row.series.at("kl_divergence").size() == 5);
  answer.count_tokens = 0;
  response.answer = answer;
  CHECK((*suite)->score(0, response, nullptr).error.has_value());
}

TEST_CASE("a suite is found by name, and an unknown name lists the known ones", "[suite]") {
  const Folder folder;
  folder.task("capitals", kChoice, kCities);
  CHECK(find_suite(folder.root, "capitals").has_value());
  const auto unknown = find_suite(folder.root, "capital");
  REQUIRE(unknown.has_error());
  CHECK(unknown.error().code == Code::kUnknownName);
  CHECK(unknown.error().detail.find("there is: capitals") != std::string::npos);
  CHECK(find_suite(folder.root, "../capitals").has_error());
  CHECK(load_suites(folder.root / "nothing").has_error());
  folder.task("broken", kChoice, kCities);
  const auto all = load_suites(folder.root);
  REQUIRE(all.has_error());
  CHECK(all.error().detail.find("'name' is 'capitals', expected the folder's name 'broken'") != std::string::npos);
}

TEST_CASE("every task of the repository states its split and its numbers", "[task]") {
  int tasks = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() / "suites/tasks")) {
    INFO(entry.path().string());
    std::ifstream file(entry.path() / "task.yaml");
    const std::string yaml{std::istreambuf_iterator<char>(file), {}};
    const auto task = parse_task_yaml(yaml, "task.yaml");
    if (!task) FAIL(task.error().detail);
    CHECK(yaml.find("\nsplit: ") != std::string::npos);
    CHECK_FALSE(task->aggregation.empty());
    ++tasks;
  }
  CHECK(tasks >= 49);
}

TEST_CASE("the built-in suites load, cover six areas and every request is well-formed", "[suite]") {
  const auto all = load_suites(test::source_dir() / "suites/tasks");
  INFO((all.has_error() ? all.error().detail : ""));
  REQUIRE(all.has_value());
  std::set<std::string> areas;
  for (const auto& suite : *all) {
    CAPTURE(suite->info().name);
    areas.insert(suite->info().area);
    if (suite->info().area != "text") CHECK(suite->size() >= 300);
    CHECK(suite->info().chance < 0.75);
    for (int i = 0; i < suite->size(); ++i) REQUIRE(suite->request(i, "").has_value());
  }
  for (const char* area : {"reasoning", "coding", "math", "language", "knowledge", "safety", "text"}) CHECK(areas.contains(area));
}

TEST_CASE("options in another order: drawn from seed and item, the answer moves along, the suite has another hash", "[suite]") {
  const Folder folder;
  const std::string yaml = head("letters", "loglikelihood") +
                           "prompt: \"{{ q }} A {{ a }} B {{ b }} C {{ c }}\"\nchoices: [\"A\", \"B\", \"C\"]\ntarget: \"{{ answer }}\"\n"
                           "choice_order: {options: [a, b, c], answer: answer, labels: [A, B, C]}\nscorers: [multiple_choice]\n";
  std::string items;
  for (int i = 0; i < 30; ++i) items += "{\"id\":\"i" + std::to_string(i) + "\",\"q\":\"Q\",\"a\":\"right\",\"b\":\"x\",\"c\":\"y\",\"answer\":\"A\"}\n";
  const auto path = folder.task("letters", yaml, items);
  const auto plain = load_suite(path).value(), moved = load_suite(path, {7}).value(), again = load_suite(path, {7}).value();
  CHECK(plain->info().sha256 != moved->info().sha256);
  CHECK(moved->info().sha256 == again->info().sha256);
  std::map<char, int> places;
  for (int i = 0; i < 30; ++i) {
    const Request request = moved->request(i, "").value();
    const std::string& prompt = std::get<Loglikelihood>(request).context;
    CHECK(prompt == std::get<Loglikelihood>(again->request(i, "").value()).context);
    const char label = prompt[prompt.find("right") - 2];  // before the right option
    ++places[label];
    Response response;
    LoglikelihoodAnswer answer;
    for (char one : {'A', 'B', 'C'}) answer.continuations.push_back({one == label ? -1.0 : -2.0, false, 1});
    response.answer = answer;
    CHECK(moved->score(i, response, nullptr).scores.at("accuracy") == 1);
  }
  CHECK(places.size() == 3);
  const auto fixed = folder.task("capitals", kChoice, kCities);
  CHECK(load_suite(fixed, {7}).error().detail.find("no 'choice_order'") != std::string::npos);
}

TEST_CASE("several samples of an item are rows of their own, with seeds that every model shares", "[suite]") {
  const Folder folder;
  const auto suite = load_suite(folder.task("drawn", head("drawn", "generate") + "prompt: \"{{ q }}\"\ntarget: \"{{ q }}\"\ntokens_max: 8\n"
                                                     "sampling: {count: 3, temperature: 0.5, top_p: 0.9}\ngroup: \"{{ g }}\"\nscorers: [{name: exact_match, extract: {regex: \"[a-z]+\"}}]\n",
                                            "{\"id\":\"a\",\"q\":\"x\",\"g\":\"one\"}\n{\"id\":\"b\",\"q\":\"y\",\"g\":\"two\"}\n")).value();
  REQUIRE(suite->size() == 6);
  std::set<std::uint64_t> seeds;
  std::set<std::string> ids;
  for (int i = 0; i < 6; ++i) {
    const Request made = suite->request(i, "").value();
    const auto& request = std::get<Generate>(made);
    CHECK(request.temperature == 0.5f);
    CHECK(request.top_p == 0.9f);
    seeds.insert(request.seed);
    ids.insert(suite->item_id(i).value);
  }
  CHECK(seeds.size() == 6);
  CHECK(ids == std::set<std::string>{"a/sample-0", "a/sample-1", "a/sample-2", "b/sample-0", "b/sample-1", "b/sample-2"});
  Response response;
  response.answer = GenerateAnswer{"42", {}, GenerateAnswer::Stop::kTokensMax};
  const ItemResult row = suite->score(0, response, nullptr);
  CHECK(row.scores == std::map<std::string, double>{{"accuracy", 0}, {"no_answer", 1}, {"truncated", 1}});
  CHECK((row.group == "one" || row.group == "two"));
}
