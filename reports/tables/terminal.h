// The table a run ends with: a row per format, the columns of docs/statistics.md, footnotes for what could not be measured.
#pragma once

#include "reports/tables/summary.h"

#include <string>

namespace quantfleet::reports {

// width: columns of the terminal, 0 when there is none. Where the whole table is wider, accuracy and speed become two.
std::string terminal_table(const RunSummary& summary, std::size_t width);

}  // namespace quantfleet::reports
