// NVIDIA GPUs by name and memory, through NVML where the driver has installed it.
#include "agent/probe/probe.h"
#include "agent/telemetry/nvml.h"

namespace quantfleet::agent {

void probe_gpus(Device& device) {
  const auto nvml = Nvml::load();
  for (int gpu = 0; nvml && gpu < nvml->count(); ++gpu) device.gpus.push_back({nvml->name(gpu), nvml->memory_bytes(gpu)});
}

}  // namespace quantfleet::agent
