// Everything a report is made from: the rows of one run as the store holds them, nothing averaged. Whoever reads the store
// fills this in; reports know nothing of databases.
#pragma once

#include "contract/item_result.h"
#include "contract/job_spec.h"
#include "contract/messages.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::reports {

struct Row {
  std::string kind;         // "accuracy" | "timing"
  std::string device;       // agent name
  std::string model;        // the plan's name for it
  std::string format;
  std::string activations;  // "f32" | "int8", as used
  std::string kv = "f32";   // what the KV cache held
  std::string suite;        // empty for timing
  std::string kernels;
  std::string model_sha256; // of the file that was run
  std::string lora;         // adapters on it, as in Provenance
  std::string engine;       // "native", or the server that answered
  std::string suite_sha256;
  std::string program_version;
  bool ran_alone = false;
  ItemResult result;
};

// The file that a format was run from.
struct FormatFile {
  std::string model, format, sha256;
  std::uint64_t size_bytes = 0;
  double bits_per_weight = 0;     // 0: not recorded
  double quantize_seconds = 0;
};

struct Telemetry {
  std::string device, model, format, activations, kv = "f32";
  std::string kind;               // of the unit: "timing", "accuracy", "quantize"
  TelemetrySeries series;
};

struct DeviceFacts {
  std::string name;
  Device device;
  std::map<std::string, std::string> labels;
};

struct RunResults {
  std::string run;                // id
  std::string name;
  std::string status;             // derived from the units: "running", "done", "failed", "cancelled"
  std::string created;            // ISO 8601, UTC
  std::string baseline;           // format name
  std::string baseline_kv = "f32";           // the baseline's KV cache
  std::uint64_t seed = 1;
  std::vector<std::string> formats;          // the plan's order
  std::vector<SuiteInfo> suites;             // of the plan; `not_runnable` says why one was not run
  std::map<std::string, std::uint64_t> choice_seeds;  // by suite: where the plan puts options into another order
  std::vector<DeviceFacts> devices;
  std::vector<FormatFile> files;
  std::vector<Row> rows;
  std::vector<Telemetry> telemetry;
  std::vector<std::string> failures;         // one sentence per failed unit
  std::optional<UntilVerdict> until;         // the plan asked for verdicts
  int unit_items = 50;                       // items a unit: with `until`, the order in which items counted
  bool every_device = false;                 // accuracy: every_device
  std::map<std::string, std::map<int, double>> chosen;  // by suite: items that were chosen, with their probabilities; others: all
  std::vector<int> items_of;                 // of each of `suites`, after the plan's limit
};

}  // namespace quantfleet::reports
