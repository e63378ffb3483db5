// A folder of a test's own.
#pragma once

#include <catch2/catch.hpp>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace quantfleet::test {

// Empty at first; gone with the object.
class Folder {
 public:
  Folder() : path(made()) {}
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path operator/(std::string_view name) const { return path / name; }
  std::size_t count_files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
  }

  const std::filesystem::path path;

 private:
  static std::filesystem::path made() {
    std::string name = (std::filesystem::temp_directory_path() / "quantfleet-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) FAIL("no folder " << name);
    return name;
  }
};

// Of a file; nothing where there is none.
inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace quantfleet::test
