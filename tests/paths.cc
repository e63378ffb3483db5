#include "tests/paths.h"

namespace quantfleet::test {

std::filesystem::path source_dir() { return QUANTFLEET_SOURCE_DIR; }
std::filesystem::path binary_dir() { return QUANTFLEET_BINARY_DIR; }
std::filesystem::path shared_default() { return QUANTFLEET_SHARED_DEFAULT; }

}  // namespace quantfleet::test
