// Main memory this process may use: MemTotal, or the control group's limit where that is lower (containers).
#include "agent/probe/probe.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace quantfleet::agent {

void probe_memory(const std::filesystem::path& root, Device& device) {
  std::ifstream meminfo(root / "proc/meminfo");
  std::string word;
  for (std::uint64_t kib = 0; meminfo >> word;) {
    if (word == "MemTotal:" && meminfo >> kib) {
      device.memory_bytes = kib * 1024;
      break;
    }
  }
  for (const char* limit : {"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(root / limit);
    std::uint64_t bytes = 0;  // "max": not a number, no limit
    if (file >> bytes && bytes > 0) device.memory_bytes = std::min(device.memory_bytes, bytes);
  }
}

}  // namespace quantfleet::agent
