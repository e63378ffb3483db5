// quantfleet-agent: the agent alone, without coordinator, reports and training.
#include "agent/command_line.h"
#include "agent/runner/runner_main.h"
#include "agent/runner/runner_process.h"
#include "contract/version.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string_view>

int main(int argc, char** argv) {
  using namespace quantfleet;
  try {
    if (argc == 2 && std::string_view(argv[1]) == agent::kRunnerArgument) return agent::runner_main();
    CLI::App app{"Measures what a quantfleet coordinator asks for, on this machine."};
    app.set_version_flag("--version", std::string(program_version()));
    const auto line = agent::add_agent_options(app);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : exit_code(Code::kUsage);
    }
    return agent::run_agent(*line);
  } catch (const BadResult& bad) {
    fmt::print(stderr, "quantfleet-agent: {}\n", bad.error.detail);
    return exit_code(bad.error.code);
  } catch (const std::exception& error) {
    fmt::print(stderr, "quantfleet-agent: {}\n", error.what());
    return exit_code(Code::kIo);
  }
}
