#include "agent/telemetry/sensors.h"
#include "agent/telemetry/telemetry.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace quantfleet;
using namespace quantfleet::agent;

namespace {

namespace fs = std::filesystem;

// A made-up /sys.
struct Sysfs {
  fs::path root = fs::temp_directory_path() / ("quantfleet-sysfs-" + std::to_string(::getpid()));
  Sysfs() { fs::remove_all(root); }
  ~Sysfs() { fs::remove_all(root); }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text << "\n";
  }
};

}  // namespace

TEST_CASE("the CPU's temperature is found among the machine's other sensors", "[telemetry]") {
  Sysfs sys;
  sys.write("class/hwmon/hwmon0/name", "nvme");
  sys.write("class/hwmon/hwmon0/temp1_input", "31000");
  sys.write("class/hwmon/hwmon1/name", "k10temp");
  sys.write("class/hwmon/hwmon1/temp1_input", "54250");
  const Sensor sensor = cpu_temperature(sys.root);
  CHECK(sensor.source == "hwmon:k10temp");
  CHECK(sensor.read().value() == 54.25);
}

TEST_CASE("without a CPU chip in hwmon a thermal zone serves", "[telemetry]") {
  Sysfs sys;
  sys.write("class/thermal/thermal_zone0/type", "acpitz");
  sys.write("class/thermal/thermal_zone0/temp", "20000");
  sys.write("class/thermal/thermal_zone1/type", "x86_pkg_temp");
  sys.write("class/thermal/thermal_zone1/temp", "61000");
  CHECK(cpu_temperature(sys.root).read().value() == 61);
}

TEST_CASE("the CPU's frequency is the mean over its cores", "[telemetry]") {
  Sysfs sys;
  sys.write("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2000000");
  sys.write("devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "3000000");
  sys.write("devices/system/cpu/cpufreq/boost", "1");
  CHECK(cpu_frequency(sys.root).read().value() == 2500);
}

TEST_CASE("energy counts all packages, survives wraparound, leaves sub-domains out", "[telemetry]") {
  Sysfs sys;
  sys.write("class/powercap/intel-rapl:0/name", "package-0");
  sys.write("class/powercap/intel-rapl:0/max_energy_range_uj", "10000000");
  sys.write("class/powercap/intel-rapl:0/energy_uj", "9000000");
  sys.write("class/powercap/intel-rapl:1/name", "package-1");
  sys.write("class/powercap/intel-rapl:1/max_energy_range_uj", "10000000");
  sys.write("class/powercap/intel-rapl:1/energy_uj", "1000000");
  sys.write("class/powercap/intel-rapl:0:0/name", "core");
  sys.write("class/powercap/intel-rapl:0:0/energy_uj", "77");
  const Sensor sensor = cpu_energy(sys.root);
  CHECK(sensor.source == "powercap:intel-rapl:0+intel-rapl:1");
  CHECK(sensor.read().value() == 0);
  sys.write("class/powercap/intel-rapl:0/energy_uj", "2000000");  // 3 J further, past the end of the range
  sys.write("class/powercap/intel-rapl:1/energy_uj", "1500000");
  CHECK(sensor.read().value() == 3.5);
}

TEST_CASE("an absent sensor says so instead of reading zero", "[telemetry]") {
  Sysfs sys;
  for (const Sensor& sensor : {cpu_temperature(sys.root), cpu_frequency(sys.root), cpu_energy(sys.root)}) {
    CAPTURE(sensor.name);
    CHECK_FALSE(sensor.read);
    CHECK_FALSE(sensor.reason.empty());
    CHECK(sensor.source.empty());
  }
}

TEST_CASE("a series has its statistics, its source and how much of the time it covers", "[telemetry]") {
  double level = 40, joules = 100;
  bool answers = true;
  std::vector<Sensor> sensors;
  sensors.push_back({"cpu_temperature_c", "made:up", "", false, [&]() -> std::optional<double> {
                       if (!answers) return std::nullopt;
                       return level;
                     }});
  sensors.push_back({"energy_j", "made:up", "", true, [&] { return std::optional(joules); }});
  sensors.push_back({"cpu_frequency_mhz", "", "no cpufreq here", false, {}});
  Telemetry telemetry(std::move(sensors), std::chrono::milliseconds(0));
  telemetry.begin();
  level = 60, joules = 130;
  telemetry.sample();
  answers = false;
  telemetry.sample();
  const std::vector<TelemetrySeries> series = telemetry.end();
  REQUIRE(series.size() == 3);
  CHECK(series[0].mean == 50);
  CHECK(series[0].min == 40);
  CHECK(series[0].max == 60);
  CHECK(series[0].coverage == 0.5);
  CHECK(series[1].total == 30);
  CHECK(series[1].coverage == 1);
  CHECK(series[2].coverage == 0);
  CHECK(series[2].reason == "no cpufreq here");
}
