// Commands as programs, in a folder with a small model and a text.
#pragma once

#include "tests/paths.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace quantfleet::test {

inline const std::string kBin = binary_dir().string() + "/bin/";

// tiny.gguf, F16 with a context of 96 tokens, text.txt, and an empty folder called "folder". Gone with the process.
class CommandFolder {
 public:
  CommandFolder() : path(std::filesystem::temp_directory_path() / ("quantfleet_command_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path / "folder");
    const std::string make = kBin + "make_random_model " + (path / "tiny.gguf").string() +
                             " --format F16 --width 256 --layers 1 --feed-forward 512 --heads 4 --kv-heads 2 --vocabulary 400 --context 96";
    if (std::system(make.c_str()) != 0) std::filesystem::remove_all(path);
    std::ofstream text(path / "text.txt");
    for (int i = 0; i < 120; ++i) text << "the number " << i * i << '\n';
  }
  ~CommandFolder() { std::filesystem::remove_all(path); }

  const std::filesystem::path path;
};

inline const CommandFolder& command_folder() {
  static const CommandFolder kFolder;
  return kFolder;
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int code;
  std::string out, error;
};

// In the folder. before: variables, or what limits the program; to: where stdout goes.
inline Outcome run_command(const std::string& arguments, const std::string& before = "", const std::string& to = "out") {
  const std::filesystem::path& folder = command_folder().path;
  const std::string command = fmt::format("cd {} && {} {}quantfleet {} >{} 2>error </dev/null", folder.string(), before, kBin, arguments, to);
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), to == "out" ? contents(folder / "out") : "", contents(folder / "error")};
}

}  // namespace quantfleet::test
