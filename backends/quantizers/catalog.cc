// The one list of quantizers, in order of GGUF's format numbers.
#include "backends/quantizers/catalog.h"

#include "backends/formats/catalog.h"
#include "backends/quantizers/quantize_model.h"

#include <array>

namespace quantfleet {

namespace {

const std::array kEncoders = {
    Encoder{&kF32, encode_f32, nullptr},
    Encoder{&kF16, encode_f16, nullptr},
    Encoder{&kQ4_0, encode_q4_0, encode_q4_0_weighted},
    Encoder{&kQ4_1, encode_q4_1, encode_q4_1_weighted},
    Encoder{&kQ5_0, encode_q5_0, encode_q5_0_weighted},
    Encoder{&kQ5_1, encode_q5_1, encode_q5_1_weighted},
    Encoder{&kQ8_0, encode_q8_0, nullptr},
    Encoder{&kQ2_K, encode_q2_k, encode_q2_k_weighted},
    Encoder{&kQ3_K, encode_q3_k, encode_q3_k_weighted},
    Encoder{&kQ4_K, encode_q4_k, encode_q4_k_weighted},
    Encoder{&kQ5_K, encode_q5_k, encode_q5_k_weighted},
    Encoder{&kQ6_K, encode_q6_k, encode_q6_k_weighted},
    Encoder{&kIQ2_XXS, encode_iq2_xxs, encode_iq2_xxs_weighted},
    Encoder{&kIQ2_XS, encode_iq2_xs, encode_iq2_xs_weighted},
    Encoder{&kIQ3_XXS, encode_iq3_xxs, encode_iq3_xxs_weighted},
    Encoder{&kIQ1_S, encode_iq1_s, encode_iq1_s_weighted},
    Encoder{&kIQ4_NL, encode_iq4_nl, encode_iq4_nl_weighted},
    Encoder{&kIQ3_S, encode_iq3_s, encode_iq3_s_weighted},
    Encoder{&kIQ2_S, encode_iq2_s, encode_iq2_s_weighted},
    Encoder{&kIQ4_XS, encode_iq4_xs, encode_iq4_xs_weighted},
    Encoder{&kIQ1_M, encode_iq1_m, encode_iq1_m_weighted},
    Encoder{&kBF16, encode_bf16, nullptr},
    Encoder{&kTQ1_0, encode_tq1_0, nullptr},
    Encoder{&kTQ2_0, encode_tq2_0, nullptr},
    Encoder{&kMXFP4, encode_mxfp4, nullptr},
    Encoder{&kNVFP4, encode_nvfp4, nullptr},
    Encoder{&kQ1_0, encode_q1_0, nullptr},
    Encoder{&kQ2_0, encode_q2_0, nullptr},
};

}  // namespace

std::span<const Encoder> all_encoders() { return kEncoders; }

const Encoder* find_encoder(const BlockFormat& format) {
  for (const Encoder& encoder : kEncoders)
    if (encoder.format == &format) return &encoder;
  return nullptr;
}

void encode_row(const BlockFormat& format, const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  const Encoder* encoder = find_encoder(format);
  if (importance && encoder->weighted)
    encoder->weighted(row, count_values, importance, out);
  else
    encoder->plain(row, count_values, out);
}

}  // namespace quantfleet
