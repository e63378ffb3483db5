#include "backends/kernels/cpu_features.h"

#include <fstream>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
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
#elif defined(__aarch64__)
    case Cpu::kNeon:
      return true;
    case Cpu::kNeonDotprod:
      return (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    default:
      return false;
  }
}

// Boards with Arm cores name themselves in the device tree, some in cpuinfo too, which has no name for the CPU or "ARMv8
// Processor"; failing all, the numbers of maker and core say what it is.
std::string cpu_model_name(const std::filesystem::path& root) {
  std::string board;
  std::ifstream tree(root / "proc/device-tree/model");
  if (std::getline(tree, board, '\0') && !board.empty()) return board;
  std::string implementer, part;
  std::ifstream info(root / "proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 2);
    if (line.starts_with("model name")) return value;
    if (line.starts_with("Model\t")) board = value;
    if (line.starts_with("CPU implementer")) implementer = value;
    if (line.starts_with("CPU part")) part = value;
  }
  if (!board.empty()) return board;
  return part.empty() ? "unknown" : "implementer " + implementer + " part " + part;
}

std::string cpu_feature_names() {
  std::string names;
  const auto add = [&names](bool has, const char* name) {
    if (has) names += names.empty() ? name : std::string(" ") + name;
  };
#if defined(__x86_64__)
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
  const unsigned long has = ::getauxval(AT_HWCAP), has2 = ::getauxval(AT_HWCAP2);
  add(true, "neon");
  add((has & HWCAP_ASIMDDP) != 0, "dotprod");
  add((has & HWCAP_ASIMDHP) != 0, "fp16");
  add((has2 & HWCAP2_I8MM) != 0, "i8mm");
  add((has2 & HWCAP2_BF16) != 0, "bf16");
  add((has & HWCAP_SVE) != 0, "sve");
#endif
  return names;
}

}  // namespace quantfleet
