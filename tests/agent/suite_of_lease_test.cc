#include "agent/runner/suite_of_lease.h"
#include "contract/twins.h"
#include "models/reference/corpus/suites.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = test::source_dir() / "suites/tasks";

TEST_CASE("a lease may name fresh twins: a suite in the original's order, with other questions", "[agent][twins]") {
  for (const std::string name : {"math", "reasoning"}) {
    CAPTURE(name);
    const auto original = agent::suite_of_lease(kRoot, name).value();
    const auto twin = agent::suite_of_lease(kRoot, twin_name(name, 7)).value(), again = agent::suite_of_lease(kRoot, twin_name(name, 7)).value();
    REQUIRE(twin->size() == original->size());
    CHECK(twin->info().name == name + "~7");
    CHECK(twin->info().sha256 != original->info().sha256);
    CHECK(twin->info().sha256 == again->info().sha256);
    CHECK(agent::suite_of_lease(kRoot, twin_name(name, 8)).value()->info().sha256 != twin->info().sha256);
    for (int i = 0; i < twin->size(); i += 37) CHECK(twin->item_id(i) == original->item_id(i));
  }
}

TEST_CASE("of a suite that is not the built-in one no twins are made", "[agent][twins]") {
  const fs::path root = fs::temp_directory_path() / fmt::format("quantfleet-twins-{}", ::getpid());
  fs::create_directories(root);
  fs::copy(kRoot / "math", root / "math", fs::copy_options::recursive);
  std::ofstream(root / "math/items.jsonl", std::ios::app) << "{\"id\": \"mine\", \"prompt\": \"1+1=\", \"target\": \"2\"}\n";
  CHECK(agent::suite_of_lease(root, "math").has_value());
  CHECK(agent::suite_of_lease(root, "math~7").error().code == Code::kHashMismatch);
  CHECK(agent::suite_of_lease(root, "coding~7").error().code == Code::kUnknownName);
  CHECK(agent::suite_of_lease(root, "knowledge~7").error().code == Code::kUnknownName);
  fs::remove_all(root);
}

}  // namespace
}  // namespace quantfleet
