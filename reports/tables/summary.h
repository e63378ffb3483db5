// From rows to one line per (model, format, activations, KV cache): selection and pairing of what is comparable, then statistics.
//
// Comparable means: the same item of the same suite (equal suite hash), the same activations kind as asked, baseline and
// candidate from one program version. An item enters a comparison only when both sides answered it; errors are counted.
// Accuracy rows of several devices: engines are bit-identical on CPUs, so an item measured on any device counts once
// (the first device by name); where further devices measured it too, their logits digests must agree, and those
// that do not are reported as device damage, never averaged away.
#pragma once

#include "reports/statistics/paired.h"
#include "reports/tables/aggregates.h"
#include "reports/tables/area_verdicts.h"
#include "reports/tables/chosen_items.h"
#include "reports/tables/fresh_twins.h"
#include "reports/tables/run_results.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::reports {

// A number that may be unmeasurable here; then `reason` says why and no number exists.
struct Measured {
  std::optional<double> value;
  double standard_error = 0;
  std::string reason;
};

struct Speed {                                // from timing rows of one device
  std::string device;
  std::string kernels;
  int repetitions = 0;
  bool ran_alone = false;
  Measured prefill_tokens_per_s, decode_tokens_per_s;       // medians over repetitions
  statistics::Interval prefill_range, decode_range;          // min and max
  Measured first_token_ms_p50, first_token_ms_p95;
  Measured inter_token_ms_p50, inter_token_ms_p95;
  Measured peak_memory_bytes;
  Measured energy_j_per_token;
};

struct SuiteScore {
  SuiteInfo suite;
  int items = 0, errors = 0;
  bool sampled = false;                       // the items that tell most: accuracy is the weighted estimate, and nothing else is a mean
  statistics::Estimate accuracy;              // suites with right answers; count 0: no item was answered, and no number exists
  std::optional<statistics::AreaRetention> against_baseline;
  std::vector<Aggregate> aggregates;          // further numbers of its rows
  std::map<std::string, Aggregate> groups;    // accuracy by group of items
  bool unanswered = false;                    // every item failed, of this line or of the baseline: there is nothing to compare
  std::string not_compared;                   // why its items are no pairs with the baseline's, where they are not
  Verdict verdict = Verdict::kUnknown;        // of this suite alone; UNKNOWN where its items cannot carry one
};

struct FormatSummary {
  std::string model, format, activations, kv = "f32";
  bool is_baseline = false;
  std::string model_sha256, lora, engine, program_version;
  Measured bits_per_weight, size_bytes;
  std::vector<SuiteScore> suites;             // in the plan's order, text suites excluded
  std::map<std::string, statistics::Estimate> area_accuracy;  // by area; several suites of an area: their items together; absent: no item was answered
  std::optional<statistics::PooledRetention> pooled;          // absent for the baseline itself
  std::map<std::string, std::vector<Aggregate>> texts;        // by text suite: the numbers of its rows (word perplexity, ...)
  Measured perplexity;                        // exp(sum of nll / tokens) over the rolling suites
  Measured kl_divergence;                     // mean per token, nats
  Measured kl_divergence_p99;
  Measured top1_agreement;
  Measured delta_p;                           // mean per token: probability of the right token minus the reference's
  std::vector<Speed> speeds;                  // one per device
  int items = 0, errors = 0;
  std::vector<std::string> failed_items;      // a sentence for each suite of which items have no answer

  bool unanswered() const;                    // right answers were asked for, and no item was answered
};

struct DigestMismatch {
  std::string suite, item, format, device_a, device_b;
};

struct RunSummary {
  std::string run, name, status, created, baseline;
  std::vector<std::string> areas;             // in the order of columns
  std::vector<FormatSummary> formats;         // baseline first, then the plan's order, per model and activations
  std::vector<SuiteInfo> suites;
  std::vector<DeviceFacts> devices;
  std::vector<DigestMismatch> mismatches;     // devices that computed other logits for the same item
  int digests_compared = 0;
  std::vector<std::string> notes;             // suites not run and why, failed units
  std::optional<UntilVerdict> until;          // the run was to end with verdicts; each format's verdict then joins its areas'
  std::vector<AreaVerdict> area_verdicts;     // with `until`
  std::vector<ChosenLine> chosen;             // suites of which the items that tell most were measured
  std::vector<TwinLine> twins;                // static items against fresh ones, within the run
  std::vector<TwinNights> twin_nights;        // between two runs; summarize_against only
};

RunSummary summarize(const RunResults& results);

// The same of a candidate run against a baseline run: every (model, format, activations, KV cache) of `candidate` against the same of
// `baseline`. Rows that cannot be compared (other suite hash, other activations, another KV cache) are named in `notes`.
RunSummary summarize_against(const RunResults& baseline, const RunResults& candidate);

}  // namespace quantfleet::reports
