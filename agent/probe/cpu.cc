// Architecture (uname), model name (proc/cpuinfo) and the cores this process may run on (sched_getaffinity).
#include "agent/probe/probe.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace quantfleet::agent {

void probe_cpu(const std::filesystem::path& root, Device& device) {
  utsname names{};
  device.architecture = ::uname(&names) == 0 ? names.machine : "unknown";
  cpu_set_t set;
  CPU_ZERO(&set);
  device.cores = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  device.cores = std::max(device.cores, 1);
  std::ifstream file(root / "proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    // x86 says "model name", most ARM kernels only "Model" (of the board) or nothing.
    if (!line.starts_with("model name") && !line.starts_with("Model\t")) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    device.cpu_model = line.substr(colon + 2);
    if (line.starts_with("model name")) break;
  }
  if (device.cpu_model.empty()) device.cpu_model = "unknown " + device.architecture;
}

}  // namespace quantfleet::agent
