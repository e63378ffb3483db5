// What `submit --wait`, `status` and `runs` print of a run, from the API's JSON.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace quantfleet::cli {

std::string progress_line(const nlohmann::json& run);     // "demo-20261123-1a2b3c  running  43 %  12/80 units  about 3 min left"
std::string progress_table(const nlohmann::json& run);    // a line per kind of unit, then what went wrong
std::string duration_words(double seconds);               // "42 s", "3 min", "1.4 h"
std::string local_time(double seconds);                   // "2026-11-23 12:04"

}  // namespace quantfleet::cli
