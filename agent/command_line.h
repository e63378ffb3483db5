// Options of an agent on the command line: the same for `quantfleet agent` and `quantfleet-agent`.
#pragma once

#include "agent/agent.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace quantfleet::agent {

struct AgentCommandLine {
  AgentOptions options;
  std::vector<std::string> labels, engines;
  bool show_key = false;
  bool selftest = false;
};

std::shared_ptr<AgentCommandLine> add_agent_options(CLI::App& app);
int run_agent(AgentCommandLine& command_line);  // the exit code

// NAME=KIND@URL: a server as an engine.  Errors: kUsage with what was expected; kUnknownName for the kind.
Result<std::map<std::string, ServerEngine>> read_engines(const std::vector<std::string>& texts);

// Where task folders are: beside the installed program (../share/quantfleet/suites), else the source tree it was built from.
std::filesystem::path default_suites_root();

}  // namespace quantfleet::agent
