#include "tests/simulation/world.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <iterator>

using namespace quantfleet;
using namespace quantfleet::simulation;
using namespace std::chrono_literals;

namespace {

void four_agents_on_two_hosts(World& world) {
  world.add_agent("a1", "host-a");
  world.add_agent("a2", "host-a");
  world.add_agent("b1", "host-b");
  world.add_agent("b2", "host-b");
}

}  // namespace

TEST_CASE("on a perfect network a run ends with every item measured once, timing alone on its host", "[simulation]") {
  World world(1, {});
  four_agents_on_two_hosts(world);
  REQUIRE(world.run_until([&] { return world.online() == 4; }, 10s));
  const JobId job = world.submit(small_plan());
  REQUIRE(world.run_until([&] { return world.finished(job); }, 600s));
  CHECK(broken_promise(world, job) == "");
  CHECK(world.core().counters().leases_expired == 0);
}

TEST_CASE("whatever the network loses, doubles and delays, and whoever crashes, every item is stored exactly once", "[simulation]") {
  int restarts = 0, crashes = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    const bool calm = seed % 4 == 0;
    World world(seed, {0.02 * static_cast<double>(seed % 10), 0.1, 10 + static_cast<int>(seed % 7) * 300, calm ? 0 : 0.004,
                       calm ? 0 : 0.02});
    four_agents_on_two_hosts(world);
    REQUIRE(world.run_until([&] { return world.online() == 4; }, 300s));
    const JobId job = world.submit(small_plan());
    REQUIRE(world.run_until([&] { return world.finished(job); }, 4h));
    REQUIRE(broken_promise(world, job) == "");
    restarts += world.coordinator_restarts();
    crashes += world.agent_crashes();
  }
  CHECK(restarts > 100);  // or the world was too kind to mean anything
  CHECK(crashes > 100);
}

TEST_CASE("an agent that falls silent loses its lease, and another finishes the unit with a higher epoch", "[simulation]") {
  World world(3, {});
  world.add_agent("a1", "host-a");
  world.add_agent("a2", "host-a");
  REQUIRE(world.run_until([&] { return world.online() == 2; }, 10s));
  JobSpec plan = small_plan();
  const JobId job = world.submit(plan);
  world.run_for(1s);
  world.silence_agent(0, true);
  world.run_for(30s);
  CHECK(world.core().counters().leases_expired >= 1);
  SECTION("for ever") { REQUIRE(world.run_until([&] { return world.finished(job); }, 600s)); }
  SECTION("and comes back with rows of its old lease: they are refused and counted") {
    world.silence_agent(0, false);
    REQUIRE(world.run_until([&] { return world.finished(job); }, 600s));
  }
  CHECK(broken_promise(world, job) == "");
}

TEST_CASE("a restarted coordinator finds its agents still at work and lets them go on", "[simulation]") {
  World world(4, {});
  four_agents_on_two_hosts(world);
  REQUIRE(world.run_until([&] { return world.online() == 4; }, 10s));
  const JobId job = world.submit(small_plan());
  for (int i = 0; i < 5; ++i) {
    world.run_for(3s);
    world.restart_coordinator();
  }
  REQUIRE(world.run_until([&] { return world.finished(job); }, 600s));
  CHECK(broken_promise(world, job) == "");
  for (const UnitRow& unit : world.results(job).units) CHECK(unit.attempts == 1);
}

TEST_CASE("a suite that nobody can run is recorded as not run, with the reason, and the run still ends", "[simulation]") {
  World world(5, {});
  world.add_agent("a1", "host-a");
  REQUIRE(world.run_until([&] { return world.online() == 1; }, 10s));
  JobSpec plan = small_plan();
  plan.suites.push_back({"coding", 0});
  const JobId job = world.submit(plan);
  REQUIRE(world.run_until([&] { return world.finished(job); }, 600s));
  const RunResults results = world.results(job);
  CHECK(results.run.status == "done");
  int not_run = 0;
  for (const UnitRow& unit : results.units)
    if (unit.suite == "coding") {
      CHECK(unit.state == "cancelled");
      CHECK(unit.reason == "not run: bubblewrap is not installed");
      ++not_run;
    }
  CHECK(not_run == 4);
}

TEST_CASE("a cancelled run stops its agents, and the next run gets them", "[simulation]") {
  World world(6, {});
  four_agents_on_two_hosts(world);
  REQUIRE(world.run_until([&] { return world.online() == 4; }, 10s));
  const JobId first = world.submit(small_plan());
  world.run_for(2s);
  world.cancel(first);
  CHECK(world.finished(first));
  const JobId second = world.submit(small_plan());
  REQUIRE(world.run_until([&] { return world.finished(second); }, 600s));
  CHECK(broken_promise(world, second) == "");
  CHECK(world.results(first).run.status == "cancelled");
}

namespace {

// What must hold for a run that ended with verdicts: of each format and area at least the ten pairs that the rule wanted.
int decided_units(World& world, const JobId& job) {
  const RunResults results = world.results(job);
  CHECK(results.run.status == "done");
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::set<int>>> measured;  // suite, host -> format -> items
  int decided = 0;
  for (const ResultRow& row : results.rows) {
    const UnitRow& unit = results.units[row.unit];
    if (unit.kind == "accuracy" && unit.purpose == "measure") measured[{unit.suite, unit.host_id}][unit.format].insert(row.item.index);
  }
  for (const UnitRow& unit : results.units) decided += unit.state == "cancelled";
  for (const auto& [place, formats] : measured) {
    REQUIRE(formats.size() == 2);
    std::vector<int> both;
    std::set_intersection(formats.at("F16").begin(), formats.at("F16").end(), formats.at("Q4_0").begin(), formats.at("Q4_0").end(), std::back_inserter(both));
    CHECK(both.size() >= (place.first == "math" ? 10u : 7u));  // text has only seven items: all of them, no verdict
  }
  return decided;
}

JobSpec plan_until_verdict() {
  JobSpec plan = small_plan();
  plan.until = UntilVerdict{};
  return plan;
}

}  // namespace

TEST_CASE("a run until a verdict hands out no unit of an area that is decided", "[simulation]") {
  World world(7, {});
  world.add_agent("a1", "host-a");
  REQUIRE(world.run_until([&] { return world.online() == 1; }, 10s));
  const JobId job = world.submit(plan_until_verdict());
  REQUIRE(world.run_until([&] { return world.finished(job); }, 600s));
  CHECK(broken_promise(world, job) == "");
  CHECK(decided_units(world, job) == 6);  // 23 items in units of 5: two of five were needed, on both sides
  for (const UnitRow& unit : world.results(job).units)
    if (unit.state == "cancelled" && unit.format == "Q4_0") CHECK(unit.reason == "decided: SAME after 10 items of math");
}

TEST_CASE("verdicts survive loss, crashes and restarts, on every device by itself", "[simulation]") {
  int restarts = 0, decided = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    World world(seed, {0.02 * static_cast<double>(seed % 10), 0.1, 10 + static_cast<int>(seed % 7) * 300, 0.004, 0.02});
    four_agents_on_two_hosts(world);
    REQUIRE(world.run_until([&] { return world.online() == 4; }, 300s));
    JobSpec plan = plan_until_verdict();
    if (seed % 2 == 0) plan.accuracy = AccuracyEveryDevice{};
    const JobId job = world.submit(plan);
    REQUIRE(world.run_until([&] { return world.finished(job); }, 4h));
    REQUIRE(broken_promise(world, job) == "");
    decided += decided_units(world, job);
    restarts += world.coordinator_restarts();
  }
  CHECK(restarts > 30);
  CHECK(decided > 60);
}
