// quantfleet gate: exit code 0 when the candidate run keeps the baseline's accuracy, 1 when it does not, 3 when more items
// are needed to say.
#include "backends/formats/output_file.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/run_report.h"
#include "reports/tables/gate.h"
#include "reports/tables/text_table.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

namespace quantfleet::cli {
namespace {

reports::GatePolicy read_policy(const std::filesystem::path& path) {
  if (path.empty()) return {};
  return reports::gate_policy_from_yaml(read_text_file(path), path.string()).value();
}

struct OutcomeWords {
  std::string_view word;
  int exit_code;
};

OutcomeWords words_of(reports::GateOutcome outcome) {
  switch (outcome) {
    case reports::GateOutcome::kPass: return {"pass", 0};
    case reports::GateOutcome::kFail: return {"fail", 1};
    case reports::GateOutcome::kUndecided: return {"undecided", 3};
  }
  return {"undecided", 3};
}

}  // namespace

std::function<int()> add_gate(CLI::App& app) {
  struct Options {
    std::filesystem::path database, policy, junit;
    std::string baseline, candidate;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("--baseline", options->baseline, "run that is known to be good")->required()->option_text("RUN");
  app.add_option("--candidate", options->candidate, "run that is judged: an id, a unique prefix of one, or latest, the newest whatever became of it")->required()->option_text("RUN");
  app.add_option("--policy", options->policy, "YAML: margin_points [2], formats [all]")->option_text("FILE");
  app.add_option("--junit", options->junit, "write the verdicts as JUnit XML")->option_text("FILE");
  add_database_option(app, options->database);
  app.add_flag("--json", options->json, "one JSON document");
  return [options] {
    const reports::GatePolicy policy = read_policy(options->policy);
    const reports::RunSummary compared = reports::summarize_against(read_run(options->database, options->baseline).value(),
                                                                    read_run(options->database, options->candidate).value());
    const reports::GateResult result = reports::judge(compared, policy);
    const OutcomeWords outcome = words_of(result.outcome);
    if (!options->junit.empty())
      if (const Status written = write_file(options->junit, reports::junit_xml(result, "quantfleet gate")); !written) throw BadResult(written.error());
    if (options->json) {
      nlohmann::ordered_json document;
      document["outcome"] = outcome.word;
      document["baseline"] = compared.baseline;  // ids, whatever names the command line had
      document["candidate"] = compared.run;
      document["margin_points"] = 100 * policy.margin;
      document["lines"] = nlohmann::ordered_json::array();
      for (const reports::GateLine& line : result.lines)
        document["lines"].push_back({{"name", line.name}, {"verdict", name_of(line.verdict)}, {"sentence", line.sentence}});
      document["notes"] = compared.notes;
      fmt::print("{}\n", document.dump(2));
      return outcome.exit_code;
    }
    reports::TextTable table({{"what", false}, {"verdict", false}, {"difference in pooled accuracy", false}});
    for (const reports::GateLine& line : result.lines)
      table.add({line.name, std::string(name_of(line.verdict)), line.sentence});
    fmt::print("Baseline {}, candidate {}.\n\n{}\n", compared.baseline, compared.run, table.text());
    for (const std::string& note : compared.notes) fmt::print("  {}\n", note);
    fmt::print("Gate: {} (margin {:.3g} points, one-sided 5 %).\n", outcome.word, 100 * policy.margin);
    return outcome.exit_code;
  };
}

}  // namespace quantfleet::cli
