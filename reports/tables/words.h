// How numbers are said, in tables and pages alike: one place, so that both say the same.
#pragma once

#include "reports/tables/summary.h"

#include <string>

namespace quantfleet::reports {

std::string say_percent(double ratio, int decimals = 1);                  // "93.4 %"
std::string say_bytes(double bytes);                                      // "7.4 MB" (decimal units)
std::string say_retention(const FormatSummary& summary);                  // "98.7 % [97.9, 99.4]", "baseline", "not measurable"
std::string say_flips(int lost, int gained);                              // "−12 / +9"
std::string say(const Measured& measured, const char* format);            // value by an fmt format, or "n/a"
std::string say_verdict(const FormatSummary& summary);                    // "SAME"; "baseline"; "UNKNOWN" where either side answered nothing; "n/a"

}  // namespace quantfleet::reports
