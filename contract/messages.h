// What coordinator and agent say to each other over the control socket: one JSON document per ZeroMQ message, and binary
// chunks over the artifact socket. docs/protocol.md has an example of each and says what happens on loss and repeat.
// Every message may arrive twice or never. The sender is known by its CURVE key, never by what a message claims.
#pragma once

#include "contract/device.h"
#include "contract/error.h"
#include "contract/ids.h"
#include "contract/item_result.h"
#include "contract/job_spec.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantfleet {

inline constexpr int kProtocolVersion = 3;  // 2: rows keep what was asked and answered; suites travel with a run. 3: adapters, engines, token probes
inline constexpr std::size_t kMessageBytesMax = 8u << 20;
inline constexpr std::size_t kChunkBytes = 1u << 20;     // one artifact chunk
inline constexpr int kChunkCredits = 8;                  // chunks an agent may have asked for and not yet received

// ---- the work of one unit -------------------------------------------------------------------------------------------

// IN model file -> OUT model file in `format`; the result's hash is the unit's artifact.
struct QuantizeWork {
  std::string model_sha256;
  std::string format;
  std::optional<FormatRecipe> recipe{};    // where the format's name does not say all; its files are artifacts
  bool operator==(const QuantizeWork&) const = default;
};

// An adapter on the model of a lease.
struct LoraUse {
  std::string sha256;
  double scale = 1;
  bool operator==(const LoraUse&) const = default;
};

// Logits of the baseline on a rolling suite -> an artifact that divergence is computed against.
struct ReferenceLogitsWork {
  std::string model_sha256;
  std::string suite;
  int item_begin = 0, item_end = 0;
  std::string activations;
  std::string suite_bundle_sha256;         // where the suite travels with the run; empty: the agent has it
  std::vector<LoraUse> lora;
  bool operator==(const ReferenceLogitsWork&) const = default;
};

// Items [item_begin, item_end) of a suite -> rows.
struct AccuracyWork {
  std::string model_sha256;
  std::string format;
  std::string activations;
  std::string kv = "f32";
  std::string suite;
  int item_begin = 0, item_end = 0;
  std::vector<int> items;                  // spot check: these indices instead of the range; empty otherwise
  std::string reference_logits_sha256;     // rolling suites; empty: no divergence
  double item_seconds = 60;
  std::uint64_t choice_seed = 0;           // not 0: the choices in another order, drawn from this seed
  std::string suite_bundle_sha256;         // where the suite travels with the run; empty: the agent has it
  bool needs_sandbox = false;              // such a suite runs code
  std::vector<LoraUse> lora;
  std::string engine;                      // of the ones that the agent announced; empty: our own
  std::string token_probes_sha256;         // what the engine is checked with before anything is computed; empty: nothing
  bool operator==(const AccuracyWork&) const = default;
};

// Repetitions of prefill and decode, alone on the host -> rows.
struct TimingWork {
  std::string model_sha256;
  std::string format;
  std::string activations;
  std::string kv = "f32";
  TimingSpec timing;
  std::vector<LoraUse> lora;
  bool operator==(const TimingWork&) const = default;
};

using Work = std::variant<QuantizeWork, ReferenceLogitsWork, AccuracyWork, TimingWork>;
std::string_view kind_of(const Work& work);  // "quantize" | "reference_logits" | "accuracy" | "timing"

struct Artifact {
  std::string sha256;
  std::uint64_t size_bytes = 0;
  std::string kind;  // "model" | "reference_logits" | "suite"
  std::map<std::string, double> facts;  // e.g. "bits_per_weight", "seconds"; shown in tables
  bool operator==(const Artifact&) const = default;
};

// ---- agent to coordinator -------------------------------------------------------------------------------------------

struct Register {
  int protocol_version = kProtocolVersion;
  std::string name;                         // "desk-1"
  std::map<std::string, std::string> labels;
  std::string program_version;
  Device device;
  std::vector<std::string> formats;         // names that `quantize` accepts; "GPTQ-*": all that begin so
  std::vector<std::string> engines;
  std::vector<SuiteInfo> suites;
  std::map<std::string, std::string> selftest;  // "Q4_0/int8/prefill67" -> digest
  std::vector<std::string> artifacts;       // hashes already in the cache
  bool operator==(const Register&) const = default;
};

struct RunningLease {
  UnitId unit;
  LeaseEpoch epoch{};
  int items_done = 0;
  bool operator==(const RunningLease&) const = default;
};

struct Heartbeat {
  std::optional<RunningLease> running;      // renews this lease
  bool draining = false;                    // finishes, takes no more
  bool operator==(const Heartbeat&) const = default;
};

struct ResultBatch {
  UnitId unit;
  LeaseEpoch epoch{};
  std::uint64_t sequence = 0;               // per agent, ascending, survives restarts (outbox)
  std::vector<ItemResult> rows;
  bool operator==(const ResultBatch&) const = default;
};

struct UnitFinished {
  UnitId unit;
  LeaseEpoch epoch{};
  std::uint64_t sequence = 0;               // after every ResultBatch of the unit
  std::optional<Error> error;               // set: the unit failed as a whole, and this is the evidence
  bool retryable = false;                   // with error: another attempt may succeed
  std::optional<Artifact> artifact;         // of quantize and reference-logits units, already stored at the coordinator
  Provenance provenance;
  std::vector<TelemetrySeries> telemetry;
  bool operator==(const UnitFinished&) const = default;
};

struct LeaseRefused {                       // e.g. busy, draining, or not enough disk
  UnitId unit;
  LeaseEpoch epoch{};
  std::string reason;
  bool operator==(const LeaseRefused&) const = default;
};

struct Goodbye { bool operator==(const Goodbye&) const = default; };

// ---- coordinator to agent -------------------------------------------------------------------------------------------

struct Registered {
  double heartbeat_seconds = 2;
  std::string artifact_endpoint;            // tcp://...; an empty host means the host of the control socket
  bool operator==(const Registered&) const = default;
};

struct GrantLease {
  UnitId unit;
  LeaseEpoch epoch{};
  double expires_in_seconds = 30;
  std::uint64_t seed = 1;
  Work work;
  bool operator==(const GrantLease&) const = default;
};

struct Acknowledge {                        // everything of this agent up to and including `sequence` is committed
  std::uint64_t sequence = 0;
  bool operator==(const Acknowledge&) const = default;
};

struct CancelLease {
  UnitId unit;
  LeaseEpoch epoch{};
  std::string reason;
  bool operator==(const CancelLease&) const = default;
};

struct Refused {                            // the registration, or any message before one: register (again)
  Error error;
  bool operator==(const Refused&) const = default;
};

using AgentMessage = std::variant<Register, Heartbeat, ResultBatch, UnitFinished, LeaseRefused, Goodbye>;
using CoordinatorMessage = std::variant<Registered, GrantLease, Acknowledge, CancelLease, Refused>;

std::string encode(const AgentMessage& message);
std::string encode(const CoordinatorMessage& message);
Result<AgentMessage> decode_agent_message(std::string_view bytes);
Result<CoordinatorMessage> decode_coordinator_message(std::string_view bytes);

// A lease also travels from the agent to its runner process, and rows back, as lines of the same JSON.
std::string encode(const GrantLease& lease);
Result<GrantLease> decode_grant_lease(std::string_view bytes);
std::string encode(const ItemResult& row);
Result<ItemResult> decode_item_result(std::string_view bytes);
std::string encode(const Provenance& provenance);
Result<Provenance> decode_provenance(std::string_view bytes);
std::string encode(const Artifact& artifact);
Result<Artifact> decode_artifact(std::string_view bytes);
std::string encode(const Work& work);
Result<Work> decode_work(std::string_view bytes);

// ---- artifact socket (agent asks, coordinator answers; at most kChunkCredits questions open) --------------------------

struct FetchChunk { std::string sha256; std::uint64_t offset_bytes = 0; };                        // -> Chunk
struct StoreChunk { std::string sha256; std::uint64_t offset_bytes = 0, size_bytes = 0; std::string kind; std::string bytes; };  // -> ChunkStored
struct Chunk { std::string sha256; std::uint64_t offset_bytes = 0, size_bytes = 0; std::string bytes; };
struct ChunkStored { std::string sha256; std::uint64_t offset_bytes = 0; bool complete = false; };  // complete: whole and hash verified
struct ArtifactRefused { std::string sha256; Error error; };

using ArtifactRequest = std::variant<FetchChunk, StoreChunk>;
using ArtifactReply = std::variant<Chunk, ChunkStored, ArtifactRefused>;

// Two ZeroMQ frames: a JSON header, then the raw bytes (empty where none).
struct Frames { std::string header, bytes; };
Frames encode(const ArtifactRequest& request);
Frames encode(const ArtifactReply& reply);
Result<ArtifactRequest> decode_artifact_request(std::string_view header, std::string_view bytes);
Result<ArtifactReply> decode_artifact_reply(std::string_view header, std::string_view bytes);

}  // namespace quantfleet
