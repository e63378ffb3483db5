#include "reports/tables/gate.h"

#include <catch2/catch.hpp>

using namespace quantfleet;
using namespace quantfleet::reports;

namespace {

FormatSummary line(std::string format, double low, double high) {
  FormatSummary f;
  f.model = "tiny";
  f.format = std::move(format);
  f.activations = "int8";
  f.pooled.emplace();
  f.pooled->one_sided = {low, high};
  return f;
}

GateOutcome outcome(std::vector<FormatSummary> lines, GatePolicy policy = {}) {
  RunSummary summary;
  summary.formats = std::move(lines);
  return judge(summary, policy).outcome;
}

}  // namespace

TEST_CASE("one worse line fails the gate, whatever the others say", "[gate]") {
  CHECK(outcome({line("Q8_0", -0.01, 0.01)}) == GateOutcome::kPass);
  CHECK(outcome({line("Q8_0", -0.01, 0.01), line("Q2_K", -0.1, -0.05)}) == GateOutcome::kFail);
  CHECK(outcome({line("Q8_0", -0.05, 0.05), line("Q2_K", -0.1, -0.05)}) == GateOutcome::kFail);
}

TEST_CASE("too few items leave the gate undecided, and so does nothing at all", "[gate]") {
  CHECK(outcome({line("Q8_0", -0.05, 0.05)}) == GateOutcome::kUndecided);
  CHECK(outcome({}) == GateOutcome::kUndecided);
  FormatSummary alone;
  alone.format = "Q8_0";
  CHECK(outcome({alone}) == GateOutcome::kUndecided);
}

TEST_CASE("the policy sets the margin and the formats that count", "[gate]") {
  const GatePolicy wide = gate_policy_from_yaml("margin_points: 6\n", "p.yaml").value();
  CHECK(outcome({line("Q4_0", -0.05, 0.05)}, wide) == GateOutcome::kPass);
  const GatePolicy some = gate_policy_from_yaml("formats: [Q8_0]\n", "p.yaml").value();
  CHECK(outcome({line("Q8_0", -0.01, 0.01), line("Q2_K", -0.1, -0.05)}, some) == GateOutcome::kPass);
  const GatePolicy absent = gate_policy_from_yaml("formats: [Q6_K]\n", "p.yaml").value();
  CHECK(outcome({line("Q8_0", -0.01, 0.01)}, absent) == GateOutcome::kUndecided);
}

TEST_CASE("a policy that is wrong says where", "[gate]") {
  const auto detail = [](const char* yaml) { return gate_policy_from_yaml(yaml, "p.yaml").error().detail; };
  CHECK(detail("margin_points: 2\nspeed: 3\n") == "p.yaml:2: unknown key 'speed'");
  CHECK(detail("margin_points: -1\n").find("p.yaml:1: 'margin_points'") == 0);
  CHECK(detail("margin_points: .nan\n").find("p.yaml:1: 'margin_points'") == 0);
  CHECK(detail("margin_points: 0\n") == "p.yaml:1: 'margin_points' must be above 0");
  CHECK(detail("formats: Q8_0\n").find("p.yaml:1: 'formats'") == 0);
  CHECK(detail("margin_points: 1\nmargin_points: 2\n").find("appears twice") != std::string::npos);
  CHECK(detail("a: [\n").find("p.yaml:") == 0);
}

TEST_CASE("JUnit output counts failures and skips, and escapes names", "[gate]") {
  RunSummary summary;
  summary.formats = {line("Q2_K<&>", -0.1, -0.05), line("Q8_0", -0.05, 0.05)};
  const std::string xml = junit_xml(judge(summary, {}), "gate");
  CHECK(xml.find("tests=\"2\" failures=\"1\" skipped=\"1\"") != std::string::npos);
  CHECK(xml.find("Q2_K&lt;&amp;&gt;") != std::string::npos);
}
