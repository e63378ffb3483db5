// A unit: the smallest piece of a run that is leased. Its states and the transitions between them, all pure.
//
//   blocked --all it needs is done--> queued --grant--> leased --all rows in--> done
//      |                                ^                 |  |---fatal error--> failed
//      |                                |<--expired, nack-'  |
//      `--what it needs failed--> cancelled <----cancel------'        attempts used up: failed
//
// The words are the ones in schema, messages, API and pages.
#pragma once

#include "contract/error.h"
#include "contract/ids.h"
#include "contract/messages.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantfleet::coordinator {

// Wall-clock time in milliseconds: it is stored, and a restarted coordinator must still understand it.
using Time = std::chrono::sys_time<std::chrono::milliseconds>;

constexpr double seconds_of(Time time) { return static_cast<double>(time.time_since_epoch().count()) / 1000.0; }
inline Time time_of(double seconds) { return Time(std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000.0 + 0.5))); }

struct Blocked { bool operator==(const Blocked&) const = default; };
struct Queued { bool operator==(const Queued&) const = default; };
struct Leased {
  AgentId agent;
  std::string host_id;
  Time granted_at;
  Time expires_at;
  bool operator==(const Leased&) const = default;
};
struct Done { bool operator==(const Done&) const = default; };
struct Failed {
  std::string reason;
  bool operator==(const Failed&) const = default;
};
struct Cancelled {
  std::string reason;
  bool operator==(const Cancelled&) const = default;
};

using UnitState = std::variant<Blocked, Queued, Leased, Done, Failed, Cancelled>;
std::string_view name_of(const UnitState& state);  // "blocked" ...

template <class State>
bool is(const UnitState& state) { return std::holds_alternative<State>(state); }
inline bool is_final(const UnitState& state) { return is<Done>(state) || is<Failed>(state) || is<Cancelled>(state); }

// A lease that ended without a result: queued again while attempts are left, else failed.
UnitState after_lost_lease(int attempts, int attempts_max, const std::string& reason);
// Nothing happens before the deadline.
UnitState on_tick(const UnitState& state, Time now, int attempts, int attempts_max);

inline constexpr std::string_view kMeasure = "measure";
inline constexpr std::string_view kSpotCheck = "spot_check";

struct Unit {
  UnitId id;
  JobId job;
  int ordinal = 0;                      // order of expansion within the job
  Work work;                            // of the submitted model; the grant puts in what model_from and reference_from made
  std::string model;                    // the plan's name
  std::string format;                   // as in the plan
  std::string activations;
  std::string kv;                       // empty for quantize
  std::string suite_sha256;             // the version of the suite that the job was expanded for
  std::string purpose{kMeasure};        // or kSpotCheck
  std::string host_id;                  // the only machine that may run it; empty: any
  std::optional<UnitId> model_from;     // its artifact is the model to run
  std::optional<UnitId> reference_from; // its artifact holds the reference logits
  int items = 0;                        // rows it must deliver
  int attempts_max = 3;
  double lease_seconds = 30;
  std::uint64_t seed = 1;

  UnitState state = Blocked{};
  LeaseEpoch epoch{};                   // of the current or the next lease; rows of an older one are refused
  int attempts = 0;                     // leases that were granted
  int refusals = 0;                     // leases that agents did not take
  Time queued_since{};
  Artifact artifact;                    // of done quantize and reference-logits units

  bool operator==(const Unit&) const = default;
};

bool is_timing(const Unit& unit);
std::string_view suite_of(const Work& work);   // empty for quantize and timing
std::string model_hash_of(const Work& work);

}  // namespace quantfleet::coordinator
