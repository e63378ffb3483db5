// One row per item: the only thing that agents measure and reports average.
#pragma once

#include "contract/error.h"
#include "contract/ids.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet {

// How one item went. A failed item is a row too: `error` set, `scores` empty.
//
// Scores by the kind of unit:
//   accuracy units      "accuracy" 0 or 1, or between where a rule says so (and "accuracy_norm" for multiple choice); of generated
//                       text also "truncated" (1: stopped by its length) and "no_answer" (1: no filter found an answer)
//   perplexity items    "nll" and "nll_squared" (sums, nats), "tokens"; with reference logits also "kl_divergence_sum",
//                       "kl_divergence_lower_sum", "kl_divergence_variance_sum" (request.h), "delta_p_sum",
//                       "delta_p_squared_sum", "top1_agreement_sum", "reference_nll"; kl_p99 is derived from per-token values in `series`
//   timing repetitions  "prefill_tokens_per_s", "decode_tokens_per_s", "first_token_ms", "inter_token_ms_p50",
//                       "inter_token_ms_p95", "peak_memory_bytes", "energy_j_per_token" (absent when not measurable)
struct ItemResult {
  ItemId item;
  int index = 0;                       // position in the suite's order
  std::map<std::string, double> scores;
  std::map<std::string, std::vector<float>> series;  // per-token values, e.g. "kl_divergence"
  int prompt_tokens = 0;
  int generated_tokens = 0;
  double first_token_ms = 0;
  double total_ms = 0;
  std::string output;                  // raw text or chosen index
  std::string group;                   // the item's group in its suite (MMLU's subject); empty where the suite has none
  std::string prompt;                  // what the model read; empty for rolling items, whose text is the item's
  std::vector<std::int32_t> prompt_token_ids;
  std::string request_sha256;          // of all that was asked (canonical_text in contract/response_record.h): equal for every
                                       // variant, or the rows are no pair; empty where nothing was asked
  std::string response;                // what the engine answered besides `output` (contract/response_record.h): scores can be
                                       // computed again from both; empty where nothing was answered
  std::string logits_digest;
  std::optional<Error> error;

  bool operator==(const ItemResult&) const = default;
};

// What produced the rows of one lease: equal for all of them, stored once per lease.
struct Provenance {
  std::string program_version;   // "0.1.0+<git hash>"
  std::string model_sha256;      // of the file that was run
  std::string format;            // "Q4_K_M"
  std::string activations;       // "f32" | "int8"; empty, as kv: a server does not say
  std::string kv;                // what the KV cache held: "f32" | "f16" | "q8_0" | "q4_0"
  std::string lora;              // adapters in use: "SHA256" or "SHA256:SCALE" each, commas between; empty: none
  std::string engine;            // "native"
  std::string kernels;           // "avx512_vnni"
  std::string suite;             // name; empty for timing and quantize units
  std::string suite_version;
  std::string suite_sha256;
  std::string host_id;
  int threads = 0;
  std::uint64_t seed = 0;
  bool ran_alone = false;        // held the host-wide lock

  bool operator==(const Provenance&) const = default;
};

// One telemetry series over a lease. A reading that does not exist here has coverage 0 and says why: never a made-up value.
struct TelemetrySeries {
  std::string name;      // "cpu_temperature_c", "cpu_frequency_mhz", "energy_j", "peak_memory_bytes"
  std::string source;    // "powercap:intel-rapl:0", "nvml:0", "wait4:ru_maxrss"
  double coverage = 0;   // share of the lease's time with readings, 0..1
  double mean = 0, min = 0, max = 0, total = 0;  // total: for counters such as energy_j
  std::string reason;    // why coverage is 0, in one sentence

  bool operator==(const TelemetrySeries&) const = default;
};

}  // namespace quantfleet
