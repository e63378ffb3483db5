// The encoders whose codes choose from a fixed table of values, or have no search at all: ternary and one- and two-bit formats,
// the FP4 formats, and IQ4_NL and IQ4_XS with their sixteen uneven values.
// Spec: docs/formats/quantizers.md.  Tests: tests/backends/quantizers/encoders_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/fp4_values.h"
#include "backends/formats/half_float.h"
#include "backends/formats/iq4_values.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/catalog.h"
#include "backends/quantizers/scale_search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

template <class Block, int kValues, class EncodeBlock>
void for_each_block(const float* row, std::int64_t count_values, std::byte* out, EncodeBlock encode_block) {
  for (std::int64_t i = 0; i < count_values; i += kValues, out += sizeof(Block)) {
    Block block{};
    encode_block(row + i, i, block);
    std::memcpy(out, &block, sizeof block);
  }
}

float largest_magnitude(const float* x, int count) {
  float largest = 0;
  for (int i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

// Round half away of x / scale within low .. high; a scale whose inverse is no number gives 0.
int rounded(float x, float inverse, int low, int high) {
  const float value = std::round(x * inverse);
  return std::isfinite(value) ? std::clamp(static_cast<int>(std::clamp(value, -100.0f, 100.0f)), low, high) : 0;
}

float inverse_of(float scale) { return scale > 0 ? 1 / scale : 0.0f; }

// ---- IQ4_NL, IQ4_XS ------------------------------------------------------------------------------------------------------

int nearest_iq4(float value) {
  int code = 0;
  for (int i = 1; i < 16; ++i) code += value >= 0.5f * static_cast<float>(kIq4Values[i - 1] + kIq4Values[i]);
  return code;
}

struct Iq4Fit {
  float scale = 0;
  float curvature = 0;  // sum w q^2
};

// x ~ scale * kIq4Values[code]; the scale may be negative, for the table is uneven. Candidates: the value of largest magnitude
// meets -127 - 7 .. -127 + 7, and 113 - 7 .. 113 + 7.
Iq4Fit fit_iq4(const float* x, const float* w) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (!(std::fabs(extreme) > 1e-15f)) return {};
  Iq4Fit best;
  float best_gain = 0;
  const auto attempt = [&](float inverse) {
    float sum_x = 0, sum_2 = 0;
    for (int i = 0; i < 32; ++i) {
      const float q = kIq4Values[nearest_iq4(x[i] * inverse)];
      sum_x += w[i] * x[i] * q;
      sum_2 += w[i] * q * q;
    }
    const float gain = sum_2 > 0 ? sum_x / sum_2 * sum_x : 0;
    if (!(gain > best_gain)) return;
    best_gain = gain;
    best = {sum_x / sum_2, sum_2};
  };
  for (int step = -7; step <= 7; ++step)
    for (const float target : {-127.0f, 113.0f}) attempt((target + static_cast<float>(step)) / extreme);
  if (best.scale != 0) attempt(1 / best.scale);
  return best;
}

// The scale of the reference's search: -127 - 7 .. -127 + 7 for the value of largest magnitude, refitted by least squares.
float fit_iq4_once(const float* x, const float* w) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (!(std::fabs(extreme) >= 1e-15f)) return 0;
  const auto sums = [&](float inverse) {
    std::pair<float, float> sum;  // of w q x, w q^2
    for (int i = 0; i < 32; ++i) {
      const float q = kIq4Values[nearest_iq4(inverse * x[i])];
      sum.first += w[i] * q * x[i];
      sum.second += w[i] * q * q;
    }
    return sum;
  };
  const auto [first_x, first_2] = sums(1 / (-extreme / -127.0f));
  float scale = first_2 > 0 ? first_x / first_2 : 0, best = scale * first_x;
  for (int step = -7; step <= 7; ++step) {
    const auto [sum_x, sum_2] = sums((static_cast<float>(step) - 127) / extreme);
    if (!(sum_2 > 0 && sum_x * sum_x > best * sum_2)) continue;
    scale = sum_x / sum_2;
    best = scale * sum_x;
  }
  return scale;
}

void put_iq4_sub_block(BlockIQ4_XS& block, int ib, int scale, const std::uint8_t* codes) {
  pack_nibbles(codes, block.qs + 16 * ib);
  block.scales_l[ib / 2] = static_cast<std::uint8_t>(block.scales_l[ib / 2] | ((scale + 32) & 15) << (4 * (ib % 2)));
  block.scales_h = static_cast<std::uint16_t>(block.scales_h | ((scale + 32) >> 4) << (2 * ib));
}

// Codes for a scale as it is stored; returns sum w (x - scale q)^2.
float choose_iq4(const float* x, const float* w, float scale, std::uint8_t* codes) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    const float target = x[i] * inverse;
    codes[i] = static_cast<std::uint8_t>(std::isfinite(target) ? nearest_iq4(target) : 7);
    const float miss = x[i] - scale * kIq4Values[codes[i]];
    error += w[i] * miss * miss;
  }
  return error;
}

// sigma^2: twice the mean square of the block.
void weigh(const float* x, const float* importance, int count, float* weights) {
  float sigma2 = 0;
  for (int i = 0; i < count; ++i) sigma2 += x[i] * x[i];
  sigma2 *= 2 / static_cast<float>(count);
  for (int i = 0; i < count; ++i) weights[i] = importance ? importance[i] * std::sqrt(sigma2 + x[i] * x[i]) : 0.25f * sigma2 + x[i] * x[i];
}

}  // namespace

void encode_iq4_nl_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ4_NL, 32>(row, count_values, out, [&](const float* x, std::int64_t at, BlockIQ4_NL& block) {
    float weights[32];
    weigh(x, importance ? importance + at : nullptr, 32, weights);
    block.d = scale_to_half(fit_iq4(x, weights).scale);
    std::uint8_t codes[32];
    choose_iq4(x, weights, half_to_float(block.d), codes);
    pack_nibbles(codes, block.qs);
  });
}

void encode_iq4_xs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ4_XS, 256>(row, count_values, out, [&](const float* x, std::int64_t at, BlockIQ4_XS& block) {
    float weights[256];
    weigh(x, importance ? importance + at : nullptr, 256, weights);
    Iq4Fit fits[8];
    float extreme = 0;
    for (int ib = 0; ib < 8; ++ib) {
      fits[ib] = fit_iq4(x + 32 * ib, weights + 32 * ib);
      if (std::fabs(fits[ib].scale) > std::fabs(extreme)) extreme = fits[ib].scale;
    }
    // Scale codes are -32 .. 31: the extreme scale meets -32 or 31 or comes near them.
    const auto scale_code = [](float scale, float d) { return std::clamp(nearest_code(scale / d), -32, 31); };
    float d = 0, best = 0;
    if (std::fabs(extreme) > 0)
      for (int i = -16; i <= 16; ++i)
        for (const float limit : {-32.0f, 31.0f}) {
          const float tried = extreme / (limit * (1 + 0.01f * static_cast<float>(i)));
          float cost = 0;
          for (const Iq4Fit& fit : fits) {
            const float miss = fit.scale - tried * static_cast<float>(scale_code(fit.scale, tried));
            cost += fit.curvature * miss * miss;
          }
          if (d == 0 || cost < best) d = tried, best = cost;
        }
    block.d = scale_to_half(d);
    const float stored = half_to_float(block.d);
    for (int ib = 0; ib < 8; ++ib) {
      const int middle = stored != 0 ? scale_code(fits[ib].scale, stored) : 0;
      std::uint8_t codes[32], chosen[32] = {};
      int scale = middle;
      float least = 0;
      for (int code = std::max(-32, middle - 1); code <= std::min(31, middle + 1); ++code) {
        const float error = choose_iq4(x + 32 * ib, weights + 32 * ib, stored * static_cast<float>(code), codes);
        if (code != std::max(-32, middle - 1) && !(error < least)) continue;
        least = error;
        scale = code;
        std::copy_n(codes, 32, chosen);
      }
      put_iq4_sub_block(block, ib, scale, chosen);
    }
  });
}

void encode_iq4_nl(const float* row, std::int64_t count_values, std::byte* out) { encode_iq4_nl_weighted(row, count_values, nullptr, out); }

// Without importance the reference's own search, and so its bytes: weights x^2, sixteen candidates, every scale code rounded once. The longer search
// above lowers the divergence by one per cent here, and the perplexity not at all (docs/formats/i-quants.md).
void encode_iq4_xs(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockIQ4_XS, 256>(row, count_values, out, [](const float* x, std::int64_t, BlockIQ4_XS& block) {
    float weights[256], scales[8], extreme = 0;
    for (int i = 0; i < 256; ++i) weights[i] = x[i] * x[i];
    for (int ib = 0; ib < 8; ++ib) {
      scales[ib] = fit_iq4_once(x + 32 * ib, weights + 32 * ib);
      if (std::fabs(scales[ib]) > std::fabs(extreme)) extreme = scales[ib];
    }
    const float d = -extreme / 32, inverse = d != 0 ? 1 / d : 0;
    block.d = scale_to_half(d);
    for (int ib = 0; ib < 8; ++ib) {
      const int scale = std::clamp(nearest_code(scales[ib] * inverse), -32, 31);
      std::uint8_t codes[32];
      choose_iq4(x + 32 * ib, weights + 32 * ib, d * static_cast<float>(scale), codes);
      put_iq4_sub_block(block, ib, scale, codes);
    }
  });
}

// ---- ternary and below -----------------------------------------------------------------------------------------------------

void encode_tq1_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockTQ1_0, 256>(row, count_values, out, [](const float* x, std::int64_t, BlockTQ1_0& block) {
    const float d = largest_magnitude(x, 256);
    block.d = scale_to_half(d);
    const auto trit = [&, inverse = inverse_of(d)](int e) { return rounded(x[e], inverse, -1, 1) + 1; };
    // Trits, most significant first, to ceil(number * 256 / 243).
    const auto byte = [](int number) { return static_cast<std::uint8_t>((number * 256 + 242) / 243); };
    for (int m = 0; m < 48; ++m) {
      int number = 0;
      for (int n = 0; n < 5; ++n) number = 3 * number + trit(m < 32 ? 32 * n + m : 160 + 16 * n + m - 32);
      block.qs[m] = byte(number);
    }
    for (int j = 0; j < 4; ++j) {
      int number = 0;
      for (int n = 0; n < 4; ++n) number = 3 * number + trit(240 + 4 * n + j);
      block.qh[j] = byte(3 * number);
    }
  });
}

void encode_tq2_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockTQ2_0, 256>(row, count_values, out, [](const float* x, std::int64_t, BlockTQ2_0& block) {
    const float d = largest_magnitude(x, 256), inverse = inverse_of(d);
    block.d = scale_to_half(d);
    for (int e = 0; e < 256; ++e) {
      std::uint8_t& byte = block.qs[32 * (e / 128) + e % 32];
      byte = static_cast<std::uint8_t>(byte | (rounded(x[e], inverse, -1, 1) + 1) << (2 * (e % 128 / 32)));
    }
  });
}

void encode_q1_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ1_0, 128>(row, count_values, out, [](const float* x, std::int64_t, BlockQ1_0& block) {
    float sum = 0;
    for (int j = 0; j < 128; ++j) {
      sum += std::fabs(x[j]) / 128;
      if (x[j] >= 0) block.qs[j / 8] = static_cast<std::uint8_t>(block.qs[j / 8] | 1 << (j % 8));
    }
    block.d = scale_to_half(sum);
  });
}

void encode_q2_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ2_0, 64>(row, count_values, out, [](const float* x, std::int64_t, BlockQ2_0& block) {
    const float d = largest_magnitude(x, 64), inverse = inverse_of(d);
    block.d = scale_to_half(d);
    for (int j = 0; j < 64; ++j)
      block.qs[j / 4] = static_cast<std::uint8_t>(block.qs[j / 4] | (rounded(x[j], inverse, -1, 2) + 1) << (2 * (j % 4)));
  });
}

// ---- FP4 ---------------------------------------------------------------------------------------------------------------------

namespace {

// The first of the codes whose value is nearest.
std::uint8_t nearest_fp4(float x, float scale) {
  std::uint8_t best = 0;
  float least = std::fabs(x);
  for (std::uint8_t code = 1; code < 16; ++code) {
    const float miss = std::fabs(x - static_cast<float>(kFp4Values[code]) * scale);
    if (miss < least) best = code, least = miss;
  }
  return best;
}

// Round half up to UE4M3; from 256 on 448, as in ggml.
std::uint8_t to_ue4m3(float x) {
  if (!(x > 0)) return 0;
  x = std::min(x, 448.0f);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  int exponent = static_cast<int>(bits >> 23) - 120;
  if (exponent <= 0) return static_cast<std::uint8_t>(std::min(7, static_cast<int>(x * 512 + 0.5f)));
  if (exponent >= 15) return 0x7e;
  const int mantissa = static_cast<int>(bits >> 20 & 7) + static_cast<int>(bits >> 19 & 1);
  exponent += mantissa >> 3;
  return exponent >= 15 ? std::uint8_t{0x7e} : static_cast<std::uint8_t>(exponent << 3 | (mantissa & 7));
}

}  // namespace

void encode_mxfp4(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockMXFP4, 32>(row, count_values, out, [](const float* x, std::int64_t, BlockMXFP4& block) {
    // e = floor(log2 max) - 2 + 127: the largest value falls on 4 or 6.
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(largest_magnitude(x, 32));
    block.e = static_cast<std::uint8_t>(std::max(0, static_cast<int>(bits >> 23) - 2));
    const float scale = half_of_e8m0(block.e);
    std::uint8_t codes[32];
    for (int j = 0; j < 32; ++j) codes[j] = nearest_fp4(x[j], scale);
    pack_nibbles(codes, block.qs);
  });
}

void encode_nvfp4(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockNVFP4, 64>(row, count_values, out, [](const float* x, std::int64_t, BlockNVFP4& block) {
    for (int s = 0; s < 4; ++s) {
      block.d[s] = to_ue4m3(largest_magnitude(x + 16 * s, 16) / 6);
      const float scale = 0.5f * ue4m3_to_float(block.d[s]);
      for (int j = 0; j < 8; ++j)
        block.qs[8 * s + j] = static_cast<std::uint8_t>(nearest_fp4(x[16 * s + j], scale) | nearest_fp4(x[16 * s + 8 + j], scale) << 4);
    }
  });
}

}  // namespace quantfleet
