// The encoders of the grid formats: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S. For each sub-block the real scale that
// fits best, one d for the super-block, then codes again for the scales as stored; d is refitted once with those codes.
// Spec: docs/formats/quantizers.md.  Tests: tests/backends/quantizers/encoders_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/half_float.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/catalog.h"
#include "backends/quantizers/grid_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

// How a format uses its grid. Values are d * code * q, code odd.
struct GridFormat {
  int sub_block;                     // values per scale code: 16 or 32
  int code_max;                      // 31, or 15 for IQ1
  bool signs;                        // stored beside the grid; otherwise the grid has them (IQ1)
  bool even_signs;                   // seven of eight are stored
  bool variant_per_group;
  GridCandidates candidates;
};

// One super-block as chosen: what the formats pack.
struct GridBlock {
  std::uint16_t d = 0;
  std::uint8_t scales[16] = {};      // (code - 1) / 2, per sub-block
  GroupCode codes[64] = {};          // per group
  std::uint8_t signs[32] = {};       // per 8 values, the wrong one included
};

// The weights of 256 values: importance * sqrt(sigma^2 + x^2), or x^2 + 0.25 sigma^2 without.
void weigh(const float* x, const float* importance, float sigma_factor, float* weights) {
  float sigma2 = 0;
  for (int i = 0; i < 256; ++i) sigma2 += x[i] * x[i];
  sigma2 *= sigma_factor / 256;
  for (int i = 0; i < 256; ++i)
    weights[i] = importance ? importance[i] * std::sqrt(sigma2 + x[i] * x[i]) : 0.25f * sigma2 + x[i] * x[i];
}

GridBlock choose_block(const GridFormat& format, std::span<const GridSearch* const> variants, const float* row, const float* weights) {
  GridBlock block;
  float x[256];
  std::uint8_t odd[32] = {};
  for (int i = 0; i < 256; ++i) {
    x[i] = format.signs ? std::fabs(row[i]) : row[i];
    if (format.signs && row[i] < 0) block.signs[i / 8] |= static_cast<std::uint8_t>(1 << (i % 8));
  }
  for (int g = 0; g < 32; ++g) odd[g] = signs_of_seven(block.signs[g] & 127) != block.signs[g];

  const int count = 256 / format.sub_block, groups_each = format.sub_block / variants.front()->elements();
  SubBlock subs[16];
  GridFit fits[16];
  for (int j = 0; j < count; ++j) {
    const auto at = static_cast<std::size_t>(j * format.sub_block), size = static_cast<std::size_t>(format.sub_block);
    subs[j] = {variants, format.variant_per_group, format.even_signs, {x + at, size}, {weights + at, size}, {odd + at / 8, size / 8}};
    fits[j] = fit_to_grid(subs[j], format.candidates);
  }
  float d = fit_super_scale({fits, static_cast<std::size_t>(count)}, format.code_max);
  float best_error = 0;
  for (int round = 0; round < 3; ++round) {
    GridBlock tried = block;
    tried.d = scale_to_half(d);
    const float stored = half_to_float(tried.d);
    if (!(stored > 0)) break;  // values so small that d is zero: any codes
    float error = 0, sums[2] = {0, 0};
    for (int j = 0; j < count; ++j) {
      const int middle = fits[j].scale > 0 ? odd_code(fits[j].scale, stored, format.code_max) : 1;
      float best = 0, best_sums[2] = {0, 0};
      GroupCode codes[8];
      for (int code = std::max(1, middle - 2); code <= std::min(format.code_max, middle + 2); code += 2) {
        float own[2];
        const float tried_error = choose_codes(subs[j], stored * static_cast<float>(code), codes, own);
        if (code != std::max(1, middle - 2) && !(tried_error < best)) continue;
        best = tried_error;
        best_sums[0] = own[0] * static_cast<float>(code);
        best_sums[1] = own[1] * static_cast<float>(code) * static_cast<float>(code);
        tried.scales[j] = static_cast<std::uint8_t>((code - 1) / 2);
        std::copy_n(codes, groups_each, tried.codes + j * groups_each);
      }
      error += best;
      sums[0] += best_sums[0];
      sums[1] += best_sums[1];
    }
    if (round > 0 && !(error < best_error)) break;
    best_error = error;
    block = tried;
    if (!(sums[0] > 0 && sums[1] > 0)) break;
    d = sums[0] / sums[1];
  }
  if (format.even_signs && block.d != 0) {
    const int elements = variants.front()->elements();
    for (int g = 0; g < 256 / elements; ++g)
      if (const int wrong = block.codes[g].wrong_sign; wrong >= 0)
        block.signs[g * elements / 8] ^= static_cast<std::uint8_t>(1 << (g * elements % 8 + wrong));
  }
  return block;
}

template <class Block, class Pack>
void for_each_block(const GridFormat& format, std::span<const GridSearch* const> variants, float sigma_factor, const float* row,
                    std::int64_t count_values, const float* importance, std::byte* out, Pack pack) {
  for (std::int64_t i = 0; i < count_values; i += 256, out += sizeof(Block)) {
    float weights[256];
    weigh(row + i, importance ? importance + i : nullptr, sigma_factor, weights);
    const GridBlock chosen = choose_block(format, variants, row + i, weights);
    Block block{};
    pack(chosen, block);
    std::memcpy(out, &block, sizeof block);
  }
}

constexpr GridFormat kIq1SFormat{32, 15, false, false, false, {0.8f, 5.0f, 24}};
constexpr GridFormat kIq1MFormat{16, 15, false, false, true, {0.8f, 4.0f, 20}};
constexpr GridFormat kIq2XxsFormat{32, 31, true, true, false, {0.7f, 2.0f, 16}};
constexpr GridFormat kIq2XsFormat{16, 31, true, true, false, {0.7f, 2.0f, 16}};
constexpr GridFormat kIq2SFormat{16, 31, true, false, false, {0.7f, 2.0f, 16}};
constexpr GridFormat kIq3XxsFormat{32, 31, true, true, false, {0.75f, 1.35f, 25}};
constexpr GridFormat kIq3SFormat{32, 31, true, false, false, {0.75f, 1.35f, 25}};

// The grids in units of d * code.
std::span<const GridSearch* const> shifted_grids() {
  static const GridSearch up(kGridIq1S, 1, 0.125f), down(kGridIq1S, 1, -0.125f);
  static constexpr const GridSearch* kVariants[] = {&up, &down};
  return kVariants;
}
template <const GridTable& grid>
std::span<const GridSearch* const> grid_in(float unit) {
  static const GridSearch search(grid, unit);
  static constexpr const GridSearch* kVariants[] = {&search};
  return kVariants;
}

std::uint8_t low_byte(int entry) { return static_cast<std::uint8_t>(entry & 255); }

void put_word(std::uint32_t word, std::uint8_t* bytes) { std::memcpy(bytes, &word, sizeof word); }

// Scale and seven signs of each 8 of sub-block ib, as IQ2_XXS and IQ3_XXS store them.
std::uint32_t scale_and_signs(const GridBlock& chosen, int ib) {
  std::uint32_t word = static_cast<std::uint32_t>(chosen.scales[ib]) << 28;
  for (int l = 0; l < 4; ++l) word |= static_cast<std::uint32_t>(chosen.signs[4 * ib + l] & 127) << (7 * l);
  return word;
}

}  // namespace

void encode_iq1_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ1_S>(kIq1SFormat, shifted_grids(), 2, row, count_values, importance, out,
                             [](const GridBlock& chosen, BlockIQ1_S& block) {
                               block.d = chosen.d;
                               for (int ib = 0; ib < 8; ++ib) {
                                 int h = chosen.scales[ib] << 12 | (chosen.codes[4 * ib].variant ? 0x8000 : 0);
                                 for (int l = 0; l < 4; ++l) {
                                   const int entry = chosen.codes[4 * ib + l].entry;
                                   block.qs[4 * ib + l] = low_byte(entry);
                                   h |= (entry >> 8) << (3 * l);
                                 }
                                 block.qh[ib] = static_cast<std::uint16_t>(h);
                               }
                             });
}

void encode_iq1_m_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ1_M>(kIq1MFormat, shifted_grids(), 2, row, count_values, importance, out,
                             [](const GridBlock& chosen, BlockIQ1_M& block) {
                               for (int word = 0; word < 4; ++word)
                                 block.scales[word] = static_cast<std::uint16_t>((chosen.d >> (4 * word) & 15) << 12);
                               for (int j = 0; j < 16; ++j)
                                 block.scales[j / 4] = static_cast<std::uint16_t>(block.scales[j / 4] | chosen.scales[j] << (3 * (j % 4)));
                               for (int g = 0; g < 32; ++g) {
                                 block.qs[g] = low_byte(chosen.codes[g].entry);
                                 const int nibble = chosen.codes[g].entry >> 8 | (chosen.codes[g].variant ? 8 : 0);
                                 block.qh[g / 2] = static_cast<std::uint8_t>(block.qh[g / 2] | nibble << (4 * (g % 2)));
                               }
                             });
}

void encode_iq2_xxs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ2_XXS>(kIq2XxsFormat, grid_in<kGridIq2Xxs>(0.125f), 1, row, count_values, importance, out,
                               [](const GridBlock& chosen, BlockIQ2_XXS& block) {
                                 block.d = chosen.d;
                                 for (int ib = 0; ib < 8; ++ib) {
                                   for (int l = 0; l < 4; ++l) block.qs[8 * ib + l] = low_byte(chosen.codes[4 * ib + l].entry);
                                   put_word(scale_and_signs(chosen, ib), block.qs + 8 * ib + 4);
                                 }
                               });
}

void encode_iq2_xs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ2_XS>(kIq2XsFormat, grid_in<kGridIq2Xs>(0.125f), 1, row, count_values, importance, out,
                              [](const GridBlock& chosen, BlockIQ2_XS& block) {
                                block.d = chosen.d;
                                for (int g = 0; g < 32; ++g)
                                  block.qs[g] = static_cast<std::uint16_t>(chosen.codes[g].entry | (chosen.signs[g] & 127) << 9);
                                for (int j = 0; j < 8; ++j)
                                  block.scales[j] = static_cast<std::uint8_t>(chosen.scales[2 * j] | chosen.scales[2 * j + 1] << 4);
                              });
}

void encode_iq2_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ2_S>(kIq2SFormat, grid_in<kGridIq2S>(0.125f), 2, row, count_values, importance, out,
                             [](const GridBlock& chosen, BlockIQ2_S& block) {
                               block.d = chosen.d;
                               for (int g = 0; g < 32; ++g) {
                                 block.qs[g] = low_byte(chosen.codes[g].entry);
                                 block.signs[g] = chosen.signs[g];
                                 block.qh[g / 4] = static_cast<std::uint8_t>(block.qh[g / 4] | (chosen.codes[g].entry >> 8) << (2 * (g % 4)));
                               }
                               for (int j = 0; j < 8; ++j)
                                 block.scales[j] = static_cast<std::uint8_t>(chosen.scales[2 * j] | chosen.scales[2 * j + 1] << 4);
                             });
}

void encode_iq3_xxs_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ3_XXS>(kIq3XxsFormat, grid_in<kGridIq3Xxs>(0.25f), 2, row, count_values, importance, out,
                               [](const GridBlock& chosen, BlockIQ3_XXS& block) {
                                 block.d = chosen.d;
                                 for (int g = 0; g < 64; ++g) block.qs[g] = low_byte(chosen.codes[g].entry);
                                 for (int ib = 0; ib < 8; ++ib) put_word(scale_and_signs(chosen, ib), block.scales_signs + 4 * ib);
                               });
}

void encode_iq3_s_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockIQ3_S>(kIq3SFormat, grid_in<kGridIq3S>(1), 2, row, count_values, importance, out,
                             [](const GridBlock& chosen, BlockIQ3_S& block) {
                               block.d = chosen.d;
                               for (int g = 0; g < 64; ++g) {
                                 block.qs[g] = low_byte(chosen.codes[g].entry);
                                 block.qh[g / 8] = static_cast<std::uint8_t>(block.qh[g / 8] | (chosen.codes[g].entry >> 8) << (g % 8));
                               }
                               std::memcpy(block.signs, chosen.signs, sizeof block.signs);
                               for (int j = 0; j < 4; ++j)
                                 block.scales[j] = static_cast<std::uint8_t>(chosen.scales[2 * j] | chosen.scales[2 * j + 1] << 4);
                             });
}

void encode_iq1_s(const float* row, std::int64_t count_values, std::byte* out) { encode_iq1_s_weighted(row, count_values, nullptr, out); }
void encode_iq1_m(const float* row, std::int64_t count_values, std::byte* out) { encode_iq1_m_weighted(row, count_values, nullptr, out); }
void encode_iq2_xxs(const float* row, std::int64_t count_values, std::byte* out) { encode_iq2_xxs_weighted(row, count_values, nullptr, out); }
void encode_iq2_xs(const float* row, std::int64_t count_values, std::byte* out) { encode_iq2_xs_weighted(row, count_values, nullptr, out); }
void encode_iq2_s(const float* row, std::int64_t count_values, std::byte* out) { encode_iq2_s_weighted(row, count_values, nullptr, out); }
void encode_iq3_xxs(const float* row, std::int64_t count_values, std::byte* out) { encode_iq3_xxs_weighted(row, count_values, nullptr, out); }
void encode_iq3_s(const float* row, std::int64_t count_values, std::byte* out) { encode_iq3_s_weighted(row, count_values, nullptr, out); }

}  // namespace quantfleet
