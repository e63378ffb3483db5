#include "agent/telemetry/nvml.h"

#include <dlfcn.h>

namespace quantfleet::agent {
namespace {

constexpr int kSuccess = 0;
constexpr int kTemperatureGpu = 0;  // NVML_TEMPERATURE_GPU

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
}

}  // namespace

std::shared_ptr<const Nvml> Nvml::load() {
  void* library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return nullptr;
  std::shared_ptr<Nvml> nvml(new Nvml);
  nvml->library_ = library;
  int (*init)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*by_index)(unsigned, Device*) = nullptr;
  find(library, "nvmlInit_v2", init);
  find(library, "nvmlDeviceGetCount_v2", count);
  find(library, "nvmlDeviceGetHandleByIndex_v2", by_index);
  find(library, "nvmlDeviceGetName", nvml->name_);
  find(library, "nvmlDeviceGetMemoryInfo", nvml->memory_);
  find(library, "nvmlDeviceGetTemperature", nvml->temperature_);
  find(library, "nvmlDeviceGetTotalEnergyConsumption", nvml->energy_);
  if (!init || !count || !by_index || init() != kSuccess) return nullptr;
  find(library, "nvmlShutdown", nvml->shutdown_);
  unsigned devices = 0;
  if (count(&devices) != kSuccess) return nullptr;
  for (unsigned i = 0; i < devices; ++i) {
    Device device = nullptr;
    if (by_index(i, &device) == kSuccess) nvml->devices_.push_back(device);
  }
  return nvml;
}

Nvml::~Nvml() {
  if (shutdown_) shutdown_();
  ::dlclose(library_);
}

std::string Nvml::name(int gpu) const {
  char text[96] = "";
  if (!name_ || name_(devices_[static_cast<std::size_t>(gpu)], text, sizeof text) != kSuccess) return "unknown GPU";
  return text;
}

std::uint64_t Nvml::memory_bytes(int gpu) const {
  Memory memory{};
  if (!memory_ || memory_(devices_[static_cast<std::size_t>(gpu)], &memory) != kSuccess) return 0;
  return memory.total;
}

std::optional<double> Nvml::temperature_c(int gpu) const {
  unsigned degrees = 0;
  if (!temperature_ || temperature_(devices_[static_cast<std::size_t>(gpu)], kTemperatureGpu, &degrees) != kSuccess) return std::nullopt;
  return degrees;
}

std::optional<double> Nvml::energy_j(int gpu) const {
  unsigned long long millijoules = 0;
  if (!energy_ || energy_(devices_[static_cast<std::size_t>(gpu)], &millijoules) != kSuccess) return std::nullopt;
  return static_cast<double>(millijoules) / 1e3;
}

}  // namespace quantfleet::agent
