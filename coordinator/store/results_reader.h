// The read-only side of the results database: what reports, tables and `results --json` are made from. Rows as they were
// measured, joined with the lease that measured them; nothing here averages. Safe to use while a coordinator writes.
#pragma once

#include "contract/device.h"
#include "contract/error.h"
#include "contract/ids.h"
#include "contract/item_result.h"
#include "contract/job_spec.h"
#include "contract/messages.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// Times are seconds since 1970-01-01 UTC; 0 means "not yet".
struct RunSummary {
  JobId id;
  std::string name;
  std::string plan_json;    // canonical; job_spec_from_json reads it
  std::string plan_sha256;  // equal for equal questions
  double submitted_at = 0;
  double finished_at = 0;   // when its last unit ended
  std::string status;       // derived from the units: "waiting" | "running" | "done" | "failed" | "cancelled"
  std::map<std::string, int> units_by_state;  // blocked, queued, leased, done, failed, cancelled
};

// An agent and the machine it runs on.
struct DeviceRow {
  AgentId agent;
  std::string name;                           // "desk-1"
  std::map<std::string, std::string> labels;
  std::string program_version;
  Device device;                              // agents of one machine share device.host_id
  std::map<std::string, std::string> selftest;
  double last_seen_at = 0;
};

struct UnitRow {
  UnitId id;
  std::string kind;         // "quantize" | "reference_logits" | "accuracy" | "timing"
  std::string purpose;      // "measure" | "spot_check"
  std::string state;        // blocked, queued, leased, done, failed, cancelled
  std::string model;        // the plan's name for it
  std::string format;       // as in the plan, "as-is" included; of reference logits: the baseline
  std::string activations;  // as in the plan: "f32" | "int8" | "default"; empty for quantize
  std::string kv;           // "f32" | "f16" | "q8_0" | "q4_0"; empty for quantize
  std::string suite;        // empty for quantize and timing
  std::string suite_sha256;
  std::string host_id;      // the only machine that may run it; empty: any
  int items = 0;            // rows it must deliver
  int rows = 0;             // rows it has delivered
  int attempts = 0;
  std::string reason;       // why it failed or was cancelled: "not run: bubblewrap is not installed"
  std::string artifact_sha256;
  double finished_at = 0;
};

// Who measured: every row belongs to one lease. The provenance is empty until the lease has ended.
struct LeaseRow {
  UnitId unit;
  LeaseEpoch epoch{};
  AgentId agent;
  std::string agent_name;
  std::string host_id;
  double granted_at = 0, ended_at = 0;
  std::string outcome;      // "done" | "failed" | "expired" | "refused" | "cancelled"; empty while it runs
  Provenance provenance;
  std::vector<TelemetrySeries> telemetry;
};

struct ResultRow {
  std::size_t unit = 0;     // index into RunResults::units
  std::size_t lease = 0;    // index into RunResults::leases
  ItemResult item;
};

struct ModelArtifact {      // a quantized (or converted) model of the run
  std::string model, format;
  Artifact artifact;        // facts: "bits_per_weight", "seconds", ... as the agent reported them
};

struct RunResults {
  RunSummary run;
  std::vector<DeviceRow> devices;       // that held a lease in this run
  std::vector<SuiteInfo> suites;        // of the plan, in its order: area, chance, version, hash
  std::vector<UnitRow> units;           // in the order of expansion
  std::vector<LeaseRow> leases;
  std::vector<ResultRow> rows;          // by unit, then by item index
  std::vector<ModelArtifact> artifacts; // in the plan's order of models and formats
};

// How often an item's mark in some format differed from the baseline's in the same run, either way.
struct ItemFlips {
  int index = 0;            // in the suite's seeded order
  std::string item;
  int comparisons = 0, flips = 0;
};

class ResultsReader {
 public:
  virtual ~ResultsReader() = default;
  virtual Result<std::vector<RunSummary>> runs() = 0;                   // newest first
  virtual Result<RunSummary> find_run(std::string_view name) = 0;       // an id, a unique prefix of one, or "latest"
  virtual Result<RunResults> read_run(const JobId& run) = 0;
  virtual Result<RunResults> read_progress(const JobId& run) = 0;       // the same without rows, leases and telemetry: cheap
  // Over all runs of this version of the suite, by index. Runs of the UTC day of `now` do not count for the models (submitted files' hashes) of
  // `left_out`; with now 0 all count.
  virtual Result<std::vector<ItemFlips>> item_flips(std::string_view suite, std::string_view suite_sha256, const std::vector<std::string>& left_out,
                                                    double now) = 0;
  virtual Result<std::vector<DeviceRow>> devices() = 0;                 // all that ever registered, last seen first
};

// kNotFound where there is no such file, kBadMagic or kBadVersion where it is not a results database or a newer program's. An older
// program's is read through an upgraded copy; only a coordinator upgrades the file itself.
Result<std::unique_ptr<ResultsReader>> open_results(const std::filesystem::path& database);

}  // namespace quantfleet
