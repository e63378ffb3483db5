#include "backends/kernels/cpu/peak.h"

#include "backends/kernels/cpu_features.h"

#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include "backends/kernels/cpu/avx2/peak.h"
#include "backends/kernels/cpu/avx512/peak.h"
#elif defined(__aarch64__)
#include "backends/kernels/cpu/neon/peak.h"
#endif

namespace quantfleet::peak {
namespace {

std::int64_t int8_plain(std::int64_t rounds) {
  std::int32_t acc[16] = {};
  signed char x[16] = {}, y[16] = {};
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < 16; ++i) acc[i] += x[i] * y[i];
    asm volatile("" : : "r"(acc), "r"(x), "r"(y) : "memory");
  }
  return acc[0];
}

std::int64_t f32_plain(std::int64_t rounds) {
  float acc[16] = {}, x[16] = {}, y[16] = {};
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < 16; ++i) acc[i] = x[i] * y[i] + acc[i];
    asm volatile("" : : "r"(acc), "r"(x), "r"(y) : "memory");
  }
  return static_cast<std::int64_t>(acc[0]);
}

std::int64_t read_plain(const unsigned char* bytes, std::uint64_t count) {
  std::int64_t sums[8] = {};
  for (std::uint64_t i = 0; i + 64 <= count; i += 64) {
    std::int64_t words[8];
    std::memcpy(words, bytes + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] ^= words[j];
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
}

}  // namespace

Loops loops() {
#if defined(__x86_64__)
  if (cpu_has(Cpu::kAvx512Vnni)) return {avx512::int8_peak, 12 * 64, avx512::f32_peak, 12 * 16, avx2::read_streams, read_plain};
  if (cpu_has(Cpu::kAvx2)) return {avx2::int8_peak, 8 * 32, avx2::f32_peak, 12 * 8, avx2::read_streams, read_plain};
#elif defined(__aarch64__)
  if (cpu_has(Cpu::kNeonDotprod)) return {neon::int8_peak_dotprod, 16 * 16, neon::f32_peak, 16 * 4, read_plain, read_plain};
  return {neon::int8_peak, 8 * 8, neon::f32_peak, 16 * 4, read_plain, read_plain};
#endif
  return {int8_plain, 16, f32_plain, 16, read_plain, read_plain};
}

}  // namespace quantfleet::peak
