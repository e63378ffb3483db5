// Where the oracle and the data sets are: QUANTFLEET_SHARED, default ../shared. Users do not have them, so a test that
// needs one skips aloud; in CI (CI=true) a missing folder is a failure, not a skip.
#pragma once

#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace quantfleet::test {

inline std::filesystem::path shared_root() {
  const char* root = std::getenv("QUANTFLEET_SHARED");
  return root ? std::filesystem::path(root) : shared_default();
}

// True when `relative` exists below the shared folder; otherwise says so, and fails in CI.
inline bool has_shared(const std::string& relative) {
  if (std::filesystem::exists(shared_root() / relative)) return true;
  const char* ci = std::getenv("CI");
  if (ci && std::string(ci) == "true") FAIL("CI must have " << (shared_root() / relative));
  WARN("skipped: " << (shared_root() / relative) << " is absent (set QUANTFLEET_SHARED)");
  return false;
}

// Oracle files are zstd-compressed: unpacks FILE.zst or FILE.tar.zst below the build folder once and returns the place
// (the file without .zst, or the folder named like the archive).
inline std::filesystem::path unpacked(const std::string& relative) {
  namespace fs = std::filesystem;
  const fs::path source = shared_root() / relative;
  const bool is_tar = relative.ends_with(".tar.zst");
  std::string stem = relative.substr(0, relative.size() - (is_tar ? 8 : 4));
  for (char& c : stem)
    if (c == '/') c = '_';
  const fs::path target = test::binary_dir() / "oracle" / stem;
  if (fs::exists(target)) return target;
  fs::create_directories(target.parent_path());
  const fs::path temporary = target.string() + ".tmp" + std::to_string(::getpid());
  std::string command = is_tar ? "mkdir -p '" + temporary.string() + "' && tar --zstd -xf '" + source.string() + "' -C '" + temporary.string() + "'"
                               : "zstd -q -d -f -o '" + temporary.string() + "' '" + source.string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  std::error_code busy;
  fs::rename(temporary, target, busy);  // another test process may have been first
  if (busy) fs::remove_all(temporary);
  return target;
}

}  // namespace quantfleet::test
