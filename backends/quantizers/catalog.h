// The quantizers: for every weight format, how codes are chosen, without and with an importance matrix.
#pragma once

#include "backends/formats/block_format.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace quantfleet {

struct Encoder {
  const BlockFormat* format;
  // row: count_values finite values, whole blocks;  out: format->row_bytes(count_values) bytes.
  void (*plain)(const float* row, std::int64_t count_values, std::byte* out);
  // importance: one weight per value of the row. nullptr: the format does not use importance.
  void (*weighted)(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
};

std::span<const Encoder> all_encoders();                 // one per format of all_formats()
const Encoder* find_encoder(const BlockFormat& format);  // nullptr when there is none

// round_to_nearest.cc: one pass, no search. Q4_0 to Q8_0 have the bytes of llama.cpp's reference.
void encode_f32(const float* row, std::int64_t count_values, std::byte* out);
void encode_f16(const float* row, std::int64_t count_values, std::byte* out);
void encode_bf16(const float* row, std::int64_t count_values, std::byte* out);
void encode_q8_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_q4_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_q4_1(const float* row, std::int64_t count_values, std::byte* out);
void encode_q5_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_q5_1(const float* row, std::int64_t count_values, std::byte* out);

// k_quants.cc: scale search per sub-block, then codes again with the scales as stored.
void encode_q2_k(const float* row, std::int64_t count_values, std::byte* out);
void encode_q3_k(const float* row, std::int64_t count_values, std::byte* out);
void encode_q4_k(const float* row, std::int64_t count_values, std::byte* out);
void encode_q5_k(const float* row, std::int64_t count_values, std::byte* out);
void encode_q6_k(const float* row, std::int64_t count_values, std::byte* out);

// importance_weighted.cc
void encode_q4_0_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q4_1_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q5_0_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q5_1_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q2_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q3_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q4_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q5_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_q6_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);

// i_quants.cc: the grid formats. Plain: every column is equally important.
void encode_iq1_s(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq1_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq1_m(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq1_m_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq2_xxs(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq2_xxs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq2_xs(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq2_xs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq2_s(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq2_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq3_xxs(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq3_xxs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq3_s(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq3_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);

// fixed_values.cc
void encode_iq4_nl(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq4_nl_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_iq4_xs(const float* row, std::int64_t count_values, std::byte* out);
void encode_iq4_xs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out);
void encode_tq1_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_tq2_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_q1_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_q2_0(const float* row, std::int64_t count_values, std::byte* out);
void encode_mxfp4(const float* row, std::int64_t count_values, std::byte* out);
void encode_nvfp4(const float* row, std::int64_t count_values, std::byte* out);

}  // namespace quantfleet
