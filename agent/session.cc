#include "agent/session.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::agent {
namespace {

constexpr std::size_t kEndedRemembered = 64;

}  // namespace

std::string_view name_of(SessionState state) {
  switch (state) {
    case SessionState::kConnecting: return "connecting";
    case SessionState::kIdle: return "idle";
    case SessionState::kRunning: return "running";
    case SessionState::kDraining: return "draining";
    case SessionState::kGone: return "gone";
  }
  return "gone";
}

SessionState Session::state() const {
  if (gone_) return SessionState::kGone;
  if (draining_) return SessionState::kDraining;
  if (!registered_) return SessionState::kConnecting;
  return lease_ ? SessionState::kRunning : SessionState::kIdle;
}

Decision Session::on(const Event& event, Time now) {
  Decision decision;
  if (gone_) return decision;
  std::visit([&](const auto& e) { on(e, now, decision); }, event);
  return decision;
}

// ---- time -----------------------------------------------------------------------------------------------------------

void Session::on(const Tick&, Time now, Decision& decision) {
  if (now < next_tick_) return;
  if (registered_) {
    beat(now, decision);
  } else {
    decision.send.push_back(options_.registration);
    next_tick_ = now + retry_;
    retry_ = std::min(2 * retry_, options_.register_retry_max);
  }
}

void Session::beat(Time now, Decision& decision) {
  Heartbeat heartbeat;
  heartbeat.draining = draining_;
  if (lease_) heartbeat.running = RunningLease{lease_->unit, lease_->epoch, items_done_};
  decision.send.push_back(heartbeat);
  next_tick_ = now + heartbeat_interval_;
}

// ---- messages -------------------------------------------------------------------------------------------------------

void Session::on(const Received& event, Time now, Decision& decision) {
  std::visit([&](const auto& message) { on(message, now, decision); }, event.message);
}

void Session::on(const Registered& message, Time now, Decision& decision) {
  heartbeat_interval_ = std::clamp(Time(static_cast<Time::rep>(message.heartbeat_seconds * 1000)), Time(50), Time(60'000));
  retry_ = options_.register_retry;
  registered_ = true;
  decision.registered = message;
  decision.resend_outbox = true;
  beat(now, decision);  // says at once which lease is still running here
}

void Session::on(const GrantLease& message, Time now, Decision& decision) {
  const auto refuse = [&](std::string reason) {
    decision.send.push_back(LeaseRefused{message.unit, message.epoch, std::move(reason)});
  };
  if (std::ranges::any_of(ended_, [&](const auto& e) { return e.first == message.unit && e.second >= message.epoch; }))
    return;  // a doubled or late message: that lease has ended, its result is in the outbox or acknowledged
  if (lease_ && lease_->unit == message.unit) {
    if (message.epoch <= lease_->epoch) return;  // a doubled or late message
    // The coordinator gave the lease up and granted the unit again: rows of the old epoch would be refused, so start over.
    remember_ended(lease_->unit, lease_->epoch);
    decision.stop_runner = true;
    lease_.reset();
  }
  if (draining_) return refuse("this agent is draining");
  if (lease_) return refuse(fmt::format("busy with unit {}", lease_->unit.value));
  if (outbox_full_) return refuse("the outbox is full: results wait to be acknowledged");
  lease_ = message;
  items_done_ = 0;
  decision.start = message;
  beat(now, decision);
}

void Session::on(const Acknowledge& message, Time, Decision& decision) { decision.acknowledged = message.sequence; }

void Session::on(const CancelLease& message, Time now, Decision& decision) {
  if (!holds(message.unit, message.epoch)) return;
  decision.stop_runner = true;
  remember_ended(message.unit, message.epoch);
  lease_.reset();
  beat(now, decision);
  leave_when_drained(decision);
}

void Session::on(const Refused& message, Time now, Decision& decision) {
  if (message.error.code == Code::kNotAdmitted || message.error.code == Code::kBadVersion) {
    decision.stop = message.error;
    return;
  }
  // The coordinator does not know this agent (it was restarted, or forgot a silent one): register again at once, but not
  // faster than the retry interval when every registration is refused. The running lease goes on.
  if (registered_) {
    registered_ = false;
    decision.send.push_back(options_.registration);
    next_tick_ = now + retry_;
  }
}

// ---- the runner -----------------------------------------------------------------------------------------------------

void Session::on(const RunnerProgressed& event, Time, Decision&) {
  if (holds(event.unit, event.epoch)) items_done_ = event.items_done;
}

void Session::on(const RowsMeasured& event, Time, Decision& decision) {
  if (!holds(event.unit, event.epoch) || event.rows.empty()) return;
  items_done_ += static_cast<int>(event.rows.size());
  decision.store.push_back(ResultBatch{event.unit, event.epoch, 0, event.rows});
}

void Session::on(const RunnerFinished& event, Time now, Decision& decision) {
  if (!holds(event.result.unit, event.result.epoch)) return;
  remember_ended(event.result.unit, event.result.epoch);
  decision.store.push_back(event.result);
  outbox_empty_ = false;
  lease_.reset();
  if (registered_) beat(now, decision);
}

// ---- the end --------------------------------------------------------------------------------------------------------

void Session::on(const OutboxChanged& event, Time, Decision& decision) {
  outbox_empty_ = event.empty;
  outbox_full_ = event.full;
  leave_when_drained(decision);
}

void Session::on(const DrainRequested&, Time now, Decision& decision) {
  if (draining_) return;
  draining_ = true;
  leave_when_drained(decision);
  if (!gone_ && registered_) beat(now, decision);
}

void Session::leave_when_drained(Decision& decision) {
  if (!draining_ || lease_ || !outbox_empty_) return;
  gone_ = true;
  if (registered_) decision.send.emplace_back(Goodbye{});
  decision.gone = true;
}

bool Session::holds(const UnitId& unit, LeaseEpoch epoch) const {
  return lease_ && lease_->unit == unit && lease_->epoch == epoch;
}

void Session::remember_ended(const UnitId& unit, LeaseEpoch epoch) {
  ended_.emplace_back(unit, epoch);
  if (ended_.size() > kEndedRemembered) ended_.pop_front();
}

}  // namespace quantfleet::agent
