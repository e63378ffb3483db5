// What products of codes by VPMADDUBSW rest on: pairs of them stay within 16 bits (2 * 128 * 127 <= 32767), and as many quads are added in
// 16 bits as cannot overflow.
#pragma once

#include "backends/kernels/cpu/avx2/panels.h"

#include <cstdint>

namespace quantfleet::avx2 {

// Codes that need all of a byte.
template <class P>
constexpr bool takes_a_byte() {
  return P::kBits == CodeBits::k8 || P::kTable != CodeTable::kNone;
}

// Quads whose products may be added in 16 bits.
template <class P>
constexpr int quads_in_16_bits() {
  constexpr int largest = takes_a_byte<P>() ? 128 : P::kBits == CodeBits::k4 ? 15 : P::kBits == CodeBits::k5 ? 31
                          : P::kBits == CodeBits::k6 ? 63 : P::kBits == CodeBits::k2 ? 3 : 7;
  constexpr int fit = 32767 / (2 * largest * 127), in_sub_block = P::kSubBlock / 4;
  constexpr int power = fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  return power < in_sub_block ? power : in_sub_block;
}

}  // namespace quantfleet::avx2
