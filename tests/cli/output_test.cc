// Where a command's results go: files that are something else already, folders, a full disk behind stdout.
#include "tests/cli/command.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

using test::command_folder, test::contents, test::is_one_sentence, test::Outcome, test::run_command;

const auto writing_command = [] {
  return GENERATE("logits tiny.gguf --tokens 1,2 --out {}", "imatrix tiny.gguf --text text.txt --context 64 --out {}",
                  "perplexity tiny.gguf --text text.txt --context 64 --write-reference {}", "quantize tiny.gguf {} --format Q8_0",
                  "convert tiny.gguf {} --format f32", "report --grafana {}");
};

TEST_CASE("what a command writes goes through a FIFO, as through a device, which stays", "[cli]") {
  const std::string command = writing_command();
  CAPTURE(command);
  const fs::path pipe = command_folder().path / "pipe", got = command_folder().path / "got", plain = command_folder().path / "plain";
  fs::remove(pipe);
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  REQUIRE(run_command(fmt::format(fmt::runtime(command), "plain")).code == 0);
  const Outcome outcome = run_command(fmt::format(fmt::runtime(command), "pipe"), "{ timeout 60 cat pipe >got & } && timeout 60");
  CAPTURE(outcome.error);
  CHECK(outcome.code == 0);
  CHECK(fs::is_fifo(pipe));
  for (int i = 0; i < 500 && fs::file_size(got) < fs::file_size(plain); ++i) ::usleep(10'000);  // cat has its own end
  CHECK((contents(got) == contents(plain)));
}

TEST_CASE("what a command writes replaces a symbolic link's target, and the link stays", "[cli]") {
  const std::string command = writing_command();
  CAPTURE(command);
  fs::remove(command_folder().path / "link");
  fs::remove(command_folder().path / "real");
  fs::create_symlink("real", command_folder().path / "link");
  REQUIRE(run_command(fmt::format(fmt::runtime(command), "link")).code == 0);
  CHECK(fs::is_symlink(command_folder().path / "link"));
  CHECK(fs::file_size(command_folder().path / "real") > 50);
}

TEST_CASE("a missing folder, or a folder in place of the file, is bad input that names the file as given", "[cli]") {
  const std::string command = writing_command(), out = GENERATE("none/file", "folder", "folder/");
  const Outcome outcome = run_command(fmt::format(fmt::runtime(command), out));
  CAPTURE(command, out, outcome.error);
  CHECK(outcome.code == 2);
  CHECK(is_one_sentence(outcome.error));
  CHECK(outcome.error.starts_with("quantfleet: " + out + ": "));
}

TEST_CASE("raw logits and JSON do not mix on stdout", "[cli]") {
  CHECK(run_command("logits tiny.gguf --tokens 1,2 --out -").out.size() == 2 * 400 * 4);
  const Outcome outcome = run_command("logits tiny.gguf --tokens 1,2 --out - --json");
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(is_one_sentence(outcome.error));
}

TEST_CASE("a full disk behind stdout is one sentence and exit code 4, whatever the command", "[cli]") {
  std::ofstream(command_folder().path / "lines.jsonl") << "{\"text\": \"one\"}\n";
  for (const std::string command : {"version", "--version", "--help", "quantize --help", "logits tiny.gguf --tokens 1,2 --out -", "generate tiny.gguf --prompt one -n 4",
                                    "generate tiny.gguf --prompt one -n 4 --json", "perplexity tiny.gguf --text text.txt --context 64",
                                    "perplexity tiny.gguf --text text.txt --context 64 --json", "bench tiny.gguf -p 16 -n 2 -r 1", "bench tiny.gguf -p 16 -n 2 -r 1 --json",
                                    "tokenize tiny.gguf --jsonl lines.jsonl", "suites list", "suites list --json", "inspect tiny.gguf", "inspect tiny.gguf --json",
                                    "quantize tiny.gguf full.gguf --format Q8_0 --json", "report --grafana dashboard.json"}) {
    const Outcome outcome = run_command(command, "", "/dev/full");
    CAPTURE(command, outcome.error);
    CHECK(outcome.code == 4);
    CHECK(outcome.error.ends_with("quantfleet: standard output: writing failed: No space left on device\n"));
  }
}

TEST_CASE("key new and key show print what their schemas say", "[cli]") {
  for (const std::string command : {"new key --out keys", "show --state state"}) {
    if (command.starts_with("show")) {
      REQUIRE(run_command("key new coordinator --out state/keys").code == 0);
      REQUIRE(run_command("key new agent --out keys").code == 0);
      REQUIRE(run_command("key trust keys/agent.public --name agent --state state").code == 0);
    }
    const Outcome outcome = run_command("key " + command + " --json");
    CAPTURE(command, outcome.error);
    REQUIRE(outcome.code == 0);
    const auto violations = test::schema_violations(command.starts_with("new") ? "key_new" : "key_show", nlohmann::json::parse(outcome.out));
    CAPTURE(violations);
    CHECK(violations.empty());
  }
}

TEST_CASE("a list of admitted keys that is a symbolic link stays one", "[cli]") {
  fs::create_directories(command_folder().path / "linked/keys");
  fs::remove(command_folder().path / "linked/keys/trusted.keys");
  std::ofstream(command_folder().path / "admitted").close();
  fs::create_symlink("../../admitted", command_folder().path / "linked/keys/trusted.keys");
  REQUIRE(run_command("key new another --out linked").code == 0);
  REQUIRE(run_command("key trust linked/another.public --name another --state linked").code == 0);
  CHECK(fs::is_symlink(command_folder().path / "linked/keys/trusted.keys"));
  CHECK(contents(command_folder().path / "admitted").find(" another\n") != std::string::npos);
}

TEST_CASE("the name of an output folder may end in a slash", "[cli]") {
  const std::string command = GENERATE("quantize tiny.gguf {} --format w4a16", "quantize tiny.gguf {} --format GPTQ-4bit-g128 --text text.txt --context 64 --chunks 2",
                                       "key new name --out {}");
  CAPTURE(command);
  fs::remove_all(command_folder().path / "made");
  const Outcome outcome = run_command(fmt::format(fmt::runtime(command), "made/"));
  CAPTURE(outcome.error);
  CHECK(outcome.code == 0);
  CHECK_FALSE(fs::is_empty(command_folder().path / "made"));
}

}  // namespace
}  // namespace quantfleet
