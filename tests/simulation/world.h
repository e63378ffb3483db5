// A whole fleet in one process, from a seed: the real coordinator core over the real SQLite store, the agents' real session
// and outbox, a clock that only moves when told, and a network that loses, doubles, delays and reorders. Runners are the
// one pretence: they "measure" after a random time, and the score of an item is a function of its name, so that a row in
// the wrong place is seen.
#pragma once

#include "agent/outbox/outbox.h"
#include "agent/session.h"
#include "coordinator/coordinator.h"
#include "coordinator/store/results_reader.h"
#include "coordinator/store/store.h"

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace quantfleet::simulation {

using coordinator::Coordinator;
using coordinator::Time;
using std::chrono::milliseconds;

struct Troubles {
  double loss = 0, doubling = 0;      // per message
  int delay_ms_max = 20;              // uniform: reorders whatever is under way together
  double agent_crash = 0;             // per agent and second
  double coordinator_crash = 0;       // per second; every other one between writing and sending
};

inline double score_of(const std::string& item) {
  return static_cast<double>(std::hash<std::string>{}(item) % 1000) / 1000.0;
}

// Decides as soon as ten pairs are in.
class AfterTenPairs : public coordinator::StoppingRule {
 public:
  std::unique_ptr<Question> ask(double, double) const override {
    struct Counting : Question {
      Verdict add(double) override { return ++pairs >= 10 ? Verdict::kSame : Verdict::kUnknown; }
      int pairs = 0;
    };
    return std::make_unique<Counting>();
  }
};

class World {
 public:
  World(std::uint64_t seed, Troubles troubles) : troubles_(troubles), random_(seed) {
    agents_.reserve(64);  // agents hold pointers into themselves
    static int serial = 0;
    database_ = std::filesystem::temp_directory_path() /
                ("quantfleet-world-" + std::to_string(::getpid()) + "-" + std::to_string(serial++) + ".db");
    store_ = coordinator::open_sqlite_store(database_, false).value();
    core_ = std::make_unique<Coordinator>(options());
    core_->restore(store_->load(), now_);
  }
  ~World() {
    store_.reset();
    std::error_code ignored;
    for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(database_.string() + ending, ignored);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void add_agent(const std::string& name, const std::string& host) {
    Agent& agent = agents_.emplace_back();
    agent.id = {name + std::string(40 - name.size(), '0')};
    agent.registration.name = name;
    agent.registration.device.host_id = host;
    agent.registration.formats = {"F16", "Q4_0"};
    agent.registration.engines = {"native"};
    agent.registration.suites = {{"math", "1", std::string(64, '1'), "math", "loglikelihood", 23, 0.25, ""},
                                 {"text", "1", std::string(64, '2'), "text", "rolling", 7, 0, ""},
                                 {"coding", "1", std::string(64, '3'), "coding", "code", 9, 0, "bubblewrap is not installed"}};
    boot(agent);
  }

  // To be called when the agents have registered.
  JobId submit(const JobSpec& spec) {
    coordinator::Decision decision;
    const JobId id = core_->submit(spec, now_, decision).value();
    perform(decision, false);
    return id;
  }
  void cancel(const JobId& job) {
    coordinator::Decision decision;
    core_->cancel(job, now_, decision).value();
    perform(decision, false);
  }

  void run_for(milliseconds time) {
    const Time end = now_ + time;
    while (now_ < end) step();
  }
  // False when it takes more than `limit` of the world's time.
  bool run_until(const std::function<bool()>& done, milliseconds limit) {
    const Time end = now_ + limit;
    while (now_ < end) {
      if (done()) return true;
      step();
    }
    return done();
  }
  bool finished(const JobId& job) const {
    for (const auto& [id, unit] : core_->units())
      if (unit.job == job && !coordinator::is_final(unit.state)) return false;
    return true;
  }
  std::size_t online() const {
    std::size_t count = 0;
    for (const auto& agent : core_->agents(now_)) count += agent.state != "offline";
    return count;
  }

  void crash_agent(std::size_t index) { boot(agents_.at(index)); }
  void silence_agent(std::size_t index, bool silent) { agents_.at(index).silent = silent; }
  void restart_coordinator() {
    core_ = std::make_unique<Coordinator>(options());
    core_->restore(store_->load(), now_);
    ++coordinator_restarts_;
  }

  RunResults results(const JobId& job) { return open_results(database_).value()->read_run(job).value(); }
  Coordinator& core() { return *core_; }
  Troubles& troubles() { return troubles_; }
  Time now() const { return now_; }
  const std::vector<std::string>& violations() const { return violations_; }
  int coordinator_restarts() const { return coordinator_restarts_; }
  int agent_crashes() const { return agent_crashes_; }

 private:
  struct Agent {
    AgentId id;
    Register registration;
    agent::MemoryOutboxLog log;                       // survives a crash
    std::unique_ptr<agent::Session> session;
    std::optional<agent::Outbox> outbox;
    std::optional<GrantLease> work;
    std::vector<ItemResult> rows;                     // still to be measured
    Time next_row{};
    bool silent = false;                              // its cable is pulled
    std::uint64_t life = 0;
  };
  struct Packet {
    std::size_t agent;
    bool to_coordinator;
    std::string bytes;
  };

  static coordinator::Options options() {
    coordinator::Options o;
    o.heartbeat_seconds = 1;
    o.agent_silence_seconds = 6;
    o.host_patience_seconds = 3600;
    o.stopping_rule = std::make_shared<AfterTenPairs>();
    return o;
  }

  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < p; }
  int up_to(int n) { return std::uniform_int_distribution<int>(0, n)(random_); }
  agent::Time monotonic() const { return agent::Time(now_.time_since_epoch()); }

  void boot(Agent& agent) {
    agent.session = std::make_unique<agent::Session>(agent::SessionOptions{agent.registration});
    agent::OutboxOptions outbox;
    outbox.resend_after = agent::Time(2000);
    agent.outbox = agent::Outbox::open(agent.log, outbox).value();
    agent.work.reset();
    agent.rows.clear();
    ++agent.life;
    handle(agent, agent::OutboxChanged{agent.outbox->empty(), agent.outbox->full()});
  }

  void step() {
    now_ += milliseconds(50);
    while (!network_.empty() && network_.begin()->first <= now_) {
      const Packet packet = network_.begin()->second;
      network_.erase(network_.begin());
      deliver(packet);
    }
    for (Agent& agent : agents_) {
      if (monotonic() >= agent.session->next_tick()) handle(agent, agent::Tick{});
      measure(agent);
      if (const auto message = agent.outbox->due(monotonic())) transmit(index_of(agent), true, *message);
    }
    if (++steps_ % 4 == 0) perform(core_->tick(now_), false);
    if (steps_ % 20 != 0) return;
    for (std::size_t i = 0; i < agents_.size(); ++i)
      if (chance(troubles_.agent_crash)) {
        ++agent_crashes_;
        crash_agent(i);
      }
    if (chance(troubles_.coordinator_crash)) restart_coordinator();
  }

  std::size_t index_of(const Agent& agent) const { return static_cast<std::size_t>(&agent - agents_.data()); }

  void transmit(std::size_t agent, bool to_coordinator, const std::string& bytes) {
    const int copies = chance(troubles_.loss) ? 0 : chance(troubles_.doubling) ? 2 : 1;
    for (int i = 0; i < copies; ++i)
      network_.emplace(now_ + milliseconds(up_to(troubles_.delay_ms_max)), Packet{agent, to_coordinator, bytes});
  }

  void deliver(const Packet& packet) {
    Agent& agent = agents_[packet.agent];
    if (agent.silent) return;
    if (packet.to_coordinator) {
      const auto message = decode_agent_message(packet.bytes).value();
      const bool crash = chance(troubles_.coordinator_crash / 20);
      perform(core_->on(agent.id, message, true, now_), crash);
      if (crash) restart_coordinator();
      return;
    }
    const auto message = decode_coordinator_message(packet.bytes).value();
    handle(agent, agent::Received{message});
  }

  void perform(const coordinator::Decision& decision, bool crash_before_sending) {
    store_->apply(decision.write);
    if (crash_before_sending) return;
    for (const coordinator::Send& send : decision.send)
      for (std::size_t i = 0; i < agents_.size(); ++i)
        if (agents_[i].id == send.to) transmit(i, false, encode(send.message));
  }

  void handle(Agent& agent, const agent::Event& event) {
    const agent::Decision decision = agent.session->on(event, monotonic());
    if (decision.stop_runner) {
      agent.work.reset();
      agent.rows.clear();
    }
    for (const agent::Durable& message : decision.store) agent.outbox->append(message).value();
    if (decision.acknowledged) agent.outbox->acknowledge(*decision.acknowledged).value();
    if (decision.resend_outbox) agent.outbox->resend_now();
    for (const AgentMessage& message : decision.send) transmit(index_of(agent), true, encode(message));
    if (decision.start) start(agent, *decision.start);
    if (!decision.store.empty() || decision.acknowledged)
      handle(agent, agent::OutboxChanged{agent.outbox->empty(), agent.outbox->full()});
  }

  void start(Agent& agent, const GrantLease& lease) {
    const auto key = std::pair(lease.unit.value, static_cast<std::uint64_t>(lease.epoch));
    const auto [known, fresh] = started_.emplace(key, agent.id);
    if (!fresh && known->second != agent.id) violations_.push_back("two agents started " + key.first + " with one epoch");
    if (std::holds_alternative<TimingWork>(lease.work)) {
      for (const Agent& other : agents_)
        if (&other != &agent && other.work && other.registration.device.host_id == agent.registration.device.host_id &&
            is_current(other))
          violations_.push_back("timing of " + lease.unit.value + " did not run alone");
    }
    agent.work = lease;
    agent.rows.clear();
    const auto add = [&](const std::string& item, int index) {
      ItemResult row;
      row.item = {item};
      row.index = index;
      row.scores["accuracy"] = score_of(item);
      agent.rows.push_back(std::move(row));
    };
    if (const auto* accuracy = std::get_if<AccuracyWork>(&lease.work)) {
      if (accuracy->items.empty())
        for (int i = accuracy->item_begin; i < accuracy->item_end; ++i) add(accuracy->suite + "-" + std::to_string(i), i);
      for (const int i : accuracy->items) add(accuracy->suite + "-" + std::to_string(i), i);
    } else if (const auto* timing = std::get_if<TimingWork>(&lease.work)) {
      for (int i = 0; i < timing->timing.repetitions; ++i) add("repetition-" + std::to_string(i), i);
    }
    agent.next_row = now_ + milliseconds(100 + up_to(900));
  }

  // A runner whose lease expired may still be at work until the agent hears of it: that is not a second holder.
  bool is_current(const Agent& agent) const {
    const auto found = core_->units().find(agent.work->unit);
    const auto* lease = found == core_->units().end() ? nullptr : std::get_if<coordinator::Leased>(&found->second.state);
    return lease && lease->agent == agent.id && found->second.epoch == agent.work->epoch;
  }

  void measure(Agent& agent) {
    if (!agent.work || now_ < agent.next_row) return;
    agent.next_row = now_ + milliseconds(100 + up_to(900));
    const GrantLease lease = *agent.work;
    if (!agent.rows.empty()) {
      const ItemResult row = agent.rows.front();
      agent.rows.erase(agent.rows.begin());
      handle(agent, agent::RowsMeasured{lease.unit, lease.epoch, {row}});
      return;
    }
    agent.work.reset();
    UnitFinished finished;
    finished.unit = lease.unit;
    finished.epoch = lease.epoch;
    finished.provenance.program_version = agent.registration.name;
    if (std::holds_alternative<QuantizeWork>(lease.work) || std::holds_alternative<ReferenceLogitsWork>(lease.work))
      finished.artifact = Artifact{coordinator::sha256_hex(lease.unit.value), 1000, "model", {{"bits_per_weight", 4.5}}};
    handle(agent, agent::RunnerFinished{finished});
  }

  Troubles troubles_;
  std::mt19937_64 random_;
  Time now_{milliseconds(1'700'000'000'000)};
  std::uint64_t steps_ = 0;
  std::filesystem::path database_;
  std::unique_ptr<coordinator::Store> store_;
  std::unique_ptr<Coordinator> core_;
  std::vector<Agent> agents_;
  std::multimap<Time, Packet> network_;
  std::map<std::pair<std::string, std::uint64_t>, AgentId> started_;
  std::vector<std::string> violations_;
  int coordinator_restarts_ = 0, agent_crashes_ = 0;
};

inline JobSpec small_plan() {
  JobSpec spec;
  spec.name = "sim";
  spec.models = {{"m", "", std::string(64, 'a')}};
  spec.formats = {"F16", "Q4_0"};
  spec.baseline = "F16";
  spec.activations = {"default"};
  spec.suites = {{"math", 0}, {"text", 0}};
  spec.accuracy = AccuracySpotCheck{4};
  spec.timing = {true, 8, 8, 2};
  spec.limits = {5, 90, 60, 8};
  return spec;
}

// What must hold when a run is over; empty when it does.
inline std::string broken_promise(World& world, const JobId& job) {
  if (!world.violations().empty()) return world.violations().front();
  const RunResults results = world.results(job);
  std::map<std::size_t, std::set<std::string>> items;
  for (const ResultRow& row : results.rows) {
    if (!items[row.unit].insert(row.item.item.value).second) return "item twice: " + row.item.item.value;
    if (row.item.scores.at("accuracy") != score_of(row.item.item.value)) return "wrong score: " + row.item.item.value;
  }
  for (std::size_t i = 0; i < results.units.size(); ++i) {
    const UnitRow& unit = results.units[i];
    if (unit.state == "cancelled" && unit.reason.starts_with(coordinator::kDecided) && items[i].empty()) continue;
    if (unit.state != "done") return unit.id.value + " is " + unit.state + ": " + unit.reason;
    if (static_cast<int>(items[i].size()) != unit.items) return unit.id.value + " lacks rows";
  }
  return {};
}

}  // namespace quantfleet::simulation
