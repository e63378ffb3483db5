// Numbers of the FP4 formats: E2M1 codes and their scales, E8M0 (OCP Microscaling Formats 1.0) and UE4M3 (NVFP4).
#pragma once

#include <bit>
#include <cstdint>

namespace quantfleet {

// Twice the value of an E2M1 code; bit 3 is the sign.
inline constexpr std::int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128); subnormal for e < 2.
inline float half_of_e8m0(std::uint8_t e) {
  return std::bit_cast<float>(e < 2 ? std::uint32_t{0x00200000} << e : static_cast<std::uint32_t>(e - 1) << 23);
}

// 0 and 0x7f are zero; exponent 0: man 2^-9; else (1 + man / 8) 2^(exp - 7). A sign bit is ignored.
inline float ue4m3_to_float(std::uint8_t code) {
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  if ((code & 127) == 0 || (code & 127) == 127) return 0;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-9f;
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 120) << 23 | static_cast<std::uint32_t>(mantissa) << 20);
}

}  // namespace quantfleet
