// One function per `quantfleet` subcommand, each in its own file cli/<name>.cc: adds its options and help to `app` and
// sets the callback, which parses, calls one library function and prints. The list is in commands.cc.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <span>
#include <string_view>

namespace quantfleet::cli {

struct Command {
  std::string_view name;
  std::string_view summary;
  // Registers options on its subcommand and returns what to run; that returns the exit code (docs: command-line.md).
  std::function<int()> (*add)(CLI::App& app);
};

std::span<const Command> commands();

}  // namespace quantfleet::cli
