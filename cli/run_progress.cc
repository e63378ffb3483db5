#include "cli/run_progress.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <ctime>

namespace quantfleet::cli {

std::string duration_words(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string local_time(double seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  return fmt::format("{:%Y-%m-%d %H:%M}", parts);
}

std::string progress_line(const nlohmann::json& run) {
  int units = 0, ended = 0;
  for (const auto& [state, count] : run["units"].items()) {
    units += count.get<int>();
    if (state == "done" || state == "failed" || state == "cancelled") ended += count.get<int>();
  }
  std::string line = fmt::format("{}  {}  {:3.0f} %  {}/{} units", run["id"].get<std::string>(), run["status"].get<std::string>(),
                                 std::floor(100 * run.value("done_ratio", 0.0)), ended, units);
  if (run.contains("eta_seconds") && run["eta_seconds"].is_number())
    line += "  about " + duration_words(run["eta_seconds"].get<double>()) + " left";
  return line;
}

std::string progress_table(const nlohmann::json& run) {
  std::string text = progress_line(run) + "\n";
  for (const auto& kind : run["progress"]) {
    text += fmt::format("  {:<17} {:>4} done {:>4} running {:>4} waiting", kind["kind"].get<std::string>(), kind["done"].get<int>(),
                        kind["leased"].get<int>(), kind["queued"].get<int>() + kind["blocked"].get<int>());
    if (kind["failed"] != 0) text += fmt::format(" {:>4} failed", kind["failed"].get<int>());
    if (kind["cancelled"] != 0) text += fmt::format(" {:>4} not run", kind["cancelled"].get<int>());
    if (kind["items"] != 0) text += fmt::format("   {}/{} rows", kind["rows"].get<int>(), kind["items"].get<int>());
    text += "\n";
  }
  int shown = 0;
  for (const auto& problem : run["problems"]) {
    if (++shown > 10) {
      text += fmt::format("  ... and {} more\n", run["problems"].size() - 10);
      break;
    }
    text += fmt::format("  {} {}: {}\n", problem["unit"].get<std::string>(), problem["state"].get<std::string>(),
                        problem["reason"].get<std::string>());
  }
  return text;
}

}  // namespace quantfleet::cli
