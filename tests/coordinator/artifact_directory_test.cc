#include "coordinator/artifacts/artifact_directory.h"

#include "coordinator/jobs/job.h"

#include <catch2/catch.hpp>
#include <unistd.h>

using namespace quantfleet;
using namespace quantfleet::coordinator;

TEST_CASE("an artifact appears only when it is whole and its hash is right", "[artifacts]") {
  const auto root = std::filesystem::temp_directory_path() / ("quantfleet-artifacts-" + std::to_string(::getpid()));
  auto directory = ArtifactDirectory::open(root).value();
  const std::string hash = sha256_hex("hello world");
  CHECK_FALSE(directory->write("a", hash, 0, 11, "hello ").value());
  CHECK_FALSE(directory->contains(hash));
  SECTION("in two chunks, the first doubled") {
    CHECK_FALSE(directory->write("a", hash, 0, 11, "hello ").value());
    CHECK(directory->write("a", hash, 6, 11, "world").value());
    CHECK(directory->read(hash, 6, 100).value() == "world");
    CHECK(directory->read(hash, 12, 1).error().code == Code::kBadValue);
  }
  SECTION("a gap is refused") { CHECK(directory->write("a", hash, 7, 11, "orld").error().code == Code::kBadValue); }
  SECTION("wrong bytes are refused, and the upload may start again") {
    CHECK(directory->write("a", hash, 6, 11, "w0rld").error().code == Code::kHashMismatch);
    CHECK_FALSE(directory->contains(hash));
    CHECK(directory->write("a", hash, 0, 11, "hello world").value());
  }
  SECTION("a name that is no hash reaches no file") {
    CHECK_FALSE(directory->contains("../../etc/passwd"));
    CHECK(directory->read("../x", 0, 1).error().code == Code::kBadValue);
  }
  std::filesystem::remove_all(root);
}
