// `suites import`: the authors' files become items exactly, or one sentence names the file and the line. The traps are those of
// the published files (CRLF, quoted newlines, no final newline, .json that is JSON lines, gzip).
#include "tests/paths.h"
#include "suites/import.h"
#include "suites/suite.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>
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

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("quantfleet-import-{}", ::getpid());
  Folder() { fs::remove_all(path), fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
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

  Folder folder;
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
  CHECK_THAT(error_of("{\"examples\": 3}", kDocument), Contains("a list of records was expected"));
  CHECK_THAT(error_of("[1]", kDocument), Contains("record 1 is a number"));
}

TEST_CASE("fields are expressions over the record, and records may be left out", "[import]") {
  Folder folder;
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
  Folder folder;
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

TEST_CASE("the published files give the items that the tasks mean", "[import]") {
  const std::map<std::string, std::string> folders = {{"arc_easy", "arc"},     {"mmlu", "mmlu"},           {"gsm8k", "gsm8k"},   {"boolq", "boolq"},
                                                      {"piqa", "piqa"},        {"openbookqa", "openbookqa"}, {"aqua_rat", "aqua-rat"}, {"humaneval", "humaneval"},
                                                      {"mbpp", "mbpp"},        {"xstest", "xstest"},       {"bbh", "bbh"},       {"simplesafetytests", "simplesafetytests"},
                                                      {"harmbench", "harmbench"}};
  const fs::path tasks = test::source_dir() / "suites/tasks";
  for (const auto& [name, data] : folders) {
    if (!test::has_shared("datasets/" + data)) return;
    INFO(name);
    std::ifstream file(tasks / name / "task.yaml");
    const std::string yaml{std::istreambuf_iterator<char>(file), {}};
    const auto task = parse_task_yaml(yaml, name);
    if (!task) FAIL(task.error().detail);
    REQUIRE(task->import.has_value());
    const auto items = import_items(task->import->items, test::shared_root() / "datasets" / data, name);
    if (!items) FAIL(items.error().detail);
    CHECK(items->count == task->import->count);
    CHECK(items->sha256 == task->import->sha256);

    // Every item can be asked.
    Folder folder;
    folder.write(name + "/task.yaml", yaml);
    folder.write(name + "/" + task->items_file, items->jsonl);
    if (task->import->few_shot) {
      const auto examples = import_items(*task->import->few_shot, test::shared_root() / "datasets" / data, name);
      if (!examples) FAIL(examples.error().detail);
      folder.write(name + "/" + task->few_shot.items_file, examples->jsonl);
    }
    const auto suite = load_suite(folder.path / name);
    if (!suite) FAIL(suite.error().detail);
    int asked = 0;
    for (int i = 0; i < (*suite)->size(); ++i) asked += (*suite)->request(i, "").has_value();
    CHECK(asked == items->count);
  }
}

}  // namespace
}  // namespace quantfleet
