// A plan: which models in which formats, asked which suites, under which limits. YAML in (people), JSON in and out (wire).
// The canonical text (JSON, sorted keys, defaults filled in) is hashed, so the same question asked twice is recognised.
#pragma once

#include "contract/aggregation.h"
#include "contract/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantfleet {

// A LoRA adapter on a model, a GGUF adapter file.
struct LoraSpec {
  std::string path;    // a file the submitter can read; empty once it is an artifact
  std::string sha256;  // filled in by the submitter
  double scale = 1;    // times the adapter's own

  bool operator==(const LoraSpec&) const = default;
};

struct ModelSpec {
  std::string name;    // short, used in tables: [A-Za-z0-9._-]{1,64}
  std::string path;    // a file the submitter can read; empty once it is an artifact
  std::string sha256;  // of the file; filled in by the submitter
  std::vector<LoraSpec> lora;  // applied to every format of it, in this order
  // Answers come from an engine of this name that agents announce; then `path` is a file with the model's tokenizer and chat template.
  std::string engine;          // empty: our own
  std::string token_probes_sha256;  // of the file of texts and ids that engines are checked with; filled in by the submitter, or empty

  bool operator==(const ModelSpec&) const = default;
};

// How a format of the plan is made where its name alone does not say it: a variant with a calibration text, an importance matrix, a
// budget, or another setting than the usual. What `quantfleet quantize` does with the same options (docs/formats/quantizers.md).
struct FormatRecipe {
  std::string name;             // of the plan's format
  std::string format;           // as of `quantize --format`; empty: budget_bpw
  double budget_bpw = 0;        // bits per weight, each tensor's format by measured loss
  std::string text, imatrix;    // files the submitter can read; empty once they are artifacts
  std::string text_sha256, imatrix_sha256;
  int context = 512;            // tokens of a window of the text
  int chunks = 128;             // at most so many windows; 0: all
  std::uint64_t seed = 0;       // chooses them
  int group_size = 0;           // 0: the format's
  double damping = 0.01;        // GPTQ
  bool mse = false;             // GPTQ
  bool round_to_nearest = false;
  double bpw = 4;               // EXL2: bits per weight
  double smoothquant = 0;       // w8a8-static: alpha
  bool rotate = false;          // a Hadamard rotation of the model before anything else
  std::uint64_t rotate_seed = 0;
  std::vector<std::string> candidates;  // of a budget; empty: the usual ones

  bool operator==(const FormatRecipe&) const = default;
};

// What a suite is, as the coordinator needs to know it without linking `suites`.
struct SuiteInfo {
  std::string name;
  std::string version;
  std::string sha256;       // over task file and items
  std::string area;         // "reasoning" | "coding" | "math" | "language" | "knowledge" | "safety" | "text"
  std::string kind;         // "loglikelihood" | "generate" | "code" | "rolling"
  int items = 0;
  double chance = 0;        // the better of 1/choices and the best constant answer
  std::string not_runnable; // why this device cannot run it (no sandbox); empty when it can
  std::vector<Aggregation> aggregation;  // which numbers its rows become; empty: all that they allow. No part of the hash

  bool operator==(const SuiteInfo&) const = default;
};

// An item of a sample, with the probability that it was chosen: the inverse is its weight.
struct ChosenItem {
  int index = 0;           // in the suite's seeded order
  double probability = 1;

  bool operator==(const ChosenItem&) const = default;
};

struct SuiteSpec {
  std::string name;
  int limit = 0;  // first `limit` items in the suite's seeded order; 0 = all
  std::uint64_t choice_seed = 0;  // not 0: each item's choices in another order, drawn from this seed and the item
  // Of a suite that is not built in (imported or made by hand): task and items as one artifact (suites/bundle.h), and what is in
  // it. Filled in by the submitter, both or neither; without them the suite is one that agents have.
  std::string bundle_sha256;
  std::optional<SuiteInfo> info;
  int most_telling = 0;            // not 0: so many items, those likelier that flipped often in earlier runs
  std::vector<ChosenItem> chosen;  // which, by ascending index; filled in when the run is submitted

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

// Items are handed out until each (model, format, device, area) is decided, or all of the suites' items are used
// (docs/statistics.md, sequential verdicts).
struct UntilVerdict {
  double margin = 0.02;  // of accuracy: a loss below it is the same
  double level = 0.05;   // chance of a wrong SAME, and of a wrong WORSE, in each area

  bool operator==(const UntilVerdict&) const = default;
};

// Beside each suite that has them (contract/twins.h) its fresh twins, with the same items limit.
struct FreshTwins {
  std::uint64_t seed = 0;  // 0: the day of submission, UTC, as 20261125

  bool operator==(const FreshTwins&) const = default;
};

struct JobSpec {
  std::string name;
  std::uint64_t seed = 1;
  std::vector<ModelSpec> models;
  std::vector<std::string> formats;      // "F16", "Q4_K_M", ...; "as-is" runs the file unchanged
  std::vector<FormatRecipe> recipes;     // of those formats that have one
  std::string baseline;                  // one of `formats`
  std::vector<std::string> activations;  // "f32" | "int8" | "default" (numerics: int8 for quantized GGUF types)
  std::vector<std::string> kv{"f32"};    // what the KV cache holds: "f32" | "f16" | "q8_0" | "q4_0"; the first is the baseline's
  std::vector<SuiteSpec> suites;
  AccuracyPolicy accuracy = AccuracySpotCheck{};
  TimingSpec timing;
  LimitSpec limits;
  std::optional<UntilVerdict> until;     // absent: every item
  std::optional<FreshTwins> twins;

  bool operator==(const JobSpec&) const = default;
  const FormatRecipe* recipe_of(std::string_view format) const;  // nullptr: its name says all
};

// `place` names the source in errors ("plans/demo.yaml"); they carry line and field. Unknown keys, duplicate keys, wrong
// types and values outside their limits are refused. YAML keys are the field names above; `accuracy: once | every_device |
// {spot_check: K}`; `timing: off` or a map; a format is a name or a recipe; a model's `lora` is a path, or a list of
// paths and {path, scale}; a suite is a name or {name, limit, choice_seed, most_telling}; `until: verdict` or a map;
// `twins: nightly` or {seed: N}.
Result<JobSpec> job_spec_from_yaml(std::string_view yaml, std::string_view place);
Result<JobSpec> job_spec_from_json(std::string_view json, std::string_view place);
std::string canonical_json(const JobSpec& spec);

}  // namespace quantfleet
