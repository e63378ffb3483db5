// The coordinator's whole logic without sockets, SQL or clock: takes an event and the time, returns what to write and what
// to send. The shell (service.cc, in_process.h, the simulation) performs a decision in one order: first write, in one
// transaction, then send. Every message may arrive twice, late or never:
//
//   grant lost          the agent's heartbeats do not mention the lease: it is sent again, same epoch
//   heartbeats lost     the lease expires, the unit is queued again with a higher epoch
//   rows doubled        stored by (unit, item): harmless, acknowledged again
//   rows of an old epoch  refused, counted, acknowledged (so that the outbox forgets them); the lease is cancelled there
//   acknowledgement lost  the agent sends its message again
//   coordinator restarted  rebuilt from the store; unknown agents are told to register and go on with their leases
//
// One agent holds at most one lease. Not thread-safe: one thread owns it.
#pragma once

#include "contract/messages.h"
#include "coordinator/jobs/expand.h"
#include "coordinator/jobs/item_choice.h"
#include "coordinator/jobs/job.h"
#include "coordinator/jobs/unit.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/scheduler/verdicts.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace quantfleet::coordinator {

// ---- what to write --------------------------------------------------------------------------------------------------------

struct AgentRegistered { AgentId agent; Register registration; Time at{}; };
struct AgentSeen { AgentId agent; Time at{}; };
struct JobSubmitted { Job job; std::vector<Unit> units; };
struct JobCancelled { JobId job; };
struct LeaseGranted { Unit unit; AgentId agent; std::string host_id; Time granted_at{}; Time expires_at{}; };
struct LeaseRenewed { UnitId unit; LeaseEpoch epoch{}; Time expires_at{}; };
// The unit's new state (never Leased), epoch and attempts. `outcome` ends the lease `ended_epoch`, if there was one.
struct UnitChanged {
  Unit unit;
  std::optional<LeaseEpoch> ended_epoch;
  std::string outcome;  // "done" | "failed" | "expired" | "refused" | "cancelled"
  Provenance provenance;
  std::vector<TelemetrySeries> telemetry;
  Time at{};
};
struct RowsStored { UnitId unit; LeaseEpoch epoch{}; std::vector<ItemResult> rows; };

using StoreWrite =
    std::variant<AgentRegistered, AgentSeen, JobSubmitted, JobCancelled, LeaseGranted, LeaseRenewed, UnitChanged, RowsStored>;

// ---- what to send ----------------------------------------------------------------------------------------------------------

struct Send {
  AgentId to;
  CoordinatorMessage message;
};

struct Decision {
  std::vector<StoreWrite> write;
  std::vector<Send> send;
};

// ---- what the store gives back at a start ---------------------------------------------------------------------------------

struct Snapshot {
  std::vector<Job> jobs;                               // with units that are not final
  std::vector<Unit> units;                             // all units of those jobs
  std::map<UnitId, std::set<std::string>> items_in;    // of leased units: items stored under the current epoch
  std::map<UnitId, ItemScores> scores;                 // of jobs until a verdict: what leased and done accuracy units have scored
  std::map<AgentId, Register> agents;                  // as last registered; they are offline until they register again
};

struct Options {
  double heartbeat_seconds = 2;
  double agent_silence_seconds = 10;       // without a message: offline, gets no lease
  double hold_seconds = 5;                 // an agent that refused a lease is not asked again before
  int refusals_max = 50;                   // then the unit fails with the reason
  double host_patience_seconds = 600;      // units bound to a machine that nobody has seen for so long are cancelled
  std::string artifact_endpoint;
  SchedulerOptions scheduler;
  std::shared_ptr<const StoppingRule> stopping_rule;   // without one, plans that ask for a verdict are refused
  std::shared_ptr<const ItemChooser> item_chooser;     // likewise for plans that ask for the items that tell most
};

// For /metrics.
struct Counters {
  std::map<std::string, std::uint64_t> rows_by_suite;      // "" = timing
  std::map<std::string, std::uint64_t> rows_refused_by_reason;
  std::uint64_t leases_expired = 0;
};

struct AgentStatus {
  AgentId id;
  Register registration;
  Time last_seen{};
  std::string state;                       // "idle" | "running" | "draining" | "offline"
  std::optional<RunningLease> running;
};

class Coordinator {
 public:
  explicit Coordinator(Options options) : options_(std::move(options)) {}
  void restore(Snapshot snapshot, Time now);

  // `artifact_present`: whether the artifact of a UnitFinished lies, verified, in the artifact directory.
  Decision on(const AgentId& from, const AgentMessage& message, bool artifact_present, Time now);
  Decision on_undecodable(const AgentId& from, const Error& error, Time now);
  Decision tick(Time now);                                  // call at least every second

  // Every model must have a sha256 whose artifact is present.
  Result<JobId> submit(const JobSpec& spec, Time now, Decision& decision);
  Status cancel(const JobId& job, Time now, Decision& decision);

  const std::map<JobId, Job>& jobs() const { return jobs_; }
  const std::map<UnitId, Unit>& units() const { return units_; }
  int items_in(const UnitId& unit) const;
  std::vector<AgentStatus> agents(Time now) const;
  const Counters& counters() const { return counters_; }
  Fleet fleet(Time now) const;                              // online agents

 private:
  struct Agent {
    Register registration;
    bool registered = false;                                // since this coordinator started
    bool draining = false;
    Time last_seen{};
    Time seen_written{};
    Time on_hold_until{};
    std::optional<UnitId> lease;
    bool lease_confirmed = false;                           // a message of the agent mentioned it
    Time grant_sent{};
    int items_done = 0;
  };

  void on(const AgentId& from, Agent& agent, const Register& message, Time now, Decision& decision);
  void on(const AgentId& from, Agent& agent, const Heartbeat& message, Time now, Decision& decision);
  void on(const AgentId& from, Agent& agent, const ResultBatch& message, Time now, Decision& decision);
  void on(const AgentId& from, Agent& agent, const UnitFinished& message, bool artifact_present, Time now, Decision& decision);
  void on(const AgentId& from, Agent& agent, const LeaseRefused& message, Time now, Decision& decision);
  void on(const AgentId& from, Agent& agent, const Goodbye& message, Time now, Decision& decision);

  Unit* current(const AgentId& from, const UnitId& unit, LeaseEpoch epoch);  // the unit, where that lease is the current one
  void cancel_lease_of(const AgentId& from, const UnitId& unit, LeaseEpoch epoch, std::string reason, Decision& decision);
  void renew(Unit& unit, Time now, Decision& decision);
  void release(Unit& unit);                                 // the agent no longer holds it
  void change(Unit& unit, UnitState state, std::string outcome, const UnitFinished* evidence, Time now, Decision& decision);
  void lose_lease(Unit& unit, const std::string& reason, std::string outcome, const UnitFinished* evidence, Time now, Decision& decision);
  void after_final(const Unit& unit, Time now, Decision& decision);          // dependents: queued or cancelled
  void stop_decided(const Unit& unit, Time now, Decision& decision);         // units that a verdict made needless: cancelled
  void watch_verdicts(const Job& job);
  Status choose_items(JobSpec& spec, const Fleet& fleet, Time now) const;
  void grant_all(Time now, Decision& decision);
  std::optional<GrantLease> grant_message(const Unit& unit) const;
  bool online(const Agent& agent, Time now) const;

  Options options_;
  std::map<JobId, Job> jobs_;
  std::map<UnitId, Unit> units_;
  std::map<UnitId, std::vector<UnitId>> dependents_;
  std::set<UnitId> queued_;
  std::set<UnitId> leased_;
  std::map<UnitId, std::set<std::string>> items_in_;
  std::map<UnitId, ItemScores> scores_;                     // of jobs in verdicts_
  std::map<JobId, Verdicts> verdicts_;
  std::map<AgentId, Agent> agents_;
  std::map<std::string, Time> host_seen_;
  Counters counters_;
  std::uint64_t salt_ = 0;
  Time started_{};
};

}  // namespace quantfleet::coordinator
