// A suite as one file: what goes in comes out, equal suites are equal bytes, and damaged or hostile bundles leave nothing behind.
#include "suites/bundle.h"
#include "suites/suite.h"
#include "tests/folder.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::Folder, test::contents;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

constexpr const char* kTask = R"(name: letters
version: "1"
area: knowledge
kind: loglikelihood
description: d
source: s
licence: MIT
items: imported.jsonl
import: {items: {files: [x.jsonl], id: "{{ id }}"}, count: 2}
prompt: "{{ q }}"
choices: ["a", "b"]
target_index: "{{ answer }}"
fewshot: {count: 1, items: shots.jsonl}
scorers: [multiple_choice]
)";

void write_suite(const fs::path& folder) {
  write(folder / "task.yaml", kTask);
  write(folder / "imported.jsonl", "{\"id\":\"1\",\"q\":\"x\",\"answer\":0}\n{\"id\":\"2\",\"q\":\"y\",\"answer\":1}\n");
  write(folder / "shots.jsonl", "{\"id\":\"s\",\"q\":\"z\",\"answer\":1}\n");
  write(folder / "README.md", "not needed to run it");
}

TEST_CASE("a suite comes out of its bundle with the same hash, and equal suites are equal bytes", "[bundle]") {
  const Folder folder;
  for (const char* root : {"a", "b"}) {
    write_suite(folder.path / root / "letters");
    REQUIRE(write_suite_bundle(folder.path / root / "letters", folder.path / (std::string(root) + ".suite")).has_value());
  }
  CHECK(has_items(folder.path / "a/letters"));
  CHECK(contents(folder.path / "a.suite") == contents(folder.path / "b.suite"));
  REQUIRE(unpack_suite_bundle(folder.path / "a.suite", folder.path / "out").has_value());
  REQUIRE(unpack_suite_bundle(folder.path / "a.suite", folder.path / "out").has_value());  // there already
  CHECK(load_suite(folder.path / "out/letters").value()->info() == load_suite(folder.path / "a/letters").value()->info());
  CHECK_FALSE(fs::exists(folder.path / "out/letters/README.md"));
  fs::remove(folder.path / "a/letters/shots.jsonl");
  CHECK_FALSE(write_suite_bundle(folder.path / "a/letters", folder.path / "none.suite").has_value());
  CHECK_FALSE(fs::exists(folder.path / "none.suite"));
  fs::remove(folder.path / "b/letters/imported.jsonl");
  CHECK_FALSE(has_items(folder.path / "b/letters"));
}

TEST_CASE("a bundle that is damaged or means harm is refused in a sentence and leaves nothing", "[bundle]") {
  const Folder folder;
  write_suite(folder.path / "a/letters");
  REQUIRE(write_suite_bundle(folder.path / "a/letters", folder.path / "good.suite").has_value());
  const std::string good = contents(folder.path / "good.suite");
  const auto refused = [&](const std::string& bytes, Code code) {
    write(folder.path / "bad.suite", bytes);
    const Status status = unpack_suite_bundle(folder.path / "bad.suite", folder.path / "out");
    CAPTURE(bytes.substr(0, 200));
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().code == code);
    CHECK(status.error().detail.find("bad.suite") != std::string::npos);
    CHECK((!fs::exists(folder.path / "out") || fs::is_empty(folder.path / "out")));
  };
  refused("", Code::kBadMagic);
  refused("GGUF", Code::kBadMagic);
  refused("[]\n", Code::kBadMagic);
  refused(std::string(100'000, '{'), Code::kBadMagic);
  refused(good.substr(0, good.size() - 1), Code::kBadShape);
  refused(good + "x", Code::kBadShape);
  refused(R"({"suite":"../x","files":[{"name":"task.yaml","bytes":0}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"../task.yaml","bytes":0}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"/etc/passwd","bytes":0}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"items.jsonl","bytes":0}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"task.yaml","bytes":0},{"name":"task.yaml","bytes":0}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"task.yaml","bytes":-1}]})" "\n", Code::kBadValue);
  refused(R"({"suite":"x","files":[{"name":"task.yaml","bytes":18446744073709551615},{"name":"y","bytes":100}]})" "\n", Code::kBadShape);
}

}  // namespace
}  // namespace quantfleet
