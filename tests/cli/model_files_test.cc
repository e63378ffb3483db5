// quantfleet inspect, quantize and convert as a script sees them: JSON that its schema describes, exit codes, one sentence.
#include "tests/cli/command.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <string>

namespace {

using quantfleet::test::CommandFolder, quantfleet::test::is_one_sentence, quantfleet::test::Outcome;

// One F32 matrix and one Q8_0 vector, also a seed of the fuzzer.
const std::string kModel = "'" + (quantfleet::test::source_dir() / "tests/fuzz/corpus/gguf/two_tensors.gguf").string() + "'";

}  // namespace

TEST_CASE("inspect prints JSON as its schema says", "[cli]") {
  const CommandFolder folder;
  const Outcome outcome = folder.run("inspect " + kModel + " --json --hashes");
  REQUIRE(outcome.code == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(quantfleet::test::schema_violations("inspect", json).empty());
  CHECK(json["architecture"] == "llama");
  CHECK(json["parameters"] == 40);
  CHECK(json["metadata"]["arr"]["count"] == 2);
  CHECK(json["tensors"][1]["format"] == "Q8_0");
  CHECK(folder.run("inspect " + kModel).out.find("a.weight") != std::string::npos);
}

TEST_CASE("quantize and convert print JSON as its schema says, and the file is there", "[cli]") {
  const CommandFolder folder;
  for (const std::string command : {"quantize", "convert"}) {
    const Outcome outcome = folder.run(command + " " + kModel + " '" + (folder.path / "o.gguf").string() + "' --format F16 --threads 2 --json");
    CAPTURE(outcome.error);
    REQUIRE(outcome.code == 0);
    const auto json = nlohmann::json::parse(outcome.out);
    CHECK(quantfleet::test::schema_violations("quantize", json).empty());
    CHECK(json["output_bytes"] == std::filesystem::file_size(folder.path / "o.gguf"));
  }
  CHECK(nlohmann::json::parse(folder.run("inspect '" + (folder.path / "o.gguf").string() + "' --json").out)["tensors"][0]["format"] == "F16");
}

TEST_CASE("bad input is one sentence and exit code 2", "[cli]") {
  const CommandFolder folder;
  const std::string out = " '" + (folder.path / "o.gguf").string() + "'";
  std::ofstream(folder.path / "bad.gguf") << "GGUX not a model";
  const std::string bad = "'" + (folder.path / "bad.gguf").string() + "'";
  for (const std::string& arguments :
       {std::string("inspect /no/such/file"), "inspect " + bad, "quantize " + bad + out + " --format Q4_K_M",
        "quantize " + kModel + out + " --format Q9_X", "quantize " + kModel + out + " --format Q4_0 --rotate hadamard", "convert " + kModel + out + " --format f32 --rotate hadamard",
        "convert " + kModel + out + " --base " + kModel + " --rotate hadamard", "convert " + kModel + out + " --format q4_0",
        "convert '" + folder.path.string() + "'" + out + " --format f16"}) {
    const Outcome outcome = folder.run(arguments);
    CAPTURE(arguments, outcome.error);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(is_one_sentence(outcome.error));
  }
  CHECK_FALSE(std::filesystem::exists(folder.path / "o.gguf"));
}

TEST_CASE("an output folder that may not be written is exit code 4 or 2, and nothing stays", "[cli]") {
  const CommandFolder folder;
  const Outcome outcome = folder.run("quantize " + kModel + " /proc/o.gguf --format F16");
  CAPTURE(outcome.error);
  CHECK((outcome.code == 4 || outcome.code == 2));
  CHECK(is_one_sentence(outcome.error));
}
