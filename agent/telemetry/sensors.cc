#include "agent/telemetry/sensors.h"

#include "agent/telemetry/nvml.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;

// First line without the newline; nullopt when unreadable, errno then says why.
std::optional<std::string> first_line(const fs::path& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (!file) return std::nullopt;
  char line[256];
  if (!std::fgets(line, sizeof line, file.get())) return std::nullopt;
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

std::optional<double> number_in(const fs::path& path) {
  const std::optional<std::string> line = first_line(path);
  if (!line) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), value);
  if (error != std::errc()) return std::nullopt;
  return static_cast<double>(value);
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code absent;
  for (fs::directory_iterator it(directory, absent), end; !absent && it != end; it.increment(absent)) found.push_back(it->path());
  std::ranges::sort(found);
  return found;
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.starts_with(word); });
}

}  // namespace

Sensor cpu_temperature(const fs::path& sysfs) {
  Sensor sensor{"cpu_temperature_c", "", "", false, {}};
  const auto use = [&](const fs::path& file, std::string source) {
    sensor.source = std::move(source);
    sensor.read = [file]() -> std::optional<double> {
      const std::optional<double> millidegrees = number_in(file);
      if (!millidegrees) return std::nullopt;
      return *millidegrees / 1000;
    };
  };
  for (const fs::path& chip : entries(sysfs / "class/hwmon")) {
    const std::string name = first_line(chip / "name").value_or("");
    if (starts_with_any(name, {"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal"}) && number_in(chip / "temp1_input")) {
      use(chip / "temp1_input", "hwmon:" + name);
      return sensor;
    }
  }
  for (const fs::path& zone : entries(sysfs / "class/thermal")) {
    const std::string type = first_line(zone / "type").value_or("");
    if (starts_with_any(type, {"x86_pkg_temp", "cpu", "soc"}) && number_in(zone / "temp")) {
      use(zone / "temp", "thermal:" + type);
      return sensor;
    }
  }
  sensor.reason = fmt::format("{} and {} have no sensor of the CPU", (sysfs / "class/hwmon").string(), (sysfs / "class/thermal").string());
  return sensor;
}

Sensor cpu_frequency(const fs::path& sysfs) {
  Sensor sensor{"cpu_frequency_mhz", "", "", false, {}};
  std::vector<fs::path> files;
  for (const fs::path& cpu : entries(sysfs / "devices/system/cpu"))
    if (number_in(cpu / "cpufreq/scaling_cur_freq")) files.push_back(cpu / "cpufreq/scaling_cur_freq");
  if (files.empty()) {
    sensor.reason = fmt::format("{} has no cpufreq", (sysfs / "devices/system/cpu").string());
    return sensor;
  }
  sensor.source = "cpufreq:scaling_cur_freq";
  sensor.read = [files]() -> std::optional<double> {
    double sum = 0;
    int count = 0;
    for (const fs::path& file : files)
      if (const std::optional<double> khz = number_in(file)) sum += *khz / 1000, ++count;
    if (count == 0) return std::nullopt;
    return sum / count;
  };
  return sensor;
}

Sensor cpu_energy(const fs::path& sysfs) {
  Sensor sensor{"energy_j", "", "", true, {}};
  struct Package { fs::path file; double range_uj; double last_uj; double total_uj = 0; };
  auto packages = std::make_shared<std::vector<Package>>();
  std::string refused;
  for (const fs::path& zone : entries(sysfs / "class/powercap")) {
    const std::string id = zone.filename().string();
    if (!id.starts_with("intel-rapl:") || std::ranges::count(id, ':') != 1) continue;  // not intel-rapl:0:0, a part of :0
    if (!first_line(zone / "name").value_or("").starts_with("package")) continue;
    errno = 0;
    const std::optional<double> now = number_in(zone / "energy_uj");
    if (!now) {
      refused = fmt::format("{}: {}", (zone / "energy_uj").string(), errno ? std::strerror(errno) : "not a number");
      continue;
    }
    packages->push_back({zone / "energy_uj", number_in(zone / "max_energy_range_uj").value_or(0), *now});
    sensor.source += (sensor.source.empty() ? "powercap:" : "+") + id;
  }
  if (packages->empty() || !refused.empty()) {  // half of the packages would be a made-up number
    sensor.source.clear();
    sensor.reason = refused.empty() ? fmt::format("{} has no CPU package (intel-rapl)", (sysfs / "class/powercap").string())
                                    : fmt::format("the energy counter cannot be read: {}", refused);
    return sensor;
  }
  sensor.read = [packages]() -> std::optional<double> {
    double total_uj = 0;
    for (Package& package : *packages) {
      const std::optional<double> now = number_in(package.file);
      if (!now) return std::nullopt;
      if (*now < package.last_uj && package.range_uj <= 0) return std::nullopt;
      package.total_uj += *now - package.last_uj + (*now < package.last_uj ? package.range_uj : 0);
      package.last_uj = *now;
      total_uj += package.total_uj;
    }
    return total_uj / 1e6;
  };
  return sensor;
}

std::vector<Sensor> gpu_sensors() {
  std::vector<Sensor> sensors;
  const std::shared_ptr<const Nvml> nvml = Nvml::load();
  if (!nvml) return sensors;
  for (int gpu = 0; gpu < nvml->count(); ++gpu) {
    const std::string source = fmt::format("nvml:{}", gpu);
    sensors.push_back({fmt::format("gpu{}_temperature_c", gpu), source, "", false, [nvml, gpu] { return nvml->temperature_c(gpu); }});
    if (nvml->energy_j(gpu)) {
      sensors.push_back({fmt::format("gpu{}_energy_j", gpu), source, "", true, [nvml, gpu] { return nvml->energy_j(gpu); }});
    } else {
      sensors.push_back({fmt::format("gpu{}_energy_j", gpu), source, "this GPU has no energy counter (before Volta)", true, {}});
    }
  }
  return sensors;
}

}  // namespace quantfleet::agent
