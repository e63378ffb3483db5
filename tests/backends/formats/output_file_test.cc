// What writing a whole file does to what is there already.
#include "backends/formats/output_file.h"
#include "tests/folder.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::Folder, test::contents;

TEST_CASE("a file takes its name when it is finished, and leaves nothing where it is not", "[formats]") {
  const Folder folder;
  std::ofstream(folder / "model") << "before";
  {
    OutputFile file(folder / "model");
    REQUIRE(file.open().has_value());
    REQUIRE(file.put("half", 4).has_value());
    REQUIRE(file.flush().has_value());
    CHECK(contents(folder / "model") == "before");
  }
  CHECK(contents(folder / "model") == "before");
  CHECK(folder.count_files() == 1);
  REQUIRE(write_file(folder / "model", "after").has_value());
  CHECK(contents(folder / "model") == "after");
  CHECK(folder.count_files() == 1);
}

TEST_CASE("a symbolic link stays, what it points to is written", "[formats]") {
  const Folder folder;
  fs::create_directory(folder / "models");
  SECTION("there is a file at its end") { std::ofstream(folder / "models/real") << "before"; }
  SECTION("there is none yet") {}
  fs::create_symlink("models/real", folder / "link");
  fs::create_symlink("link", folder / "link of the link");
  REQUIRE(write_file(folder / "link of the link", "after").has_value());
  CHECK(fs::is_symlink(folder / "link of the link"));
  CHECK(fs::is_symlink(folder / "link"));
  CHECK_FALSE(fs::is_symlink(folder / "models/real"));
  CHECK(contents(folder / "models/real") == "after");
}

TEST_CASE("links that go round in a circle are an error", "[formats]") {
  const Folder folder;
  fs::create_symlink("b", folder / "a");
  fs::create_symlink("a", folder / "b");
  CHECK_FALSE(write_file(folder / "a", "x").has_value());
  CHECK(fs::is_symlink(folder / "a"));
}

TEST_CASE("a FIFO, as a device, is written and stays what it is", "[formats]") {
  const Folder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  SECTION("by its own name") {}
  SECTION("behind a link") { fs::create_symlink("pipe", folder / "link"); }
  const fs::path name = fs::exists(folder / "link") ? folder / "link" : folder / "pipe";
  std::string read;
  std::thread reader([&] { read = contents(folder / "pipe"); });
  const Status written = write_file(name, "through");
  if (!written) std::ofstream(folder / "pipe").close();  // the reader must end
  reader.join();
  CHECK(written.has_value());
  CHECK(read == "through");
  CHECK(fs::is_fifo(folder / "pipe"));
}

TEST_CASE("a folder in the place of a file, and a folder that is missing, are bad input", "[formats]") {
  const Folder folder;
  fs::create_directory(folder / "models");
  for (const fs::path& path : {folder / "models", folder / "models/", folder / "none/model"}) {
    const Status written = write_file(path, "x");
    REQUIRE_FALSE(written.has_value());
    CAPTURE(written.error().detail);
    CHECK(exit_code(written.error().code) == 2);
    CHECK(written.error().detail.starts_with(path.string() + ": "));
  }
  CHECK(fs::is_empty(folder / "models"));
}

}  // namespace
}  // namespace quantfleet
