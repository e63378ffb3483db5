// The HTML report: one file that needs nothing but a browser (Chart.js and the data are inside).
#pragma once

#include "contract/error.h"
#include "reports/tables/summary.h"

#include <filesystem>
#include <string>

namespace quantfleet::reports {

std::string html_page(const RunSummary& summary);

// Writes directory/index.html through a temporary file; creates the directory. Returns the path written.
Result<std::filesystem::path> write_html_report(const RunSummary& summary, const std::filesystem::path& directory);

}  // namespace quantfleet::reports
