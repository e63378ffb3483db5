// A plan: which models in which formats, asked which suites, under which limits. YAML in (people), JSON in and out (wire).
// The canonical text (JSON, sorted keys, defaults filled in) is hashed, so the same question asked twice is recognised.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantfleet {

struct ModelSpec {
  std::string name;    // short, used in tables: [A-Za-z0-9._-]{1,64}
  std::string path;    // a file the submitter can read; empty once it is an artifact
  std::string sha256;  // of the file; filled in by the submitter

  bool operator==(const ModelSpec&) const = default;
};

struct SuiteSpec {
  std::string name;
  int limit = 0;  // first `limit` items in the suite's seeded order; 0 = all

  bool operator==(const SuiteSpec&) const = default;
};

// On bit-identical engines a score needs measuring once per lab (docs: numerics).
struct AccuracyOnce { bool operator==(const AccuracyOnce&) const = default; };
struct AccuracyEveryDevice { bool operator==(const AccuracyEveryDevice&) const = default; };
struct AccuracySpotCheck {
  int items = 32;  // each further device proves itself on this many seeded items by their logits digests
  bool operator==(const AccuracySpotCheck&) const = default;
};
using AccuracyPolicy = std::variant<AccuracyOnce, AccuracyEveryDevice, AccuracySpotCheck>;

struct TimingSpec {
  bool enabled = true;
  int prompt_tokens = 128;
  int generated_tokens = 32;
  int repetitions = 5;

  bool operator==(const TimingSpec&) const = default;
};

struct LimitSpec {
  int unit_items = 50;        // items per accuracy unit: small enough that losing one is cheap
  int attempts = 3;           // leases per unit before it fails
  double item_seconds = 60;   // longer is an item error
  double lease_seconds = 30;  // without a heartbeat the unit is queued again

  bool operator==(const LimitSpec&) const = default;
};

struct JobSpec {
  std::string name;
  std::uint64_t seed = 1;
  std::vector<ModelSpec> models;
  std::vector<std::string> formats;      // "F16", "Q4_K_M", ...; "as-is" runs the file unchanged
  std::string baseline;                  // one of `formats`
  std::vector<std::string> activations;  // "f32" | "int8" | "default" (numerics: int8 for quantized GGUF types)
  std::vector<std::string> kv{"f32"};    // what the KV cache holds: "f32" | "f16" | "q8_0" | "q4_0"; the first is the baseline's
  std::vector<SuiteSpec> suites;
  AccuracyPolicy accuracy = AccuracySpotCheck{};
  TimingSpec timing;
  LimitSpec limits;

  bool operator==(const JobSpec&) const = default;
};

// `place` names the source in errors ("plans/demo.yaml"); they carry line and field. Unknown keys, duplicate keys, wrong
// types and values outside their limits are refused. YAML keys are the field names above; `accuracy: once | every_device |
// {spot_check: K}`; `timing: off` or a map; a suite is a name or {name, limit}.
Result<JobSpec> job_spec_from_yaml(std::string_view yaml, std::string_view place);
Result<JobSpec> job_spec_from_json(std::string_view json, std::string_view place);
std::string canonical_json(const JobSpec& spec);

}  // namespace quantfleet
