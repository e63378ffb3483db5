#include "backends/kernels/cpu_features.h"

#include <fstream>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace quantfleet {
#if defined(__x86_64__)
namespace {

// CPUID leaf 1, ECX bit 29. (clang 14's __builtin_cpu_supports does not know the name.)
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & (1u << 29));
}

}  // namespace
#endif

// __builtin_cpu_supports reads CPUID and, for the vector extensions, XCR0: it is false when the system does not save
// the registers.
bool cpu_has(Cpu cpu) {
  switch (cpu) {
    case Cpu::kNone:
      return true;
#if defined(__x86_64__)
    case Cpu::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case Cpu::kAvx512Vnni:
      return cpu_has(Cpu::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni");
#else
    default:
      return false;
#endif
  }
  return false;
}

std::string cpu_model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string cpu_feature_names() {
  std::string names;
#if defined(__x86_64__)
  const auto add = [&names](bool has, const char* name) {
    if (has) names += names.empty() ? name : std::string(" ") + name;
  };
  add(__builtin_cpu_supports("sse4.2"), "sse4.2");
  add(__builtin_cpu_supports("avx"), "avx");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(has_f16c(), "f16c");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512vl"), "avx512vl");
  add(__builtin_cpu_supports("avx512dq"), "avx512dq");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
#elif defined(__aarch64__)
  names = "neon";
#endif
  return names;
}

}  // namespace quantfleet
