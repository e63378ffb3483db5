// NVIDIA's management library, loaded at run time where the driver has installed it: no header or package needed to build.
// Prototypes from the public NVML API reference (nvml.h, API version 2).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::agent {

class Nvml {
 public:
  static std::shared_ptr<const Nvml> load();  // nullptr where there is no libnvidia-ml.so.1 or no driver

  int count() const { return static_cast<int>(devices_.size()); }
  std::string name(int gpu) const;
  std::uint64_t memory_bytes(int gpu) const;
  std::optional<double> temperature_c(int gpu) const;
  std::optional<double> energy_j(int gpu) const;   // since the driver was loaded

  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

 private:
  Nvml() = default;
  using Device = void*;
  struct Memory { unsigned long long total, free, used; };

  void* library_ = nullptr;
  int (*shutdown_)() = nullptr;
  int (*name_)(Device, char*, unsigned) = nullptr;
  int (*memory_)(Device, Memory*) = nullptr;
  int (*temperature_)(Device, int, unsigned*) = nullptr;
  int (*energy_)(Device, unsigned long long*) = nullptr;
  std::vector<Device> devices_;
};

}  // namespace quantfleet::agent
