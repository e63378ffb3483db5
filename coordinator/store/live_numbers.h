// The plain averages that /metrics and the page show while a run goes on. Not statements: those have intervals, and reports
// make them.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet::coordinator {

struct LiveAccuracy {
  std::string run, model, format, activations, kv, suite, area;
  int items = 0, errors = 0;
  double accuracy_ratio = 0;
  bool has_accuracy = false;  // perplexity items have none
};

struct LiveTiming {
  std::string run, device, model, format, kv;
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0, peak_memory_bytes = 0, energy_j_per_token = 0;
  bool has_energy = false;
};

struct LiveNumbers {
  std::vector<LiveAccuracy> accuracy;
  std::vector<LiveTiming> timing;
};

// Of the five latest runs.
Result<LiveNumbers> read_live_numbers(const std::filesystem::path& database);

}  // namespace quantfleet::coordinator
