// One agent's side of the conversation as a state machine: takes an event and the time, returns what should be done.
//
//   connecting --Registered--> idle --GrantLease--> running --RunnerFinished--> idle
//        ^                      |                      |
//        +------Refused---------+----------------------+      (a running lease goes on while the agent registers again)
//   DrainRequested: draining (finishes its lease, takes no other) --nothing running, outbox empty--> gone
//
// Does no I/O and asks no clock: sockets, files and processes belong to agent.cc, which performs a Decision in the order
// of its fields. Every message may arrive twice, late or never. Rows go through the outbox, everything else may be lost.
#pragma once

#include "contract/messages.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace quantfleet::agent {

using Time = std::chrono::milliseconds;  // monotonic, since any origin

enum class SessionState { kConnecting, kIdle, kRunning, kDraining, kGone };
std::string_view name_of(SessionState state);  // "connecting"

// ---- events ---------------------------------------------------------------------------------------------------------

struct Tick {};
struct Received { CoordinatorMessage message; };
struct DrainRequested {};
struct OutboxChanged { bool empty = true; bool full = false; };

// Of the runner that carries out a lease. Events of a lease that is no longer held are ignored.
struct RunnerProgressed { UnitId unit; LeaseEpoch epoch{}; int items_done = 0; };
struct RowsMeasured { UnitId unit; LeaseEpoch epoch{}; std::vector<ItemResult> rows; };
struct RunnerFinished { UnitFinished result; };  // its sequence is not set yet

using Event = std::variant<Tick, Received, DrainRequested, OutboxChanged, RunnerProgressed, RowsMeasured, RunnerFinished>;

// ---- what to do about one, in this order ----------------------------------------------------------------------------

using Durable = std::variant<ResultBatch, UnitFinished>;  // numbered, stored and sent by the outbox

struct Decision {
  bool stop_runner = false;                        // end the running lease's processes, report nothing of it
  std::vector<Durable> store;                      // first write ...
  std::optional<std::uint64_t> acknowledged;       // the outbox forgets up to here
  bool resend_outbox = false;                      // the coordinator is new: what is waiting is sent again now
  std::vector<AgentMessage> send;                  // ... then send
  std::optional<GrantLease> start;                 // carry this out
  std::optional<Registered> registered;            // where artifacts are
  std::optional<Error> stop;                       // the agent cannot go on: not admitted, wrong protocol
  bool gone = false;                               // drained: end the program
};

struct SessionOptions {
  Register registration;
  Time register_retry = Time(500);       // doubles up to register_retry_max
  Time register_retry_max = Time(5000);
};

class Session {
 public:
  explicit Session(SessionOptions options) : options_(std::move(options)), retry_(options_.register_retry) {}

  Decision on(const Event& event, Time now);

  SessionState state() const;
  const std::optional<GrantLease>& lease() const { return lease_; }
  Time next_tick() const { return next_tick_; }            // on(Tick) has nothing to do before
  Register& registration() { return options_.registration; }  // e.g. the artifacts cached by now

 private:
  void on(const Tick&, Time now, Decision& decision);
  void on(const Received& event, Time now, Decision& decision);
  void on(const DrainRequested&, Time now, Decision& decision);
  void on(const OutboxChanged& event, Time now, Decision& decision);
  void on(const RunnerProgressed& event, Time now, Decision& decision);
  void on(const RowsMeasured& event, Time now, Decision& decision);
  void on(const RunnerFinished& event, Time now, Decision& decision);

  void on(const Registered& message, Time now, Decision& decision);
  void on(const GrantLease& message, Time now, Decision& decision);
  void on(const Acknowledge& message, Time now, Decision& decision);
  void on(const CancelLease& message, Time now, Decision& decision);
  void on(const Refused& message, Time now, Decision& decision);

  void beat(Time now, Decision& decision);
  void leave_when_drained(Decision& decision);
  bool holds(const UnitId& unit, LeaseEpoch epoch) const;
  void remember_ended(const UnitId& unit, LeaseEpoch epoch);

  SessionOptions options_;
  bool registered_ = false;
  bool draining_ = false;
  bool gone_ = false;
  bool outbox_empty_ = true;
  bool outbox_full_ = false;
  Time retry_;
  Time heartbeat_interval_ = Time(2000);
  Time next_tick_ = Time::min();
  std::optional<GrantLease> lease_;
  int items_done_ = 0;
  std::deque<std::pair<UnitId, LeaseEpoch>> ended_;  // a doubled grant of one of these is not carried out again
};

}  // namespace quantfleet::agent
