// quantfleet agent: the same as the lean program quantfleet-agent. quantfleet runner: the hidden other half of it.
#include "agent/command_line.h"
#include "agent/runner/runner_main.h"
#include "cli/commands.h"

namespace quantfleet::cli {

std::function<int()> add_agent(CLI::App& app) {
  const auto line = agent::add_agent_options(app);
  return [line] { return agent::run_agent(*line); };
}

std::function<int()> add_runner(CLI::App& app) {
  app.group("");  // not in --help
  return agent::runner_main;
}

}  // namespace quantfleet::cli
