// quantfleet inspect, quantize and convert as a script sees them: JSON that its schema describes, exit codes, one sentence.
#include "tests/paths.h"
#include "tests/json_schema.h"

#include <catch2/catch.hpp>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

namespace {

struct Outcome {
  int exit_code;
  std::string out, err;
};

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "quantfleet-cli-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Outcome run(const Folder& folder, const std::string& arguments) {
  const char* program = std::getenv("QUANTFLEET_PROGRAM");  // default: the one beside this test
  const std::string command = "'" + std::string(program ? program : (quantfleet::test::binary_dir() / "bin/quantfleet").string()) + "' " + arguments + " >'" +
                              (folder.path / "out").string() + "' 2>'" + (folder.path / "err").string() + "'";
  const int status = std::system(command.c_str());
  REQUIRE(WIFEXITED(status));
  return {WEXITSTATUS(status), read_text(folder.path / "out"), read_text(folder.path / "err")};
}

// One F32 matrix and one Q8_0 vector, also a seed of the fuzzer.
const std::string kModel = "'" + (quantfleet::test::source_dir() / "tests/fuzz/corpus/gguf/two_tensors.gguf").string() + "'";

bool is_one_sentence(const std::string& text) {
  return text.starts_with("quantfleet: ") && !text.empty() && text.find('\n') == text.size() - 1;
}

}  // namespace

TEST_CASE("inspect prints JSON as its schema says", "[cli]") {
  const Folder folder;
  const Outcome outcome = run(folder, "inspect " + kModel + " --json --hashes");
  REQUIRE(outcome.exit_code == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(quantfleet::test::schema_violations("inspect", json).empty());
  CHECK(json["architecture"] == "llama");
  CHECK(json["parameters"] == 40);
  CHECK(json["metadata"]["arr"]["count"] == 2);
  CHECK(json["tensors"][1]["format"] == "Q8_0");
  CHECK(run(folder, "inspect " + kModel).out.find("a.weight") != std::string::npos);
}

TEST_CASE("quantize and convert print JSON as its schema says, and the file is there", "[cli]") {
  const Folder folder;
  for (const std::string command : {"quantize", "convert"}) {
    const Outcome outcome = run(folder, command + " " + kModel + " '" + (folder.path / "o.gguf").string() + "' --format F16 --threads 2 --json");
    CAPTURE(outcome.err);
    REQUIRE(outcome.exit_code == 0);
    const auto json = nlohmann::json::parse(outcome.out);
    CHECK(quantfleet::test::schema_violations("quantize", json).empty());
    CHECK(json["output_bytes"] == std::filesystem::file_size(folder.path / "o.gguf"));
  }
  CHECK(nlohmann::json::parse(run(folder, "inspect '" + (folder.path / "o.gguf").string() + "' --json").out)["tensors"][0]["format"] == "F16");
}

TEST_CASE("bad input is one sentence and exit code 2", "[cli]") {
  const Folder folder;
  const std::string out = " '" + (folder.path / "o.gguf").string() + "'";
  std::ofstream(folder.path / "bad.gguf") << "GGUX not a model";
  const std::string bad = "'" + (folder.path / "bad.gguf").string() + "'";
  for (const std::string& arguments :
       {std::string("inspect /no/such/file"), "inspect " + bad, "quantize " + bad + out + " --format Q4_K_M",
        "quantize " + kModel + out + " --format Q9_X", "quantize " + kModel + out + " --format Q4_0 --rotate hadamard", "convert " + kModel + out + " --format f32 --rotate hadamard",
        "convert " + kModel + out + " --base " + kModel + " --rotate hadamard", "convert " + kModel + out + " --format q4_0",
        "convert '" + folder.path.string() + "'" + out + " --format f16"}) {
    const Outcome outcome = run(folder, arguments);
    CAPTURE(arguments, outcome.err);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
    CHECK(is_one_sentence(outcome.err));
  }
  CHECK_FALSE(std::filesystem::exists(folder.path / "o.gguf"));
}

TEST_CASE("an output folder that may not be written is exit code 4 or 2, and nothing stays", "[cli]") {
  const Folder folder;
  const Outcome outcome = run(folder, "quantize " + kModel + " /proc/o.gguf --format F16");
  CAPTURE(outcome.err);
  CHECK((outcome.exit_code == 4 || outcome.exit_code == 2));
  CHECK(is_one_sentence(outcome.err));
}
