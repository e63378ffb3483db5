// What an agent runs on, as facts that a scheduler can compare and a report can print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet {

struct Gpu {
  std::string name;
  std::uint64_t memory_bytes = 0;

  bool operator==(const Gpu&) const = default;
};

struct Device {
  std::string host_id;        // equal for all agents of one machine (hash of machine-id): timing units lock per host
  std::string hostname;
  std::string architecture;   // "x86_64", "aarch64"
  std::string cpu_model;      // "AMD EPYC 9654"
  int cores = 0;              // this process may run on
  std::uint64_t memory_bytes = 0;
  std::vector<std::string> kernels;  // available kernel families, best first: avx512_vnni, avx2, scalar
  std::vector<Gpu> gpus;
  std::string operating_system;      // "Debian GNU/Linux 12 (bookworm), Linux 6.1"

  bool operator==(const Device&) const = default;
};

}  // namespace quantfleet
