#include "reports/tables/gate.h"

#include "contract/yaml_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace quantfleet::reports {
namespace {

std::string escape_xml(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace

Result<GatePolicy> gate_policy_from_yaml(std::string_view yaml, std::string_view place) {
  const Result<YamlTree> tree = parse_yaml(yaml, place);
  if (!tree) return tree.error();
  GatePolicy policy;
  MapReader reader(*tree, std::string(place));
  if (reader.has("margin_points")) {
    policy.margin = reader.number("margin_points", 0, 100) / 100;
    if (policy.margin == 0) reader.fail(reader.line_of("margin_points"), "'margin_points' must be above 0");
  }
  policy.formats = reader.texts("formats");
  if (const Status done = reader.finish(); !done) return done.error();
  return policy;
}

GateResult judge(const RunSummary& compared, const GatePolicy& policy) {
  GateResult result;
  bool fail = false, undecided = false;
  for (const FormatSummary& f : compared.formats) {
    if (!policy.formats.empty() && std::find(policy.formats.begin(), policy.formats.end(), f.format) == policy.formats.end())
      continue;
    GateLine line;
    line.name = fmt::format("{} {} {}", f.model, f.format, f.activations);
    if (f.kv != "f32") line.name += fmt::format(" kv {}", f.kv);
    if (f.pooled) {
      line.verdict = statistics::verdict_of(f.pooled->one_sided, policy.margin);
      line.sentence = fmt::format("{:+.2f} points [{:+.2f}, {:+.2f}], {} lost, {} gained", 100 * f.pooled->difference,
                                  100 * f.pooled->difference_interval.low, 100 * f.pooled->difference_interval.high,
                                  f.pooled->lost, f.pooled->gained);
    } else {
      line.sentence = "nothing to compare with";
    }
    for (const SuiteScore& suite : f.suites)
      if (!suite.not_compared.empty()) {  // what is left may look the same and proves nothing
        if (line.verdict != Verdict::kWorse) line.verdict = Verdict::kUnknown;
        line.sentence = suite.not_compared;
      }
    fail = fail || line.verdict == Verdict::kWorse;
    undecided = undecided || line.verdict == Verdict::kUnknown;
    result.lines.push_back(std::move(line));
  }
  for (const std::string& wanted : policy.formats) {
    const bool found = std::any_of(compared.formats.begin(), compared.formats.end(),
                                   [&](const FormatSummary& f) { return f.format == wanted; });
    if (found) continue;
    result.lines.push_back({wanted, Verdict::kUnknown, "not in the candidate run"});
    undecided = true;
  }
  if (fail)
    result.outcome = GateOutcome::kFail;
  else if (!undecided && !result.lines.empty())
    result.outcome = GateOutcome::kPass;
  return result;
}

std::string junit_xml(const GateResult& result, std::string_view suite_name) {
  int failures = 0, skipped = 0;
  std::string cases;
  for (const GateLine& line : result.lines) {
    cases += fmt::format("  <testcase classname=\"{}\" name=\"{}\">", escape_xml(suite_name), escape_xml(line.name));
    if (line.verdict == Verdict::kWorse) {
      ++failures;
      cases += fmt::format("<failure message=\"{}\"/>", escape_xml(line.sentence));
    } else if (line.verdict == Verdict::kUnknown) {
      ++skipped;
      cases += fmt::format("<skipped message=\"UNKNOWN: {}\"/>", escape_xml(line.sentence));
    } else {
      cases += fmt::format("<system-out>{}: {}</system-out>", name_of(line.verdict), escape_xml(line.sentence));
    }
    cases += "</testcase>\n";
  }
  return fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n{}</testsuite>\n",
                     escape_xml(suite_name), result.lines.size(), failures, skipped, cases);
}

}  // namespace quantfleet::reports
