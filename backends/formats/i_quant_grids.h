// The grids of the i-quants: a group of 4 or 8 magnitudes (IQ1: values) is the number of an entry. An entry is stored as its
// codes, `bits` each, element 0 lowest; a code stands for a value of the alphabet.
#pragma once

#include <bit>
#include <cstdint>

namespace quantfleet {

struct GridTable {
  int entries;
  int elements;                 // per entry
  int bits;                     // per code
  const std::uint16_t* codes;   // [entries], ascending
  std::int8_t alphabet[8];      // code -> value

  int code(int entry, int element) const { return (codes[entry] >> (bits * element)) & ((1 << bits) - 1); }
  std::int8_t value(int entry, int element) const { return alphabet[code(entry, element)]; }
};

extern const GridTable kGridIq2Xxs, kGridIq2Xs, kGridIq2S, kGridIq3Xxs, kGridIq3S, kGridIq1S;

// IQ2_XXS, IQ2_XS and IQ3_XXS store seven signs of eight; the eighth makes the number of minus signs even.
// Bit j of the result set: element j is negative.
constexpr int signs_of_seven(int stored) { return stored | (std::popcount(static_cast<unsigned>(stored)) & 1) << 7; }

// A group of signed magnitudes; one of IQ1's values in eighths, shifted by an eighth up or down.
inline void put_group(const GridTable& grid, int entry, int signs, std::int8_t* codes) {
  for (int j = 0; j < grid.elements; ++j) {
    const std::int8_t magnitude = grid.value(entry, j);
    codes[j] = (signs >> j) & 1 ? static_cast<std::int8_t>(-magnitude) : magnitude;
  }
}
inline void put_shifted_group(int entry, bool down, std::int8_t* codes) {
  for (int j = 0; j < 8; ++j) codes[j] = static_cast<std::int8_t>(8 * kGridIq1S.value(entry, j) + (down ? -1 : 1));
}

}  // namespace quantfleet
