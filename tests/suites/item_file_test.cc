// Items stay in their file: what a large suite costs in memory, and that nothing is lost by reading lines when asked.
#include "suites/item_file.h"
#include "suites/suite.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

TEST_CASE("a hundred thousand items cost less than 40 bytes of memory each", "[suite]") {
  constexpr int kCount = 100'000;
  const fs::path folder = fs::temp_directory_path() / fmt::format("quantfleet-many-{}", ::getpid());
  fs::create_directories(folder / "many");
  std::ofstream(folder / "many/task.yaml") << "name: many\nversion: \"1\"\narea: math\nkind: loglikelihood\ndescription: d\nsource: s\nlicence: MIT\nprompt: \"{{ question }}\"\n"
                                              "choices: [\"A\", \"B\"]\ntarget: \"{{ answer }}\"\nscorers: [multiple_choice]\n";
  {
    std::ofstream items(folder / "many/items.jsonl");
    for (int i = 0; i < kCount; ++i)
      items << fmt::format("{{\"id\":\"item-{}\",\"question\":\"Is this number {} of a long row of questions that are all alike?\",\"answer\":\"{}\"}}\n", i, i, "AB"[i % 2]);
  }
  const std::size_t before = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  const auto suite = load_suite(folder / "many");
  const std::size_t after = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  fs::remove_all(folder);
  if (!suite) FAIL(suite.error().detail);
  CHECK((*suite)->size() == kCount);
  CHECK((*suite)->info().chance == 0.5);
  CHECK(static_cast<double>(after - before) / kCount < 40);
  CHECK((*suite)->item_id(0).value.starts_with("item-"));
}

TEST_CASE("the hash of items does not depend on their layout", "[suite]") {
  const auto canonical = [](const std::string& text) {
    std::string all;
    ItemFile::of_text(text, "t").value().canonical("items", [&](std::string_view part) { all += part; });
    return all;
  };
  CHECK(canonical("{\"id\":\"a\", \"b\": 1}\r\n") == canonical("{\"b\":1,\"id\":\"a\"}"));
  CHECK(canonical("{\"id\":\"a\"}\n{\"id\":\"b\"}") == "items 2\n{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
}

TEST_CASE("repeated ids are found wherever they stand", "[suite]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += fmt::format("{{\"id\":\"{}\"}}\n", i == 700 ? 3 : i);
  const auto items = ItemFile::of_text(text, "t");
  REQUIRE_FALSE(items.has_value());
  CHECK(items.error().detail == "t:701: 'id' 3 was used before, each must be different");
}

}  // namespace
}  // namespace quantfleet
