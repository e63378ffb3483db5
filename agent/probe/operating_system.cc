// Distribution (etc/os-release) and kernel: "Debian GNU/Linux 12 (bookworm), Linux 6.1.0".
#include "agent/probe/probe.h"

#include <sys/utsname.h>

#include <fstream>
#include <string>

namespace quantfleet::agent {

void probe_operating_system(const std::filesystem::path& root, Device& device) {
  std::ifstream file(root / "etc/os-release");
  std::string distribution = "unknown distribution";
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view kKey = "PRETTY_NAME=";
    if (!line.starts_with(kKey)) continue;
    distribution = line.substr(kKey.size());
    if (distribution.size() >= 2 && distribution.front() == '"') distribution = distribution.substr(1, distribution.size() - 2);
  }
  utsname names{};
  const bool known = ::uname(&names) == 0;
  device.operating_system = distribution + ", " + (known ? std::string(names.sysname) + " " + names.release : "unknown kernel");
}

}  // namespace quantfleet::agent
