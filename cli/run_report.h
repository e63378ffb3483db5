// From the results database to reports: the one place where stored rows become what reports/ averages. Shared by results,
// compare, report, gate, run and demo.
#pragma once

#include "contract/error.h"
#include "reports/tables/run_results.h"
#include "reports/tables/summary.h"

#include <CLI/CLI.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace quantfleet::cli {

// --db FILE (environment QUANTFLEET_DB; default results.db in the current folder).
void add_database_option(CLI::App& app, std::filesystem::path& database);

// `run`: an id, a unique prefix of one, or "latest".
Result<reports::RunResults> read_run(const std::filesystem::path& database, std::string_view run);

// Columns of the terminal on standard output, 0 when it is none.
std::size_t terminal_width();

// Writes directory/report/index.html and directory/results.json; returns the page's path.
Result<std::filesystem::path> write_run_files(const reports::RunSummary& summary, const std::filesystem::path& directory);

}  // namespace quantfleet::cli
