#include "coordinator/coordinator.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::coordinator {
namespace {

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000.0));
}

LeaseEpoch next(LeaseEpoch epoch) { return LeaseEpoch{static_cast<std::uint64_t>(epoch) + 1}; }

void index_needs(const Unit& unit, std::map<UnitId, std::vector<UnitId>>& dependents) {
  if (unit.model_from) dependents[*unit.model_from].push_back(unit.id);
  if (unit.reference_from) dependents[*unit.reference_from].push_back(unit.id);
}

}  // namespace

void Coordinator::restore(Snapshot snapshot, Time now) {
  started_ = now;
  for (Job& job : snapshot.jobs) jobs_.emplace(job.id, std::move(job));
  for (auto& [id, registration] : snapshot.agents) agents_[id].registration = std::move(registration);
  items_in_ = std::move(snapshot.items_in);
  scores_ = std::move(snapshot.scores);
  for (Unit& unit : snapshot.units) {
    const auto [place, inserted] = units_.emplace(unit.id, std::move(unit));
    const Unit& known = place->second;
    index_needs(known, dependents_);
    if (is<Queued>(known.state)) queued_.insert(known.id);
    if (const auto* lease = std::get_if<Leased>(&known.state)) {
      leased_.insert(known.id);
      agents_[lease->agent].lease = known.id;
      agents_[lease->agent].lease_confirmed = false;
      agents_[lease->agent].grant_sent = now;
    }
  }
  for (const auto& [id, job] : jobs_) watch_verdicts(job);
}

void Coordinator::watch_verdicts(const Job& job) {
  if (!job.spec.until || !options_.stopping_rule) return;
  Verdicts& verdicts = verdicts_.try_emplace(job.id, job, *options_.stopping_rule).first->second;
  for (const auto& [id, unit] : units_)
    if (unit.job == job.id) verdicts.add(unit);
  if (verdicts.all_final()) verdicts_.erase(job.id);
}

int Coordinator::items_in(const UnitId& unit) const {
  const auto found = items_in_.find(unit);
  return found == items_in_.end() ? 0 : static_cast<int>(found->second.size());
}

bool Coordinator::online(const Agent& agent, Time now) const {
  return agent.registered && now - agent.last_seen < milliseconds_of(options_.agent_silence_seconds);
}

std::vector<AgentStatus> Coordinator::agents(Time now) const {
  std::vector<AgentStatus> list;
  for (const auto& [id, agent] : agents_) {
    AgentStatus& status = list.emplace_back(AgentStatus{id, agent.registration, agent.last_seen, "", std::nullopt});
    status.state = !online(agent, now) ? "offline" : agent.draining ? "draining" : agent.lease ? "running" : "idle";
    if (agent.lease) status.running = RunningLease{*agent.lease, units_.at(*agent.lease).epoch, agent.items_done};
  }
  return list;
}

Fleet Coordinator::fleet(Time now) const {
  Fleet fleet;
  for (const auto& [id, agent] : agents_)
    if (online(agent, now)) fleet.agents.push_back(agent.registration);
  return fleet;
}

// ---- messages -----------------------------------------------------------------------------------------------------------

Decision Coordinator::on(const AgentId& from, const AgentMessage& message, bool artifact_present, Time now) {
  Decision decision;
  if (const auto* registration = std::get_if<Register>(&message)) {
    if (registration->protocol_version != kProtocolVersion) {
      decision.send.push_back({from, Refused{Error{Code::kBadVersion, fmt::format("protocol version {}, this coordinator speaks {}",
                                                                                  registration->protocol_version, kProtocolVersion)}}});
      return decision;
    }
    on(from, agents_[from], *registration, now, decision);
    grant_all(now, decision);
    return decision;
  }
  const auto known = agents_.find(from);
  if (known == agents_.end() || !known->second.registered) {
    decision.send.push_back({from, Refused{Error{Code::kUnknownName, "this coordinator does not know the agent yet: register"}}});
    return decision;
  }
  Agent& agent = known->second;
  agent.last_seen = now;
  host_seen_[agent.registration.device.host_id] = now;
  if (now - agent.seen_written >= std::chrono::seconds(30)) {
    agent.seen_written = now;
    decision.write.push_back(AgentSeen{from, now});
  }
  std::visit(
      [&]<class T>(const T& m) {
        if constexpr (std::is_same_v<T, UnitFinished>) on(from, agent, m, artifact_present, now, decision);
        else if constexpr (!std::is_same_v<T, Register>) on(from, agent, m, now, decision);
      },
      message);
  grant_all(now, decision);
  return decision;
}

Decision Coordinator::on_undecodable(const AgentId& from, const Error& error, Time) {
  ++counters_.rows_refused_by_reason["undecodable"];
  Decision decision;
  decision.send.push_back({from, Refused{error}});
  return decision;
}

void Coordinator::on(const AgentId& from, Agent& agent, const Register& message, Time now, Decision& decision) {
  agent.registration = message;
  agent.registered = true;
  agent.draining = false;
  agent.last_seen = agent.seen_written = now;
  agent.on_hold_until = Time{};
  host_seen_[message.device.host_id] = now;
  decision.write.push_back(AgentRegistered{from, message, now});
  decision.send.push_back({from, Registered{options_.heartbeat_seconds, options_.artifact_endpoint}});
}

void Coordinator::on(const AgentId& from, Agent& agent, const Heartbeat& message, Time now, Decision& decision) {
  agent.draining = message.draining;
  if (message.running) {
    Unit* unit = current(from, message.running->unit, message.running->epoch);
    if (!unit)
      return cancel_lease_of(from, message.running->unit, message.running->epoch, "this lease is no longer the current one", decision);
    agent.lease_confirmed = true;
    agent.items_done = message.running->items_done;
    renew(*unit, now, decision);
    return;
  }
  // The agent runs nothing. A grant that was never confirmed may be lost: send it again. (One that was confirmed has
  // finished, and its UnitFinished is on the way; or died with the agent, and expires.)
  if (!agent.lease || agent.lease_confirmed || now - agent.grant_sent < milliseconds_of(options_.heartbeat_seconds)) return;
  if (const auto grant = grant_message(units_.at(*agent.lease))) {
    agent.grant_sent = now;
    decision.send.push_back({from, *grant});
  }
}

void Coordinator::on(const AgentId& from, Agent& agent, const ResultBatch& message, Time now, Decision& decision) {
  Unit* unit = current(from, message.unit, message.epoch);
  if (unit) {
    agent.lease_confirmed = true;
    renew(*unit, now, decision);
    RowsStored stored{message.unit, message.epoch, {}};
    std::set<std::string>& items = items_in_[message.unit];
    for (const ItemResult& row : message.rows) {
      const bool is_new = items.insert(row.item.value).second;
      if (is_new && static_cast<int>(items.size()) > unit->items) {
        items.erase(row.item.value);
        ++counters_.rows_refused_by_reason["more_rows_than_items"];
        continue;
      }
      if (is_new) ++counters_.rows_by_suite[std::string(suite_of(unit->work))];
      if (verdicts_.contains(unit->job))
        if (const auto score = row.scores.find("accuracy"); !row.error && score != row.scores.end()) scores_[unit->id][row.index] = score->second;
      stored.rows.push_back(row);
    }
    if (!stored.rows.empty()) decision.write.push_back(std::move(stored));
  } else {
    const auto known = units_.find(message.unit);
    const bool repeated = known != units_.end() && is<Done>(known->second.state) && known->second.epoch == message.epoch;
    if (!repeated) {
      counters_.rows_refused_by_reason["old_epoch"] += message.rows.size();
      cancel_lease_of(from, message.unit, message.epoch, "this lease is no longer the current one", decision);
    }
  }
  decision.send.push_back({from, Acknowledge{message.sequence}});
}

void Coordinator::on(const AgentId& from, Agent& agent, const UnitFinished& message, bool artifact_present, Time now,
                     Decision& decision) {
  if (Unit* unit = current(from, message.unit, message.epoch)) {
    agent.lease_confirmed = true;
    const bool makes_artifact = std::holds_alternative<QuantizeWork>(unit->work) || std::holds_alternative<ReferenceLogitsWork>(unit->work);
    if (message.error) {
      const std::string reason = fmt::format("{}: {}", name_of(message.error->code), message.error->detail);
      if (message.retryable) lose_lease(*unit, reason, "failed", &message, now, decision);
      else change(*unit, Failed{reason}, "failed", &message, now, decision);
    } else if (makes_artifact && (!message.artifact || !artifact_present)) {
      lose_lease(*unit, "the agent finished without its artifact", "failed", &message, now, decision);
    } else if (items_in(unit->id) < unit->items) {
      lose_lease(*unit, fmt::format("the agent finished with {} of {} rows", items_in(unit->id), unit->items), "failed", &message,
                 now, decision);
    } else {
      if (message.artifact) unit->artifact = *message.artifact;
      change(*unit, Done{}, "done", &message, now, decision);
    }
  }
  decision.send.push_back({from, Acknowledge{message.sequence}});
}

void Coordinator::on(const AgentId& from, Agent& agent, const LeaseRefused& message, Time now, Decision& decision) {
  Unit* unit = current(from, message.unit, message.epoch);
  if (!unit) return;
  agent.on_hold_until = now + milliseconds_of(options_.hold_seconds);
  --unit->attempts;  // it was never started
  if (++unit->refusals >= options_.refusals_max) {
    change(*unit, Failed{fmt::format("refused {} times: {}", unit->refusals, message.reason)}, "refused", nullptr, now, decision);
  } else {
    change(*unit, Queued{}, "refused", nullptr, now, decision);
  }
}

void Coordinator::on(const AgentId&, Agent& agent, const Goodbye&, Time now, Decision& decision) {
  agent.registered = false;
  if (!agent.lease) return;
  Unit& unit = units_.at(*agent.lease);
  --unit.attempts;
  change(unit, Queued{}, "refused", nullptr, now, decision);
}

// ---- leases -------------------------------------------------------------------------------------------------------------

Unit* Coordinator::current(const AgentId& from, const UnitId& id, LeaseEpoch epoch) {
  const auto found = units_.find(id);
  if (found == units_.end() || found->second.epoch != epoch) return nullptr;
  const auto* lease = std::get_if<Leased>(&found->second.state);
  return lease && lease->agent == from ? &found->second : nullptr;
}

void Coordinator::cancel_lease_of(const AgentId& from, const UnitId& unit, LeaseEpoch epoch, std::string reason, Decision& decision) {
  decision.send.push_back({from, CancelLease{unit, epoch, std::move(reason)}});
}

void Coordinator::renew(Unit& unit, Time now, Decision& decision) {
  auto& lease = std::get<Leased>(unit.state);
  const Time expires_at = now + milliseconds_of(unit.lease_seconds);
  // A write per quarter of the lease is enough; after a restart the lease is at worst that much shorter.
  if (expires_at - lease.expires_at < milliseconds_of(unit.lease_seconds / 4)) return;
  lease.expires_at = expires_at;
  decision.write.push_back(LeaseRenewed{unit.id, unit.epoch, expires_at});
}

void Coordinator::release(Unit& unit) {
  const auto* lease = std::get_if<Leased>(&unit.state);
  if (!lease) return;
  const auto agent = agents_.find(lease->agent);
  if (agent != agents_.end() && agent->second.lease == unit.id) {
    agent->second.lease.reset();
    agent->second.lease_confirmed = false;
    agent->second.items_done = 0;
  }
  leased_.erase(unit.id);
}

void Coordinator::change(Unit& unit, UnitState state, std::string outcome, const UnitFinished* evidence, Time now, Decision& decision) {
  UnitChanged changed;
  if (is<Leased>(unit.state)) {
    changed.ended_epoch = unit.epoch;
    changed.outcome = std::move(outcome);
  }
  if (evidence) {
    changed.provenance = evidence->provenance;
    changed.telemetry = evidence->telemetry;
  }
  release(unit);
  queued_.erase(unit.id);
  if (is<Queued>(state)) {
    if (changed.ended_epoch) {
      unit.epoch = next(unit.epoch);  // late rows of the old lease are refused from here on
      items_in_.erase(unit.id);
      scores_.erase(unit.id);
    }
    unit.queued_since = now;
    queued_.insert(unit.id);
  }
  unit.state = std::move(state);
  if (is_final(unit.state)) items_in_.erase(unit.id);
  changed.unit = unit;
  changed.at = now;
  decision.write.push_back(std::move(changed));
  if (is_final(unit.state)) after_final(unit, now, decision);
}

void Coordinator::lose_lease(Unit& unit, const std::string& reason, std::string outcome, const UnitFinished* evidence, Time now,
                             Decision& decision) {
  change(unit, after_lost_lease(unit.attempts, unit.attempts_max, reason), std::move(outcome), evidence, now, decision);
}

void Coordinator::after_final(const Unit& unit, Time now, Decision& decision) {
  stop_decided(unit, now, decision);
  const auto found = dependents_.find(unit.id);
  if (found == dependents_.end()) return;
  for (const UnitId& id : found->second) {
    Unit& dependent = units_.at(id);
    if (!is<Blocked>(dependent.state)) continue;
    const auto done = [&](const std::optional<UnitId>& need) { return !need || is<Done>(units_.at(*need).state); };
    if (is<Failed>(unit.state)) {
      change(dependent, Cancelled{fmt::format("needs {}, which failed: {}", unit.id.value, std::get<Failed>(unit.state).reason)},
             "", nullptr, now, decision);
    } else if (is<Cancelled>(unit.state)) {
      change(dependent, Cancelled{std::get<Cancelled>(unit.state).reason}, "", nullptr, now, decision);
    } else if (done(dependent.model_from) && done(dependent.reference_from)) {
      change(dependent, Queued{}, "", nullptr, now, decision);
    }
  }
}

void Coordinator::stop_decided(const Unit& unit, Time now, Decision& decision) {
  const auto verdicts = verdicts_.find(unit.job);
  if (verdicts == verdicts_.end()) return;
  const auto needless = verdicts->second.on_final(unit, units_, scores_);
  if (verdicts->second.all_final()) {
    for (const UnitId& id : verdicts->second.units()) scores_.erase(id);
    verdicts_.erase(verdicts);
    return;
  }
  for (const auto& [id, reason] : needless) change(units_.at(id), Cancelled{reason}, "", nullptr, now, decision);
}

std::optional<GrantLease> Coordinator::grant_message(const Unit& unit) const {
  const auto* lease = std::get_if<Leased>(&unit.state);
  if (!lease) return std::nullopt;
  GrantLease grant{unit.id, unit.epoch, unit.lease_seconds, unit.seed, unit.work};
  if (unit.model_from) std::visit([&](auto& work) { work.model_sha256 = units_.at(*unit.model_from).artifact.sha256; }, grant.work);
  if (unit.reference_from)
    if (auto* work = std::get_if<AccuracyWork>(&grant.work))
      work->reference_logits_sha256 = units_.at(*unit.reference_from).artifact.sha256;
  return grant;
}

void Coordinator::grant_all(Time now, Decision& decision) {
  if (queued_.empty()) return;
  std::vector<AgentView> views;
  bool any_idle = false;
  for (const auto& [id, agent] : agents_) {
    AgentView view{id, &agent.registration, false, agent.lease ? &units_.at(*agent.lease) : nullptr};
    view.may_take = online(agent, now) && !agent.draining && !agent.lease && now >= agent.on_hold_until;
    any_idle |= view.may_take;
    if (view.may_take || view.lease) views.push_back(view);
  }
  if (!any_idle) return;
  std::vector<QueuedUnit> queued;
  std::map<JobId, Time> submitted_at;
  queued.reserve(queued_.size());
  for (const UnitId& id : queued_) {
    const Unit& unit = units_.at(id);
    queued.push_back({&unit, unit.model_from ? units_.at(*unit.model_from).artifact.size_bytes : 0});
  }
  for (const auto& [id, job] : jobs_) submitted_at.emplace(id, job.submitted_at);
  for (const Proposal& proposal : propose(queued, views, submitted_at, now, options_.scheduler)) {
    Unit& unit = units_.at(proposal.unit->id);
    Agent& agent = agents_.at(proposal.agent);
    const Time expires_at = now + milliseconds_of(unit.lease_seconds);
    ++unit.attempts;
    unit.state = Leased{proposal.agent, agent.registration.device.host_id, now, expires_at};
    queued_.erase(unit.id);
    leased_.insert(unit.id);
    items_in_[unit.id].clear();
    agent.lease = unit.id;
    agent.lease_confirmed = false;
    agent.grant_sent = now;
    agent.items_done = 0;
    decision.write.push_back(LeaseGranted{unit, proposal.agent, agent.registration.device.host_id, now, expires_at});
    decision.send.push_back({proposal.agent, *grant_message(unit)});
  }
}

// ---- time and people ------------------------------------------------------------------------------------------------------

Decision Coordinator::tick(Time now) {
  Decision decision;
  const std::vector<UnitId> leased(leased_.begin(), leased_.end());
  for (const UnitId& id : leased) {
    Unit& unit = units_.at(id);
    UnitState after = on_tick(unit.state, now, unit.attempts, unit.attempts_max);
    if (is<Leased>(after)) continue;
    ++counters_.leases_expired;
    change(unit, std::move(after), "expired", nullptr, now, decision);
  }
  // A machine that never comes back must not keep a run open for ever.
  std::vector<UnitId> orphans;
  for (const UnitId& id : queued_) {
    const Unit& unit = units_.at(id);
    if (unit.host_id.empty()) continue;
    const auto seen = host_seen_.find(unit.host_id);
    const Time last = std::max({seen == host_seen_.end() ? started_ : seen->second, unit.queued_since, started_});
    if (now - last >= milliseconds_of(options_.host_patience_seconds)) orphans.push_back(id);
  }
  for (const UnitId& id : orphans) {
    Unit& unit = units_.at(id);
    change(unit, Cancelled{fmt::format("no agent of machine {} was seen for {} s", unit.host_id, options_.host_patience_seconds)},
           "", nullptr, now, decision);
  }
  grant_all(now, decision);
  return decision;
}

Status Coordinator::choose_items(JobSpec& spec, const Fleet& fleet, Time now) const {
  for (SuiteSpec& suite : spec.suites) {
    if (suite.most_telling == 0 || !suite.chosen.empty()) continue;
    const SuiteInfo* info = choose_suite(fleet, suite.name);
    if (!info) continue;  // expand says so
    if (info->kind == "rolling") return Error{Code::kUnsupported, fmt::format("suites: \"{}\" has no right answers, so no items that tell most", suite.name)};
    if (!options_.item_chooser) return Error{Code::kUnsupported, "most_telling: this coordinator cannot choose items"};
    Result<std::vector<ChosenItem>> chosen = options_.item_chooser->choose(*info, suite.most_telling, spec, seconds_of(now));
    if (!chosen) return at(fmt::format("suites: \"{}\"", suite.name), chosen.error());
    suite.chosen = std::move(*chosen);
  }
  return {};
}

Result<JobId> Coordinator::submit(const JobSpec& spec, Time now, Decision& decision) {
  if (spec.until && !options_.stopping_rule)
    return Error{Code::kUnsupported, "until: this coordinator has no stopping rule, so it cannot give verdicts"};
  Job job{make_job_id(spec, now, salt_++), spec, now, false, {}};
  settle_night(job.spec, now);
  for (ModelSpec& model : job.spec.models) model.path.clear();
  for (FormatRecipe& recipe : job.spec.recipes) recipe.text.clear(), recipe.imatrix.clear();
  const Fleet announced = fleet(now);
  if (const Status chosen = choose_items(job.spec, announced, now); !chosen) return chosen.error();
  Result<std::vector<Unit>> units = expand(job.id, job.spec, announced, now);
  if (!units) return units.error();
  const JobId id = job.id;
  for (const Unit& unit : *units) {
    units_.emplace(unit.id, unit);
    index_needs(unit, dependents_);
    if (is<Queued>(unit.state)) queued_.insert(unit.id);
  }
  job.suites = suites_of(job.spec, announced);
  decision.write.push_back(JobSubmitted{job, *units});
  watch_verdicts(jobs_.emplace(id, std::move(job)).first->second);
  for (const Unit& unit : *units)
    if (is<Cancelled>(unit.state)) after_final(unit, now, decision);
  grant_all(now, decision);
  return id;
}

Status Coordinator::cancel(const JobId& id, Time now, Decision& decision) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return Error{Code::kUnknownName, fmt::format("no run is called \"{}\"", id.value)};
  Job& job = found->second;
  if (!job.cancelled) {
    job.cancelled = true;
    decision.write.push_back(JobCancelled{id});
  }
  for (auto& [unit_id, unit] : units_) {
    if (unit.job != id || is_final(unit.state)) continue;
    if (const auto* lease = std::get_if<Leased>(&unit.state))
      cancel_lease_of(lease->agent, unit.id, unit.epoch, "the run was cancelled", decision);
    change(unit, Cancelled{"the run was cancelled"}, "cancelled", nullptr, now, decision);
  }
  grant_all(now, decision);
  return {};
}

}  // namespace quantfleet::coordinator
