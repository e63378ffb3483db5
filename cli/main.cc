// quantfleet: parses the command line, runs one subcommand, turns what goes wrong into one sentence and an exit code.
#include "cli/commands.h"
#include "cli/standard_output.h"
#include "cli/usage_error.h"
#include "contract/error.h"
#include "contract/version.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <sstream>
#include <string_view>

namespace quantfleet::cli {
namespace {

int failed(Code code, std::string_view sentence) {
  fmt::print(stderr, "quantfleet: {}\n", sentence);
  return exit_code(code);
}

int parse_and_run(int argc, char** argv) {
  CLI::App app{"Benchmarks and validates quantized language models, on this machine or over a fleet."};
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("quantfleet {}", program_version()), "version and commit of this program");
  std::function<int()> run;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(std::string(command.name), std::string(command.summary));
    auto body = command.add(*sub);
    sub->callback([&run, body] { run = body; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return failed(Code::kUsage, usage_sentence(app, error));
    std::ostringstream text;
    app.exit(error, text, text);  // the help, or the version
    write_out(text.str());
    return 0;
  }
  return run();
}

}  // namespace
}  // namespace quantfleet::cli

int main(int argc, char** argv) {
  using namespace quantfleet;
  try {
    const int code = cli::parse_and_run(argc, argv);
    const Status arrived = cli::finish_standard_output();
    return arrived ? code : cli::failed(arrived.error().code, arrived.error().detail);
  } catch (const BadResult& bad) {
    return cli::failed(bad.error.code, bad.error.detail);
  } catch (const std::bad_alloc&) {
    return cli::failed(Code::kOutOfMemory, "out of memory");
  } catch (const std::exception& error) {
    if (const Status arrived = cli::finish_standard_output(); !arrived) return cli::failed(arrived.error().code, arrived.error().detail);
    return cli::failed(Code::kIo, error.what());
  }
}
