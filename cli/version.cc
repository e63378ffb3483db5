#include "cli/commands.h"
#include "contract/version.h"

#include <fmt/format.h>

namespace quantfleet::cli {

std::function<int()> add_version(CLI::App&) {
  return [] {
    fmt::print("quantfleet {}\n", program_version());
    return 0;
  };
}

}  // namespace quantfleet::cli
