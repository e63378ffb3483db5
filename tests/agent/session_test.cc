#include "agent/session.h"

#include <catch2/catch.hpp>

using namespace quantfleet;
using namespace quantfleet::agent;
using namespace std::chrono_literals;

namespace {

GrantLease grant(const std::string& unit, std::uint64_t epoch) {
  GrantLease lease;
  lease.unit = UnitId{unit};
  lease.epoch = LeaseEpoch{epoch};
  lease.work = AccuracyWork{};
  return lease;
}

Session registered_session(Time now = 0ms) {
  Session session({});
  session.on(Tick{}, now);
  session.on(Received{Registered{/*heartbeat_seconds=*/2, ""}}, now);
  return session;
}

template <class T>
const T* sent(const Decision& decision) {
  for (const AgentMessage& message : decision.send)
    if (const T* found = std::get_if<T>(&message)) return found;
  return nullptr;
}

RunnerFinished finished(const GrantLease& lease) {
  UnitFinished result;
  result.unit = lease.unit;
  result.epoch = lease.epoch;
  return {result};
}

}  // namespace

TEST_CASE("a session registers until the coordinator answers, at growing intervals", "[session]") {
  Session session({});
  CHECK(sent<Register>(session.on(Tick{}, 0ms)));
  CHECK(session.on(Tick{}, 499ms).send.empty());
  CHECK(sent<Register>(session.on(Tick{}, 500ms)));
  CHECK(session.on(Tick{}, 1499ms).send.empty());
  CHECK(sent<Register>(session.on(Tick{}, 1500ms)));
  CHECK(session.state() == SessionState::kConnecting);
  const Decision decision = session.on(Received{Registered{2, "tcp://:7702"}}, 1600ms);
  CHECK(session.state() == SessionState::kIdle);
  CHECK(decision.resend_outbox);
  REQUIRE(decision.registered);
  CHECK(decision.registered->artifact_endpoint == "tcp://:7702");
}

TEST_CASE("heartbeats come on time and renew the running lease", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 3)}, 100ms);
  session.on(RunnerProgressed{UnitId{"u1"}, LeaseEpoch{3}, 7}, 200ms);
  CHECK(session.on(Tick{}, 2099ms).send.empty());
  const Decision decision = session.on(Tick{}, 2100ms);
  const Heartbeat* heartbeat = sent<Heartbeat>(decision);
  REQUIRE(heartbeat);
  CHECK(heartbeat->running == RunningLease{UnitId{"u1"}, LeaseEpoch{3}, 7});
  CHECK(session.next_tick() == 4100ms);
}

TEST_CASE("a lease is started once, however often its grant arrives", "[session]") {
  Session session = registered_session();
  CHECK(session.on(Received{grant("u1", 1)}, 10ms).start);
  CHECK_FALSE(session.on(Received{grant("u1", 1)}, 20ms).start);
  session.on(finished(grant("u1", 1)), 30ms);
  CHECK(session.state() == SessionState::kIdle);
  const Decision late = session.on(Received{grant("u1", 1)}, 40ms);
  CHECK_FALSE(late.start);
  CHECK(late.send.empty());
}

TEST_CASE("a busy session refuses another unit and names the one it holds", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 1)}, 10ms);
  const Decision decision = session.on(Received{grant("u2", 1)}, 20ms);
  CHECK_FALSE(decision.start);
  const LeaseRefused* refused = sent<LeaseRefused>(decision);
  REQUIRE(refused);
  CHECK(refused->unit.value == "u2");
  CHECK(refused->reason.find("u1") != std::string::npos);
}

TEST_CASE("the same unit granted again with a higher epoch starts over", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 1)}, 10ms);
  const Decision decision = session.on(Received{grant("u1", 2)}, 20ms);
  CHECK(decision.stop_runner);
  REQUIRE(decision.start);
  CHECK(decision.start->epoch == LeaseEpoch{2});
  SECTION("rows of the old epoch are ignored") {
    CHECK(session.on(RowsMeasured{UnitId{"u1"}, LeaseEpoch{1}, {ItemResult{}}}, 30ms).store.empty());
  }
  SECTION("a late grant of the old epoch is ignored") {
    const Decision late = session.on(Received{grant("u1", 1)}, 30ms);
    CHECK_FALSE(late.start);
    CHECK_FALSE(late.stop_runner);
  }
}

TEST_CASE("rows are stored under the lease's unit and epoch", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 4)}, 10ms);
  const Decision decision = session.on(RowsMeasured{UnitId{"u1"}, LeaseEpoch{4}, {ItemResult{}, ItemResult{}}}, 20ms);
  REQUIRE(decision.store.size() == 1);
  const auto& batch = std::get<ResultBatch>(decision.store[0]);
  CHECK(batch.unit.value == "u1");
  CHECK(batch.epoch == LeaseEpoch{4});
  CHECK(batch.rows.size() == 2);
  const Decision end = session.on(finished(grant("u1", 4)), 30ms);
  REQUIRE(end.store.size() == 1);
  CHECK(std::holds_alternative<UnitFinished>(end.store[0]));
}

TEST_CASE("a cancelled lease stops the runner and reports nothing more", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 1)}, 10ms);
  CHECK_FALSE(session.on(Received{CancelLease{UnitId{"u2"}, LeaseEpoch{1}, ""}}, 20ms).stop_runner);
  CHECK(session.on(Received{CancelLease{UnitId{"u1"}, LeaseEpoch{1}, "the run was cancelled"}}, 20ms).stop_runner);
  CHECK(session.state() == SessionState::kIdle);
  CHECK(session.on(finished(grant("u1", 1)), 30ms).store.empty());
}

TEST_CASE("a restarted coordinator is registered with again while the lease goes on", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 1)}, 10ms);
  const Decision refused = session.on(Received{Refused{{Code::kUnknownName, "register first"}}}, 1000ms);
  CHECK(sent<Register>(refused));
  CHECK_FALSE(refused.stop_runner);
  CHECK(session.on(Received{Refused{{Code::kUnknownName, "register first"}}}, 1001ms).send.empty());
  const Decision again = session.on(Received{Registered{2, ""}}, 1100ms);
  CHECK(session.state() == SessionState::kRunning);
  CHECK(again.resend_outbox);
  const Heartbeat* heartbeat = sent<Heartbeat>(again);
  REQUIRE(heartbeat);
  CHECK(heartbeat->running);
}

TEST_CASE("an agent that is not admitted stops with the coordinator's reason", "[session]") {
  Session session({});
  session.on(Tick{}, 0ms);
  const Decision decision = session.on(Received{Refused{{Code::kNotAdmitted, "unknown key"}}}, 10ms);
  REQUIRE(decision.stop);
  CHECK(decision.stop->code == Code::kNotAdmitted);
}

TEST_CASE("a draining session finishes its lease, sends its results, says goodbye", "[session]") {
  Session session = registered_session();
  session.on(Received{grant("u1", 1)}, 10ms);
  CHECK_FALSE(session.on(DrainRequested{}, 20ms).gone);
  CHECK(session.state() == SessionState::kDraining);
  CHECK(sent<LeaseRefused>(session.on(Received{grant("u2", 1)}, 30ms)));
  session.on(finished(grant("u1", 1)), 40ms);
  CHECK(session.state() == SessionState::kDraining);
  CHECK_FALSE(session.on(OutboxChanged{/*empty=*/false, false}, 50ms).gone);
  const Decision decision = session.on(OutboxChanged{/*empty=*/true, false}, 60ms);
  CHECK(decision.gone);
  CHECK(sent<Goodbye>(decision));
  CHECK(session.state() == SessionState::kGone);
}

TEST_CASE("a full outbox refuses new leases until results are acknowledged", "[session]") {
  Session session = registered_session();
  session.on(OutboxChanged{false, /*full=*/true}, 10ms);
  CHECK(sent<LeaseRefused>(session.on(Received{grant("u1", 1)}, 20ms)));
  session.on(OutboxChanged{false, /*full=*/false}, 30ms);
  CHECK(session.on(Received{grant("u1", 2)}, 40ms).start);
}
