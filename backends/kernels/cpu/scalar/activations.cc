#include "backends/kernels/cpu/scalar/scalar.h"

#include <bit>
#include <limits>

namespace quantfleet::scalar {

// Rule 1: d = amax / 127, code = round-half-even(x * (127 / amax)).  A block whose amax is so small (below 2^-121) that
// 127 / amax is infinite counts as zeros. A block with a NaN or infinity gets the scale NaN.
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums) {
  constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23
  for (std::int64_t begin = 0; begin < columns; begin += block) {
    float amax = 0;
    bool finite = true;
    for (std::int64_t k = begin; k < begin + block; ++k) {
      const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[k]) & 0x7fffffffu;
      finite = finite && magnitude < 0x7f800000u;
      const float a = std::bit_cast<float>(magnitude);
      amax = a > amax ? a : amax;
    }
    const float inverse = 127.0f / amax;
    const bool zeros = !finite || amax == 0 || inverse > std::numeric_limits<float>::max();
    *scales++ = !finite ? std::numeric_limits<float>::quiet_NaN() : zeros ? 0.0f : amax / 127.0f;
    for (std::int64_t k = begin; k < begin + block; k += sub_block) {
      int sum = 0;
      for (std::int64_t i = k; i < k + sub_block; ++i) {
        const float rounded = (x[i] * inverse + kRoundMagic) - kRoundMagic;
        codes[i] = zeros ? std::int8_t(0) : static_cast<std::int8_t>(static_cast<int>(rounded));
        sum += codes[i];
      }
      *sums++ = static_cast<std::int16_t>(sum);
    }
  }
}

}  // namespace quantfleet::scalar
