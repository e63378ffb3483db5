// Commands as programs, in folders of their own.
#pragma once

#include "tests/folder.h"
#include "tests/json_schema.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace quantfleet::test {

inline const std::string kBin = binary_dir().string() + "/bin/";

struct Outcome {
  int code;
  std::string out, error;
};

struct CommandFolder : Folder {
  // quantfleet with these arguments, in the folder. before: variables, or what limits the program; to: where stdout goes.
  Outcome run(const std::string& arguments, const std::string& before = "", const std::string& to = "out") const {
    const int status = std::system(fmt::format("cd {} && {} {}quantfleet {} >{} 2>error </dev/null", path.string(), before, kBin, arguments, to).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), to == "out" ? contents(path / "out") : "", contents(path / "error")};
  }

  // What a command that must succeed prints.
  nlohmann::json json_of(const std::string& arguments) const {
    const Outcome outcome = run(arguments);
    CAPTURE(arguments, outcome.error);
    REQUIRE(outcome.code == 0);
    return nlohmann::json::parse(outcome.out);
  }
};

// One for all tests of a process, with tiny.gguf, F16 with a context of 96 tokens, text.txt, and an empty folder called "folder".
inline const CommandFolder& command_folder() {
  struct Filled : CommandFolder {
    Filled() {
      std::filesystem::create_directories(path / "folder");
      const std::string make = kBin + "make_random_model " + (path / "tiny.gguf").string() +
                               " --format F16 --width 256 --layers 2 --feed-forward 512 --heads 4 --kv-heads 2 --vocabulary 400 --context 96";
      if (std::system(make.c_str()) != 0) FAIL("no model");
      std::ofstream text(path / "text.txt");
      for (int i = 0; i < 120; ++i) text << "the number " << i * i << '\n';
    }
  };
  static const Filled kFolder;
  return kFolder;
}

inline Outcome run_command(const std::string& arguments, const std::string& before = "", const std::string& to = "out") {
  return command_folder().run(arguments, before, to);
}

inline bool is_one_sentence(const std::string& text) {
  return text.starts_with("quantfleet: ") && std::count(text.begin(), text.end(), '\n') == 1 && text.back() == '\n';
}

inline void check_schema(const std::string& name, const nlohmann::json& value) {
  const auto violations = schema_violations(name, value);
  CAPTURE(name, violations);
  CHECK(violations.empty());
}

}  // namespace quantfleet::test
