#include "backends/kernels/cpu_features.h"

#include <catch2/catch.hpp>

using namespace quantfleet;

TEST_CASE("every CPU has the base instruction set, and AVX-512 VNNI never comes without AVX2", "[cpu_features]") {
  CHECK(cpu_has(Cpu::kNone));
  if (cpu_has(Cpu::kAvx512Vnni)) CHECK(cpu_has(Cpu::kAvx2));
  CHECK_FALSE(cpu_model_name().empty());
  WARN("this CPU: " << cpu_model_name() << ": " << cpu_feature_names());
}
