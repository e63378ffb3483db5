#include "cli/suites_root.h"

#include <cstdlib>

namespace quantfleet::cli {

std::filesystem::path default_suites_root() {
  if (const char* given = std::getenv("QUANTFLEET_SUITES"); given && *given) return given;
  std::error_code failure;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (!failure) {
    const std::filesystem::path installed = program.parent_path().parent_path() / "share/quantfleet/suites";
    if (std::filesystem::is_directory(installed, failure)) return installed;
  }
  return std::filesystem::path(QUANTFLEET_SOURCE_DIR) / "suites/tasks";
}

}  // namespace quantfleet::cli
