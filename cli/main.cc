// quantfleet: parses the command line, runs one subcommand, turns what goes wrong into one sentence and an exit code.
#include "cli/commands.h"
#include "contract/error.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <new>

int main(int argc, char** argv) {
  using namespace quantfleet;
  CLI::App app{"Benchmarks and validates quantized language models, on this machine or over a fleet."};
  app.require_subcommand(1);
  std::function<int()> run;
  for (const cli::Command& command : cli::commands()) {
    CLI::App* sub = app.add_subcommand(std::string(command.name), std::string(command.summary));
    auto body = command.add(*sub);
    sub->callback([&run, body] { run = body; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(Code::kUsage);
  }
  try {
    return run();
  } catch (const BadResult& bad) {
    fmt::print(stderr, "quantfleet: {}\n", bad.error.detail);
    return exit_code(bad.error.code);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "quantfleet: out of memory\n");
    return exit_code(Code::kOutOfMemory);
  } catch (const std::exception& error) {
    fmt::print(stderr, "quantfleet: {}\n", error.what());
    return exit_code(Code::kIo);
  }
}
