// `suites import`: the authors' files become items exactly, or one sentence names the file and the line. The traps are those of
// the published files (CRLF, quoted newlines, no final newline, .json that is JSON lines, gzip).
#include "tests/folder.h"
#include "tests/paths.h"
#include "suites/import.h"
#include "suites/suite.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <zlib.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

ImportSource source_of(ImportSource::Format format, std::vector<std::string> columns = {}) {
  ImportSource source;
  source.format = format;
  source.columns = std::move(columns);
  source.files = {"data"};
  source.id = "{{ file }}-{{ index }}";
  return source;
}
const ImportSource kCsv = source_of(ImportSource::Format::kCsv), kLines = source_of(ImportSource::Format::kJsonl), kDocument = source_of(ImportSource::Format::kJson);

std::string error_of(const std::string& bytes, const ImportSource& source) {
  const auto records = read_records(bytes, source, "data");
  return records ? "" : records.error().detail;
}

struct DataFolder : test::Folder {
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

TEST_CASE("CSV: quoted newlines and quotes, CRLF, outer spaces, an empty header cell, no final newline", "[import]") {
  const auto records = read_records(",question,answer\r\n0,\"two\nlines, \"\"quoted\"\"\", B\r\n1,next\xc2\x85line,C", kCsv, "data");
  if (!records) FAIL(records.error().detail);
  REQUIRE(records->size() == 2);
  CHECK((*records)[0].fields["column0"] == "0");
  CHECK((*records)[0].fields["question"] == "two\nlines, \"quoted\"");
  CHECK((*records)[0].fields["answer"] == " B");
  CHECK((*records)[1].fields["question"] == "next\xc2\x85line");
  CHECK((*records)[1].fields["answer"] == "C");
  CHECK((*records)[1].line == 4);
}

TEST_CASE("CSV without a header takes the task's columns, and words that look like other types stay texts", "[import]") {
  const auto records = read_records("True,None,0\n", source_of(ImportSource::Format::kCsv, {"a", "b", "c"}), "data");
  REQUIRE(records->size() == 1);
  CHECK((*records)[0].fields.dump() == R"({"a":"True","b":"None","c":"0"})");
}

TEST_CASE("JSON lines end with \\n alone; a byte order mark and gzip are taken off", "[import]") {
  const std::string text = "\xef\xbb\xbf{\"a\": \"x\xe2\x80\xa8y\\u2019\"}\r\n{\"a\": \"z\"}";
  const auto plain = read_records(text, kLines, "data");
  if (!plain) FAIL(plain.error().detail);
  REQUIRE(plain->size() == 2);
  CHECK((*plain)[0].fields["a"] == "x\xe2\x80\xa8y\xe2\x80\x99");

  const auto named_otherwise = read_records("{\"a\": \"\\ud83d\\ude00\"}\n{\"a\": 2}", kDocument, "data");  // AQuA's test.json; a surrogate pair
  REQUIRE(named_otherwise.value().size() == 2);
  CHECK((*named_otherwise)[0].fields["a"] == "\xf0\x9f\x98\x80");

  DataFolder folder;
  const std::string packed = (folder.path / "data.jsonl.gz").string();
  gzFile file = gzopen(packed.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  std::ifstream stream(packed, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  REQUIRE(read_records(bytes, kLines, "data").value().size() == 2);
  CHECK_THAT(error_of(bytes.substr(0, bytes.size() - 12), kLines), Contains("damaged or end early"));
}

TEST_CASE("a broken record names file and line", "[import]") {
  CHECK_THAT(error_of("{\"a\":1}\n{\"a\":\n", kLines), Contains("data:2: not valid JSON"));
  CHECK_THAT(error_of("{\"a\":1}\n[1]\n", kLines), Contains("data:2: a JSON array"));
  CHECK_THAT(error_of("{\"a\":1,\"a\":2}", kLines), Contains("data:1: key 'a' appears twice"));
  CHECK_THAT(error_of("a,b\n1,2\n3\n", kCsv), Contains("data:3: 1 cells, 2 were expected (a, b)"));
  CHECK_THAT(error_of("a,b\n1,\"2\n", kCsv), Contains("data:2: a quoted cell does not end"));
  CHECK_THAT(error_of("a,b\n\"1\"x,2\n", kCsv), Contains("data:2: text behind a quoted cell"));
  CHECK_THAT(error_of("a,a\n1,2\n", kCsv), Contains("column twice"));
  CHECK_THAT(error_of("a,b\n\xff,2\n", kCsv), Contains("data:2: column a is not valid UTF-8"));
  CHECK_THAT(error_of("{\"examples\": 3}", [] { ImportSource s = kDocument; s.records = "examples"; return s; }()), Contains("a list of records was expected"));
  CHECK_THAT(error_of("[1]", kDocument), Contains("record 1 is a number"));
  CHECK_THAT(error_of("[\n{\"a\": 1},\n{\"a\": }\n]", kDocument), Contains("data:3: not valid JSON"));
  CHECK_THAT(error_of("a\ta\n1\t2\n", source_of(ImportSource::Format::kTsv)), Contains("data:1: the header has a column twice"));
}

TEST_CASE("records of a JSON document know the line that they begin in", "[import]") {
  ImportSource source = kDocument;
  source.records = "examples";
  const auto records = read_records("{\"before\": [{}, {}],\n \"examples\": [ {\"a\":\n1}, {\"a\": {\"b\": [{}]}},\n\n {\"a\": \"x\\ny\"}],\n\"after\": [{}]}", source, "data");
  if (!records) FAIL(records.error().detail);
  std::vector<int> lines;
  for (const ImportRecord& record : *records) lines.push_back(record.line);
  CHECK(lines == std::vector<int>{2, 3, 5});

  DataFolder folder;
  folder.write("one.json", "[{\"a\": 1},\n {\"b\": 2}]");
  source.records = "";
  source.files = {"one.json"};
  source.fields = {{"a", "a"}};
  CHECK_THAT(import_items(source, folder.path, "task.yaml").error().detail, Contains("one.json:2: "));
}

TEST_CASE("fields are expressions over the record, and records may be left out", "[import]") {
  DataFolder folder;
  folder.write("b_test.jsonl", "{\"id\":7,\"q\":{\"stem\":\"S\",\"choices\":[{\"text\":\"x\"},{\"text\":\"y\"}]}}\n");
  folder.write("a_test.jsonl", "{\"id\":1,\"q\":{\"stem\":\"T\",\"choices\":[]}}\n{\"id\":2,\"q\":{\"stem\":\"U\",\"choices\":[]}}\n");
  ImportSource source = kLines;
  source.files = {"*_test.jsonl"};
  source.id = "{{ file | replace('_test', '') }} {{ index }}";
  source.when = "id != 2";
  source.fields = {{"stem", "q.stem"}, {"choices", "q.choices | map(attribute='text') | list"}, {"subject", "file | replace('_test', '')"}};
  const auto items = import_items(source, folder.path, "task.yaml");
  if (!items) FAIL(items.error().detail);
  CHECK(items->jsonl == "{\"choices\":[],\"id\":\"a-0\",\"stem\":\"T\",\"subject\":\"a\"}\n{\"choices\":[\"x\",\"y\"],\"id\":\"b-0\",\"stem\":\"S\",\"subject\":\"b\"}\n");
  CHECK(items->count == 2);
  CHECK(items->sha256 == sha256_of_text(items->jsonl));

  source.id = "same";
  CHECK_THAT(import_items(source, folder.path, "task.yaml").error().detail, Contains("b_test.jsonl:1: the id 'same' was used before"));
  source.fields = {{"stem", "question.stem"}};
  CHECK_THAT(import_items(source, folder.path, "task.yaml").error().detail, Contains("a_test.jsonl:1: "));
  source.files = {"none.jsonl"};
  CHECK_THAT(import_items(source, folder.path, "task.yaml").error().detail, Contains("none.jsonl: no such file"));
}

TEST_CASE("a task without its items is left out of the list and says how to import it", "[import]") {
  DataFolder folder;
  folder.write("quiz/task.yaml", R"(name: quiz
version: "1"
area: knowledge
kind: loglikelihood
description: d
source: "the authors"
licence: MIT
items: imported.jsonl
import:
  items: {files: [q.jsonl]}
  fewshot: {files: [shots.jsonl]}
  count: 1
preamble: "About {{ subject }}.\n\n"
prompt: "{{ q }}"
choices: ["A", "B"]
target: "{{ a }}"
fewshot: {count: 2, items: shots.jsonl, same: subject}
scorers: [multiple_choice]
)");
  CHECK(load_suites(folder.path).value().empty());
  CHECK(names_of_not_imported(folder.path) == std::vector<std::string>{"quiz"});
  CHECK_THAT(load_suite(folder.path / "quiz").error().detail, Contains("quantfleet suites import quiz --from FOLDER"));

  folder.write("quiz/imported.jsonl", "{\"id\":\"1\",\"q\":\"Q\",\"a\":\"A\",\"subject\":\"law\"}\n");
  folder.write("quiz/shots.jsonl", "{\"id\":\"1\",\"q\":\"X\",\"a\":\"B\",\"subject\":\"art\"}\n{\"id\":\"2\",\"q\":\"Y\",\"a\":\"A\",\"subject\":\"law\"}\n{\"id\":\"3\",\"q\":\"Z\",\"a\":\"B\",\"subject\":\"law\"}\n");
  const auto suite = load_suite(folder.path / "quiz");
  if (!suite) FAIL(suite.error().detail);
  const Request request = (*suite)->request(0, "").value();
  CHECK(std::get<Loglikelihood>(request).context == "About law.\n\nY A\n\nZ B\n\nQ");
  CHECK(names_of_not_imported(folder.path).empty());
}

// Imports the data of a task into a folder of its own and asks every item. Returns the items.
ImportedItems import_and_ask(const std::string& name, const fs::path& data) {
  const fs::path home = test::source_dir() / "suites/tasks" / name;
  std::ifstream file(home / "task.yaml");
  const std::string yaml{std::istreambuf_iterator<char>(file), {}};
  const auto task = parse_task_yaml(yaml, name);
  if (!task) FAIL(task.error().detail);
  REQUIRE(task->import.has_value());
  const auto items = import_items(task->import->items, data, name);
  if (!items) FAIL(items.error().detail);

  DataFolder folder;
  folder.write(name + "/task.yaml", yaml);
  folder.write(name + "/" + task->items_file, items->jsonl);
  if (task->import->few_shot) {
    const auto examples = import_items(*task->import->few_shot, data, name);
    if (!examples) FAIL(examples.error().detail);
    folder.write(name + "/" + task->few_shot.items_file, examples->jsonl);
  } else if (!task->few_shot.items_file.empty()) {
    fs::copy_file(home / task->few_shot.items_file, folder.path / name / task->few_shot.items_file);
  }
  const auto suite = load_suite(folder.path / name);
  if (!suite) FAIL(suite.error().detail);
  for (int i = 0; i < (*suite)->size(); i += 20) REQUIRE((*suite)->request(i, "").has_value());  // load_suite renders every question
  CHECK((*suite)->size() % items->count == 0);  // several samples of each, where the task asks for them
  return *items;
}

ImportSpec import_of(const std::string& name) {
  std::ifstream file(test::source_dir() / "suites/tasks" / name / "task.yaml");
  const std::string yaml{std::istreambuf_iterator<char>(file), {}};
  return *parse_task_yaml(yaml, name).value().import;
}

TEST_CASE("the published files give the items that the tasks mean", "[import]") {
  const std::map<std::string, std::string> folders = {
      {"arc_easy", "arc"}, {"mmlu", "mmlu"}, {"gsm8k", "gsm8k"}, {"boolq", "boolq"}, {"piqa", "piqa"}, {"openbookqa", "openbookqa"}, {"aqua_rat", "aqua-rat"},
      {"humaneval", "humaneval"}, {"mbpp", "mbpp"}, {"xstest", "xstest"}, {"bbh", "bbh"}, {"simplesafetytests", "simplesafetytests"}, {"harmbench", "harmbench"},
      {"winogrande", "winogrande"}, {"commonsense_qa_4", "commonsenseqa"}, {"humaneval_samples", "humaneval"}, {"nq_open", "nq-open"},
      {"lambada_openai", "lambada-openai"}, {"wikitext2", "wikitext2"}, {"crows_pairs", "crows-pairs"}, {"bbh_cot", "bbh"}};
  for (const auto& [name, data] : folders) {
    if (!test::has_shared("datasets/" + data)) return;
    INFO(name);
    const ImportedItems items = import_and_ask(name, test::shared_root() / "datasets" / data);
    CHECK(items.count == import_of(name).count);
    CHECK(items.sha256 == import_of(name).sha256);
    CHECK(items.jsonl.find("BENCHMARK DATA") == std::string::npos);  // canary lines are no part of a prompt
  }
}

TEST_CASE("the first fifty records of files that are not here as a whole become items", "[import]") {
  const std::map<std::string, std::string> files = {{"hellaswag", "hellaswag__sample50"}, {"hendrycks_math", "math__sample50/test.json"}, {"minerva_math", "math__sample50/test.json"},
                                                    {"triviaqa", "triviaqa__sample50"}, {"lambada_standard", "lambada-standard__sample50"}, {"ifeval", "ifeval__sample50"},
                                                    {"advbench", "advbench__sample50"}, {"cruxeval_input", "cruxeval__sample50"}, {"cruxeval_output", "cruxeval__sample50"},
                                                    {"svamp", "svamp__sample50"}};
  for (const auto& [name, data] : files) {
    if (!test::has_shared("datasets/" + data)) return;
    INFO(name);
    CHECK(import_and_ask(name, test::shared_root() / "datasets" / data).count == 50);
  }
  // Two editions of the same items agree.
  if (!test::has_shared("datasets/advbench__sample50")) return;
  const fs::path folder = test::shared_root() / "datasets/advbench__sample50";
  CHECK(import_items(import_of("advbench").items, folder / "derived/harmful_behaviors.csv", "advbench").value().sha256 ==
        import_items(import_of("advbench").items, folder / "advbench_behaviors.csv", "advbench").value().sha256);
}

TEST_CASE("files that nobody here has are read as their authors describe them", "[import]") {
  DataFolder folder;
  const auto items_of = [&](const std::string& name) {
    const auto items = import_items(import_of(name).items, folder.path, name);
    if (!items) FAIL(items.error().detail);
    return items->jsonl;
  };
  folder.write("Test.txt", "\nc\nAll swans are white.\nWhich follows?\nA.None.\nB.Some.\nC.This one is.\nD.Other.\n");
  CHECK_THAT(items_of("logiqa"), Contains(R"("label":"c","options":["None.","Some.","This one is.","Other."])"));
  CHECK_THAT(error_of("\nc\nonly three lines\n", [] { ImportSource s = import_of("logiqa").items[0]; return s; }()), Contains("data:1: 3 lines, a record has 8"));
  folder.write("dev_rand_split.jsonl", R"({"answerKey":"B","id":"x1","question":{"question_concept":"c","choices":[{"label":"A","text":"p"},{"label":"B","text":"q"}],"stem":"S?"}})");
  CHECK_THAT(items_of("commonsense_qa"), Contains(R"({"answer":"B","id":"x1","options":["p","q"],"question":"S?"})"));
  folder.write("mgsm_de.tsv", "Wie viele?\t1,080\nUnd nun?\t-3\n");
  CHECK_THAT(items_of("mgsm"), Contains(R"({"answer":"1,080","id":"mgsm-de-0","language":"de","question":"Wie viele?"})"));
  folder.write("dev.jsonl", R"({"qID":"1","sentence":"Ann met Eve and _ waved twice.","option1":"Ann","option2":"Eve","answer":"2"})");
  CHECK(items_of("winogrande") == "{\"contexts\":[\"Ann met Eve and Ann\",\"Ann met Eve and Eve\"],\"continuation\":\"waved twice.\",\"gold\":1,\"id\":\"winogrande-0\"}\n");
  folder.write("hellaswag_val.jsonl", R"({"activity_label":"Cooking","ctx_a":"A man [title] cooks.","ctx_b":"the MAN","endings":[" eats [substeps] it.","b","c","d"],"label":0})");
  CHECK_THAT(items_of("hellaswag"), Contains(R"("endings":["eats it.","b","c","d"],"id":"hellaswag-0","label":0,"query":"Cooking: A man. cooks. The man")"));
  folder.write("mc_task.json", R"([{"question":"Q?","mc1_targets":{"b":0,"a":1},"mc2_targets":{"b":0,"a":1,"c":1}}])");
  CHECK_THAT(items_of("truthfulqa_mc2"), Contains(R"("choices":["a","b","c"],"id":"truthfulqa-0","labels":[1,0,1])"));
  folder.write("test/algebra/7.json", "{\n \"problem\": \"P\",\n \"level\": \"Level 1\", \"type\": \"Algebra\", \"solution\": \"S\"}");
  for (const char* subject : {"counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus"})
    folder.write(std::string("test/") + subject + "/1.json", R"({"problem":"P","level":"Level 1","type":"T","solution":"S"})");
  CHECK_THAT(items_of("hendrycks_math"), Contains(R"("id":"math-algebra-7","level":"Level 1","problem":"P","solution":"S","subject":"algebra")"));
  folder.write("data/Age.jsonl", R"({"example_id":0,"question_index":"1","question_polarity":"neg","context_condition":"ambig","category":"Age","answer_info":{"ans0":["Tom","nonOld"],"ans1":["x","old"],"ans2":["unknown","unknown"]},"additional_metadata":{"stereotyped_groups":["old"]},"context":"C","question":"Q?","ans0":"Tom","ans1":"Can't be determined","ans2":"Jim","label":1})");
  CHECK_THAT(items_of("bbq"), Contains(R"("choices":["Tom","Jim","Unknown","Cannot answer","Can't be determined",)"));
}

TEST_CASE("a question that brings no question mark, or a quotation mark behind it, is asked whole", "[import]") {
  DataFolder folder;
  folder.write("triviaqa_sm_sub.jsonl", R"({"context": "Question: Who? Question: me?\nAnswer:", "answer": "a", "aliases": ["a"]}
{"context": "Question: Why was it not staged\nAnswer:", "answer": "a", "aliases": ["a"]}
{"context": "Question: \"What is a \"\"hat\"\"?\"\nAnswer:", "answer": "a", "aliases": ["a"]})");
  const auto items = import_items(import_of("triviaqa").items, folder.path, "triviaqa");
  if (!items) FAIL(items.error().detail);
  CHECK_THAT(items->jsonl, Contains(R"("question":"Who? Question: me"})"));
  CHECK_THAT(items->jsonl, Contains(R"("question":"Why was it not staged"})"));
  CHECK_THAT(items->jsonl, Contains(R"("question":"\"What is a \"\"hat\"\"?\""})"));
}

TEST_CASE("a file's name may say of which split it is", "[import]") {
  for (const char* name : {"data/test/law_test.csv", "ARC-Challenge-Test.jsonl", "wiki.test.raw", "Test.txt"}) CHECK(split_named_by(name) == "test");
  for (const char* name : {"dev_rand_split.jsonl", "hellaswag_val.jsonl", "NQ-open.dev.jsonl", "validation-00000.jsonl", "valid.csv"}) CHECK(split_named_by(name) == "validation");
  CHECK(split_named_by("train.jsonl.gz") == "train");
  for (const char* name : {"piqa.jsonl", "contest.csv", "train_and_test.csv", "latest.json", ""}) CHECK(split_named_by(name) == "");
}

TEST_CASE("side by side: files whose records belong together", "[import]") {
  DataFolder folder;
  ImportSource source = kLines, labels = source_of(ImportSource::Format::kLines, {"label"});
  folder.write("a.jsonl", "{\"q\":1}\n{\"q\":2}\n");
  folder.write("a.lst", "yes\nno\n");
  source.files = {"a.jsonl"};
  labels.files = {"a.lst"};
  source.join = {labels};
  CHECK(import_items(source, folder.path, "t").value().jsonl == "{\"id\":\"a-0\",\"label\":\"yes\",\"q\":1}\n{\"id\":\"a-1\",\"label\":\"no\",\"q\":2}\n");
  folder.write("a.lst", "same for all\n");  // one record belongs to all
  CHECK_THAT(import_items(source, folder.path, "t").value().jsonl, Contains("\"label\":\"same for all\",\"q\":2"));
  folder.write("a.lst", "1\n2\n3\n");
  CHECK_THAT(import_items(source, folder.path, "t").error().detail, Contains("a.jsonl has 2 records and") && Contains("a.lst has 3"));
}

}  // namespace
}  // namespace quantfleet
