// Any bytes as a suite bundle: a folder with plain names below the root, or one sentence and nothing.
#include "suites/bundle.h"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  namespace fs = std::filesystem;
  static const fs::path folder = fs::temp_directory_path() / ("quantfleet-fuzz-bundle-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "x.suite", std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const Status status = unpack_suite_bundle(folder / "x.suite", folder / "root");
  if (!status && (status.error().detail.empty() || (fs::exists(folder / "root") && !fs::is_empty(folder / "root")))) __builtin_trap();
  fs::remove_all(folder);
  return 0;
}
