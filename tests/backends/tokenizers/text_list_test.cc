#include "backends/tokenizers/text_list.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace quantfleet {
namespace {

TEST_CASE("texts in one block of memory are found by their bytes, of equal ones the last", "[tokenizers]") {
  TextList texts = {"", "a", "ab", "a", std::string_view("a\0b", 3)};
  for (int i = 0; i < 5000; ++i) texts.push_back(fmt::format("tok{}", i));
  TextIndex index(texts.size());
  CHECK(index.find(texts, "a") == -1);
  for (std::size_t number = 0; number < texts.size(); ++number) index.put(texts, number);
  CHECK(texts.size() == 5005);
  CHECK(texts[0].empty());
  CHECK(texts[2] == "ab");
  CHECK(index.find(texts, "") == 0);
  CHECK(index.find(texts, "a") == 3);
  CHECK(index.find(texts, std::string_view("a\0b", 3)) == 4);
  CHECK(index.find(texts, "b") == -1);
  CHECK(index.find(texts, "tok5000") == -1);
  int found = 0;
  for (int i = 0; i < 5000; ++i) found += index.find(texts, fmt::format("tok{}", i)) == i + 5;
  CHECK(found == 5000);
}

TEST_CASE("numbers are found where all hashes are one, and where the table's end is passed", "[tokenizers]") {
  const std::uint64_t hash = GENERATE(0u, ~std::uint64_t{0});
  NumberIndex index(100);
  for (std::uint32_t number = 0; number < 100; ++number) index.put(hash, number, [&](std::uint32_t other) { return other == number; });
  for (std::uint32_t number = 0; number < 100; ++number)
    CHECK(index.find(hash, [&](std::uint32_t other) { return other == number; }) == static_cast<std::int32_t>(number));
  CHECK(index.find(hash, [](std::uint32_t) { return false; }) == -1);
  CHECK(NumberIndex().find(hash, [](std::uint32_t) { return true; }) == -1);
}

}  // namespace
}  // namespace quantfleet
