// What can be read about this machine while it works: temperature, clock, energy. A sensor that is absent still appears, with
// the reason, so that a report can say why a number is missing. Everything is read from sysfs below `root` (tests give a
// made-up tree), and from NVIDIA's NVML library where the driver has installed it (loaded at run time).
#pragma once

#include "contract/item_result.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::agent {

struct Sensor {
  std::string name;                              // of the series: "cpu_temperature_c"
  std::string source;                            // "hwmon:k10temp", "powercap:intel-rapl:0+intel-rapl:1"
  std::string reason;                            // why `read` is empty, in one sentence
  bool counter = false;                          // a rising total (joules) rather than a level
  std::function<std::optional<double>()> read;   // keeps state (wraparound): one reader only
};

// Degrees Celsius of the CPU: hwmon's coretemp, k10temp, zenpower or cpu_thermal, else a CPU's thermal zone.
Sensor cpu_temperature(const std::filesystem::path& sysfs = "/sys");
// Mean of all cores' scaling_cur_freq, MHz.
Sensor cpu_frequency(const std::filesystem::path& sysfs = "/sys");
// Joules of all CPU packages since the first read: powercap intel-rapl (AMD uses the same name). energy_uj wraps around at
// max_energy_range_uj; a reader that comes at least once per range (minutes) misses nothing.
Sensor cpu_energy(const std::filesystem::path& sysfs = "/sys");
// Temperature and energy of each GPU; empty where there is no NVML.
std::vector<Sensor> gpu_sensors();

}  // namespace quantfleet::agent
