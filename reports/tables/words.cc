#include "reports/tables/words.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::reports {

std::string say_percent(double ratio, int decimals) { return fmt::format("{:.{}f} %", 100 * ratio, decimals); }

std::string say_bytes(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.2f} MB", bytes / 1e6);
  if (bytes >= 1e3) return fmt::format("{:.1f} kB", bytes / 1e3);
  return fmt::format("{:.0f} B", bytes);
}

std::string say_retention(const FormatSummary& summary) {
  if (summary.unanswered()) return "n/a";
  if (summary.is_baseline) return "baseline";
  if (!summary.pooled) return "n/a";
  if (!summary.pooled->retention) return "not measurable";
  return fmt::format("{:.1f} % [{:.1f}, {:.1f}]", 100 * *summary.pooled->retention, 100 * summary.pooled->retention_interval.low,
                     100 * summary.pooled->retention_interval.high);
}

std::string say_flips(int lost, int gained) { return fmt::format("−{} / +{}", lost, gained); }

std::string say(const Measured& measured, const char* format) {
  if (!measured.value) return "n/a";
  const std::string text = fmt::format(fmt::runtime(format), *measured.value);
  return text.starts_with('-') && text.find_first_not_of("-0.") == std::string::npos ? text.substr(1) : text;  // an estimate just below 0
}

std::string say_verdict(const FormatSummary& summary) {
  const bool undecidable = summary.unanswered() || (!summary.pooled && std::any_of(summary.suites.begin(), summary.suites.end(), [](const SuiteScore& s) { return s.unanswered; }));
  if (undecidable) return std::string(name_of(Verdict::kUnknown));
  if (summary.is_baseline) return "baseline";
  if (!summary.pooled) return "n/a";
  return std::string(name_of(summary.pooled->verdict));
}

}  // namespace quantfleet::reports
