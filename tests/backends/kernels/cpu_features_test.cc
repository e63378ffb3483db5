#include "backends/kernels/cpu_features.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

using namespace quantfleet;
namespace fs = std::filesystem;

TEST_CASE("every CPU has the base instruction set, and AVX-512 VNNI never comes without AVX2", "[cpu_features]") {
  CHECK(cpu_has(Cpu::kNone));
  if (cpu_has(Cpu::kAvx512Vnni)) CHECK(cpu_has(Cpu::kAvx2));
  CHECK_FALSE(cpu_model_name().empty());
  WARN("this CPU: " << cpu_model_name() << ": " << cpu_feature_names());
}

TEST_CASE("a dot product never comes without NEON, and no CPU is of two makes", "[cpu_features]") {
  if (cpu_has(Cpu::kNeonDotprod)) CHECK(cpu_has(Cpu::kNeon));
  CHECK_FALSE((cpu_has(Cpu::kNeon) && cpu_has(Cpu::kAvx2)));
}

TEST_CASE("a CPU is named by its board, by cpuinfo, or by its maker's numbers", "[cpu_features]") {
  const fs::path root = fs::temp_directory_path() / ("quantfleet-cpu-" + std::to_string(::getpid()));
  fs::create_directories(root / "proc/device-tree");
  CHECK(cpu_model_name(root) == "unknown");
  std::ofstream(root / "proc/cpuinfo") << "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n";
  CHECK(cpu_model_name(root) == "implementer 0x41 part 0xd0b");
  std::ofstream(root / "proc/cpuinfo") << "CPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n";
  CHECK(cpu_model_name(root) == "Raspberry Pi 4 Model B Rev 1.4");
  std::ofstream(root / "proc/cpuinfo") << "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nCPU part\t: 0xd42\n";
  CHECK(cpu_model_name(root) == "ARMv8 Processor rev 1 (v8l)");
  std::ofstream(root / "proc/device-tree/model").write("Raspberry Pi 5 Model B Rev 1.0\0", 31);
  CHECK(cpu_model_name(root) == "Raspberry Pi 5 Model B Rev 1.0");
  fs::remove_all(root);
}
