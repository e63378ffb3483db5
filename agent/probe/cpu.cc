// Architecture (uname), model name and the cores this process may run on (sched_getaffinity).
#include "agent/probe/probe.h"
#include "backends/kernels/cpu_features.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

namespace quantfleet::agent {

void probe_cpu(const std::filesystem::path& root, Device& device) {
  utsname names{};
  device.architecture = ::uname(&names) == 0 ? names.machine : "unknown";
  cpu_set_t set;
  CPU_ZERO(&set);
  device.cores = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  device.cores = std::max(device.cores, 1);
  device.cpu_model = cpu_model_name(root);
  if (device.cpu_model == "unknown") device.cpu_model += " " + device.architecture;
}

}  // namespace quantfleet::agent
