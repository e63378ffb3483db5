// The list of subcommands, in the order of `quantfleet --help`. A new one adds its file and two lines here.
#include "cli/commands.h"

#include <array>

namespace quantfleet::cli {

std::function<int()> add_train_reference(CLI::App& app);
std::function<int()> add_version(CLI::App& app);

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"train-reference", "make the reference model from its seed", add_train_reference},
      Command{"version", "version and commit of this program", add_version},
  };
  return kCommands;
}

}  // namespace quantfleet::cli
