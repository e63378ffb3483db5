// Facts of the formats: docs/formats. Tested against each format's decode(): d * scale * code + minimum gives its floats.
#include "backends/kernels/cpu/integer_formats.h"

#include "backends/formats/fp4_values.h"
#include "backends/formats/half_float.h"
#include "backends/formats/integer_block.h"
#include "backends/formats/iq4_values.h"

#include <cstring>

namespace quantfleet {
namespace {

using Byte = unsigned char;

float half_at(const Byte* p) { return half_to_float(static_cast<std::uint16_t>(p[0] | p[1] << 8)); }

void nibbles_of_32(const Byte* qs, int offset, std::int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<std::int8_t>((qs[j] & 15) - offset);
    codes[j + 16] = static_cast<std::int8_t>((qs[j] >> 4) - offset);
  }
}

void fifth_bits_of_32(const Byte* qh, std::int8_t* codes) {
  for (int j = 0; j < 32; ++j) codes[j] = static_cast<std::int8_t>(codes[j] + ((qh[j / 8] >> (j % 8)) & 1) * 16);
}

void read_q4_0(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  nibbles_of_32(p + 2, 8, b.codes);
}

void read_q4_1(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  b.m = half_at(p + 2);
  nibbles_of_32(p + 4, 0, b.codes);
}

void read_q5_0(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  nibbles_of_32(p + 6, 16, b.codes);
  fifth_bits_of_32(p + 2, b.codes);
}

void read_q5_1(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  b.m = half_at(p + 2);
  nibbles_of_32(p + 8, 0, b.codes);
  fifth_bits_of_32(p + 4, b.codes);
}

void read_q8_0(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  for (int j = 0; j < 32; ++j) b.codes[j] = static_cast<std::int8_t>(p[2 + j]);
}

// Q2_K and Q3_K: element e has its two bits in qs[32 (e/128) + e%32], plane (e%128)/32.
int two_bits(const Byte* qs, int e) { return (qs[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3; }

void read_q2_k(const Byte* p, CodeBlock& b) {
  const Byte* scales = p;
  const Byte* qs = p + 16;
  b.d = half_at(p + 80);
  b.m = half_at(p + 82);
  for (int j = 0; j < 16; ++j) {
    b.scales[j] = scales[j] & 15;
    b.mins[j] = scales[j] >> 4;
  }
  for (int e = 0; e < 256; ++e) b.codes[e] = static_cast<std::int8_t>(two_bits(qs, e));
}

void read_q3_k(const Byte* p, CodeBlock& b) {
  const Byte* hmask = p;
  const Byte* qs = p + 32;
  const Byte* scales = p + 96;
  b.d = half_at(p + 108);
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    const int high = (scales[8 + j % 4] >> (2 * (j / 4))) & 3;
    b.scales[j] = static_cast<std::int16_t>((low | high << 4) - 32);
  }
  for (int e = 0; e < 256; ++e) {
    const int high = (hmask[e % 32] >> (e / 32)) & 1;
    b.codes[e] = static_cast<std::int8_t>(two_bits(qs, e) - (high ? 0 : 4));
  }
}

// Q4_K and Q5_K: eight 6-bit scales and minima in twelve bytes.
void six_bit_scales(const Byte* s, CodeBlock& b) {
  for (int j = 0; j < 4; ++j) {
    b.scales[j] = s[j] & 63;
    b.mins[j] = s[j + 4] & 63;
    b.scales[j + 4] = static_cast<std::int16_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    b.mins[j + 4] = static_cast<std::int16_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
}

void read_q4_k(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  b.m = half_at(p + 2);
  six_bit_scales(p + 4, b);
  const Byte* qs = p + 16;
  for (int e = 0; e < 256; ++e) {
    const Byte byte = qs[32 * (e / 64) + e % 32];
    b.codes[e] = static_cast<std::int8_t>(e % 64 < 32 ? byte & 15 : byte >> 4);
  }
}

void read_q5_k(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  b.m = half_at(p + 2);
  six_bit_scales(p + 4, b);
  const Byte* qh = p + 16;
  const Byte* qs = p + 48;
  for (int e = 0; e < 256; ++e) {
    const Byte byte = qs[32 * (e / 64) + e % 32];
    const int low = e % 64 < 32 ? byte & 15 : byte >> 4;
    b.codes[e] = static_cast<std::int8_t>(low + ((qh[e % 32] >> (e / 32)) & 1) * 16);
  }
}

void read_q6_k(const Byte* p, CodeBlock& b) {
  const Byte* ql = p;
  const Byte* qh = p + 128;
  b.d = half_at(p + 208);
  for (int j = 0; j < 16; ++j) b.scales[j] = static_cast<std::int8_t>(p[192 + j]);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, k = e % 128 / 32, l = e % 32;
    const int low = k < 2 ? ql[64 * h + l + 32 * k] & 15 : ql[64 * h + l + 32 * (k - 2)] >> 4;
    const int high = (qh[32 * h + l] >> (2 * k)) & 3;
    b.codes[e] = static_cast<std::int8_t>((low | high << 4) - 32);
  }
}

void read_iq4_nl(const Byte* p, CodeBlock& b) {
  b.d = half_at(p);
  for (int j = 0; j < 16; ++j) {
    b.codes[j] = kIq4Values[p[2 + j] & 15];
    b.codes[j + 16] = kIq4Values[p[2 + j] >> 4];
  }
}

void read_mxfp4(const Byte* p, CodeBlock& b) {
  b.d = half_of_e8m0(p[0]);
  for (int j = 0; j < 16; ++j) {
    b.codes[j] = kFp4Values[p[1 + j] & 15];
    b.codes[j + 16] = kFp4Values[p[1 + j] >> 4];
  }
}

// The formats that backends/formats defines by integers, which it gives scales for every 16 values.
template <auto Unpack, int kSubBlock>
void read_integers(const Byte* p, CodeBlock& b) {
  IntegerBlock block;
  Unpack(reinterpret_cast<const std::byte*>(p), block);
  b.d = block.d;
  for (int j = 0; j < 256 / kSubBlock; ++j) b.scales[j] = block.scales[j * kSubBlock / 16];
  std::memcpy(b.codes, block.codes, sizeof b.codes);
}

//                       GGUF type, block, sub-block, scales, minimum, bytes
constexpr IntegerFormat kFormats[] = {
    {2, 32, 32, false, 0, 18, read_q4_0},     {3, 32, 32, false, +1, 20, read_q4_1},
    {6, 32, 32, false, 0, 22, read_q5_0},     {7, 32, 32, false, +1, 24, read_q5_1},
    {8, 32, 32, false, 0, 34, read_q8_0},     {10, 256, 16, true, -1, 84, read_q2_k},
    {11, 256, 16, true, 0, 110, read_q3_k},   {12, 256, 32, true, -1, 144, read_q4_k},
    {13, 256, 32, true, -1, 176, read_q5_k},  {14, 256, 16, true, 0, 210, read_q6_k},
    {20, 32, 32, false, 0, 18, read_iq4_nl},  {39, 32, 32, false, 0, 17, read_mxfp4},
    {16, 256, 32, true, 0, 66, read_integers<unpack_iq2_xxs, 32>},  {17, 256, 16, true, 0, 74, read_integers<unpack_iq2_xs, 16>},
    {18, 256, 32, true, 0, 98, read_integers<unpack_iq3_xxs, 32>},  {19, 256, 32, true, 0, 50, read_integers<unpack_iq1_s, 32>},
    {21, 256, 32, true, 0, 110, read_integers<unpack_iq3_s, 32>},   {22, 256, 16, true, 0, 82, read_integers<unpack_iq2_s, 16>},
    {23, 256, 32, true, 0, 136, read_integers<unpack_iq4_xs, 32>},  {29, 256, 16, true, 0, 56, read_integers<unpack_iq1_m, 16>},
    {34, 256, 32, true, 0, 54, read_integers<unpack_tq1_0, 32>},    {35, 256, 32, true, 0, 66, read_integers<unpack_tq2_0, 32>},
};

}  // namespace

const IntegerFormat* find_integer_format(std::uint32_t ggml_type) {
  for (const IntegerFormat& format : kFormats)
    if (format.ggml_type == ggml_type) return &format;
  return nullptr;
}

}  // namespace quantfleet
