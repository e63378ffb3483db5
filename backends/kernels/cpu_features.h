// What this CPU has and the operating system lets us use, in the groups that kernel families need.
#pragma once

#include <filesystem>
#include <string>

namespace quantfleet {

enum class Cpu {
  kNone,         // the base instruction set: every CPU the program starts on
  kAvx2,         // AVX2, FMA and F16C
  kAvx512Vnni,   // AVX-512 F, BW, VL, DQ and VNNI, beside AVX2, FMA and F16C
  kNeon,         // every aarch64 CPU
  kNeonDotprod,  // NEON and the dot products of Armv8.2
};

bool cpu_has(Cpu cpu);

// "AMD EPYC 9B14", "Raspberry Pi 5 Model B Rev 1.0"; "unknown" when the system does not say.  root: where /proc lies
std::string cpu_model_name(const std::filesystem::path& root = "/");
std::string cpu_feature_names();  // what we look at and this CPU has, for rows and reports: "avx2 fma f16c avx512f ..."

}  // namespace quantfleet
