// Where the suites are: QUANTFLEET_SUITES, else share/quantfleet/suites beside the program's bin folder, else the source tree.
#pragma once

#include <filesystem>

namespace quantfleet::cli {

std::filesystem::path default_suites_root();

}  // namespace quantfleet::cli
