// The commands that measure accuracy and judge it, as programs with the reference model: JSON against its schema, exit codes.
#include "tests/paths.h"
#include "tests/json_schema.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("quantfleet_evaluation_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

struct Outcome {
  int code;
  std::string out, error;
};

Outcome run_in(const Folder& folder, const std::string& arguments) {
  const fs::path out = folder.path / "out", error = folder.path / "error";
  const int status = std::system(fmt::format("cd {} && {}/bin/quantfleet {} >{} 2>{} </dev/null", folder.path.string(), test::binary_dir().string(),
                                             arguments, out.string(), error.string()).c_str());
  const auto contents = [](const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents(out), contents(error)};
}

void check_schema(const std::string& name, const nlohmann::json& value) {
  const auto violations = test::schema_violations(name, value);
  CAPTURE(name, violations);
  CHECK(violations.empty());
}

const std::string kModel = (test::source_dir() / "models/reference/reference.gguf").string();

}  // namespace

TEST_CASE("evaluate prints what its schema says, a row per item", "[cli]") {
  const Folder folder;
  const Outcome outcome = run_in(folder, "evaluate " + kModel + " --suite knowledge math text --limit 5 --json");
  INFO(outcome.error);
  REQUIRE(outcome.code == 0);
  check_schema("evaluate", nlohmann::json::parse(outcome.out));
}

TEST_CASE("gate passes a run against itself, is undecided about one too small, and fails one that is worse", "[cli]") {
  const Folder folder;
  const auto measure = [&](const std::string& name, int limit, const std::string& model = kModel) {
    std::ofstream(folder.path / (name + ".yaml")) << fmt::format(
        "name: {}\nmodels: [{{name: reference, path: {}}}]\nformats: [F16, Q8_0]\nbaseline: F16\nsuites: [{{name: math, limit: {}}}]\n", name,
        model, limit);
    const Outcome outcome = run_in(folder, fmt::format("run {}.yaml --db results.db", name));
    INFO(outcome.error);
    REQUIRE(outcome.code == 0);
  };
  const auto gate = [&](const std::string& baseline, const std::string& candidate, int code, const std::string& expected) {
    const Outcome outcome = run_in(folder, fmt::format("gate --baseline {} --candidate {} --db results.db --json", baseline, candidate));
    CAPTURE(baseline, candidate, outcome.error, outcome.out);
    CHECK(outcome.code == code);
    const auto json = nlohmann::json::parse(outcome.out);
    check_schema("gate", json);
    CHECK(json["outcome"] == expected);
  };
  measure("whole", 300);
  measure("small", 3);
  REQUIRE(run_in(folder, "quantize " + kModel + " coarse.gguf --format Q2_K").code == 0);
  REQUIRE(run_in(folder, "convert coarse.gguf damaged.gguf --format f16").code == 0);
  measure("damaged", 300, "damaged.gguf");
  gate("whole", "whole", 0, "pass");
  gate("small", "small", 3, "undecided");
  gate("whole", "damaged", 1, "fail");
  const Outcome unknown = run_in(folder, "gate --baseline whole --candidate nowhere --db results.db --json");
  CHECK(unknown.code == 2);
  CHECK(unknown.error.find("nowhere") != std::string::npos);
}

}  // namespace quantfleet
