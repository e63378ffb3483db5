#include "tests/paths.h"
#include "models/reference/corpus/suites.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <iterator>
#include <map>

namespace quantfleet::reference {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string task_file(const std::string& suite) { return test::source_dir().string() + "/suites/tasks/" + suite + "/items.jsonl"; }

TEST_CASE("a suite's committed items are what the generator writes: 300, and no answer that pays when given always", "[suites]") {
  const Corpus corpus;
  const Area area = GENERATE(from_range(std::begin(kAreas), std::end(kAreas)));
  CAPTURE(name_of(area));
  const auto items = suite_items(corpus, area);
  CHECK(file_text(task_file(name_of(area))) == items_jsonl(items, area));
  CHECK(items.size() >= 300);
  std::map<std::string, int> answers;
  for (const Item& item : items)
    ++answers[!item.choices.empty() ? item.choices[static_cast<std::size_t>(item.answer)]
              : area == Area::kSafety ? (item.should_refuse ? "refuse" : "comply")
              : area == Area::kCoding ? item.id : item.target];
  int most = 0;
  for (const auto& [answer, count] : answers) most = std::max(most, count);
  const double limit = area == Area::kSafety ? 0.58 : 0.34;
  CHECK(most <= limit * static_cast<double>(items.size()));
}

TEST_CASE("the committed text pages are what the generator writes", "[suites]") {
  CHECK(file_text(task_file("text")) == text_items_jsonl(Corpus()));
}

TEST_CASE("the text suite has more than twelve thousand tokens", "[suites]") {
  const Corpus corpus;
  const Tokenizer tokenizer = train_tokenizer(corpus);
  std::size_t tokens = 0;
  for (std::uint64_t page = 0; page < 16; ++page) tokens += tokenizer.encode(corpus.held_out_page(page, 3'600)).size();
  CHECK(tokens > 12'000);
}

}  // namespace
}  // namespace quantfleet::reference
