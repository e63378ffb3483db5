#include "backends/kernels/cpu/neon/neon.h"

#include <arm_neon.h>

namespace quantfleet::neon {

// Scalar truth: cpu/scalar/activations.cc. Blocks and sub-blocks are multiples of 16.
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums) {
  const float32x4_t magic = vdupq_n_f32(12582912.0f);
  for (std::int64_t begin = 0; begin < columns; begin += block) {
    uint32x4_t largest = vdupq_n_u32(0);  // magnitudes compare as integers; NaN and infinity are above all others
    for (std::int64_t k = begin; k < begin + block; k += 4)
      largest = vmaxq_u32(largest, vbicq_u32(vreinterpretq_u32_f32(vld1q_f32(x + k)), vdupq_n_u32(0x80000000u)));
    const std::uint32_t bits = vmaxvq_u32(largest);
    const bool finite = bits < 0x7f800000u;
    const float amax = __builtin_bit_cast(float, bits);
    const float inverse = 127.0f / amax;
    const bool zeros = !finite || amax == 0 || inverse > 3.402823466e+38f;
    *scales++ = !finite ? __builtin_nanf("") : zeros ? 0.0f : amax / 127.0f;
    for (std::int64_t k = begin; k < begin + block; k += sub_block) {
      int sum = 0;
      for (std::int64_t i = k; i < k + sub_block; i += 8) {
        int32x4_t code[2];
        for (int v = 0; v < 2; ++v) {
          const float32x4_t shifted = vaddq_f32(vmulq_n_f32(vld1q_f32(x + i + 4 * v), inverse), magic);
          code[v] = zeros ? vdupq_n_s32(0) : vcvtq_s32_f32(vsubq_f32(shifted, magic));
        }
        const int16x8_t words = vcombine_s16(vmovn_s32(code[0]), vmovn_s32(code[1]));
        vst1_s8(codes + i, vmovn_s16(words));
        sum += vaddlvq_s16(words);
      }
      *sums++ = static_cast<std::int16_t>(sum);
    }
  }
}

}  // namespace quantfleet::neon
