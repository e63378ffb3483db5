// Kernel families that this CPU can run, best first: the same order in which the engine prefers them.
#include "agent/probe/probe.h"
#include "backends/kernels/cpu_features.h"

namespace quantfleet::agent {

void probe_kernels(Device& device) {
  if (cpu_has(Cpu::kAvx512Vnni)) device.kernels.emplace_back("avx512_vnni");
  if (cpu_has(Cpu::kAvx2)) device.kernels.emplace_back("avx2");
  if (cpu_has(Cpu::kNeonDotprod)) device.kernels.emplace_back("neon_dotprod");
  if (cpu_has(Cpu::kNeon)) device.kernels.emplace_back("neon");
  device.kernels.emplace_back("scalar");
}

}  // namespace quantfleet::agent
