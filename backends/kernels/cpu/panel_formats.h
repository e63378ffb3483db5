// The formats that have panels of codes, as constants that vector kernels are compiled for: one line and one `case` a format.
// Layout: panel_layout.h.
#pragma once

#include "backends/kernels/cpu/panel_layout.h"

#define QF_INLINE [[gnu::always_inline]] static inline

namespace quantfleet::panel_formats {

// One format's panel as constants. Block, SubBlock: columns; MinSign as in IntegerFormat.
// Unit: d is a half times 1 / kUnitParts; 0 parts: d is a bf16.
template <CodeBits kBits_, int kOffset_, int kBlock_, int kSubBlock_, bool kScales_, int kMinSign_, bool kNibbles_ = false,
          CodeTable kTable_ = CodeTable::kNone, int kUnitParts_ = 1>
struct Panel {
  static constexpr CodeBits kBits = kBits_;
  static constexpr int kOffset = kOffset_, kBlock = kBlock_, kSubBlock = kSubBlock_, kMinSign = kMinSign_;
  static constexpr bool kScales = kScales_, kNibbles = kNibbles_;
  static constexpr CodeTable kTable = kTable_;
  static constexpr int kUnitParts = kUnitParts_;
  static constexpr int kSubs = kBlock / kSubBlock;
  static constexpr int kChunkCodes = kBits_ == CodeBits::k8     ? 512
                                     : kBits_ == CodeBits::k4   ? 256
                                     : kBits_ == CodeBits::k5 ? 320
                                     : kBits_ == CodeBits::k6 ? 384
                                     : kBits_ == CodeBits::k2   ? 128
                                                                : 192;
  static constexpr int kSubsPerChunk = kScales ? 32 / kSubBlock : 0;
  static constexpr int kChunkBytes = kChunkCodes + 16 * kSubsPerChunk * (kMinSign && !kNibbles ? 2 : 1);
  static constexpr int kUnitBytes = kMinSign ? 64 : 32;
  static constexpr int kBlockBytes = kUnitBytes + kBlock / 32 * kChunkBytes;
};

template <class P>
QF_INLINE std::int64_t panel_size(std::int64_t columns) {
  return (columns / P::kBlock * P::kBlockBytes + 63) / 64 * 64;
}

// Loads that the compiler leaves in the order in which they are written. Decoding is bound by memory: line after line asked for in
// ascending order is what the processor's prefetchers follow, and a third faster than the same lines in a compiler's order.
template <class Vector>
QF_INLINE Vector load_in_order(const unsigned char* p) {
  typedef Vector Unaligned __attribute__((aligned(1), may_alias));
  return *reinterpret_cast<const volatile Unaligned*>(p);
}

// Where column k's block begins in a panel, and its chunk; where bytes of sub-scale j lie in a block, and of its minimum.
template <class P>
QF_INLINE const unsigned char* block_at(const unsigned char* panel, std::int64_t k) {
  return panel + k / P::kBlock * P::kBlockBytes;
}
template <class P>
QF_INLINE const unsigned char* chunk_at(const unsigned char* panel, std::int64_t k) {
  return block_at<P>(panel, k) + P::kUnitBytes + k % P::kBlock / 32 * P::kChunkBytes;
}
template <class P>
QF_INLINE const unsigned char* sub_scales_at(const unsigned char* block, int j) {
  return block + P::kUnitBytes + j / P::kSubsPerChunk * P::kChunkBytes + P::kChunkCodes + 16 * (j % P::kSubsPerChunk);
}
template <class P>
QF_INLINE const unsigned char* sub_minima_at(const unsigned char* block, int j) {
  return sub_scales_at<P>(block, j) + (P::kNibbles ? 0 : 16 * P::kSubsPerChunk);
}

using Q4_0 = Panel<CodeBits::k4, 8, 32, 32, false, 0>;
using Q4_1 = Panel<CodeBits::k4, 0, 32, 32, false, +1>;
using Q5_0 = Panel<CodeBits::k5, 16, 32, 32, false, 0>;
using Q5_1 = Panel<CodeBits::k5, 0, 32, 32, false, +1>;
using Q8_0 = Panel<CodeBits::k8, 128, 32, 32, false, 0>;
using Q2_K = Panel<CodeBits::k2, 0, 256, 16, true, -1, true>;
using Q3_K = Panel<CodeBits::k3, 4, 256, 16, true, 0>;
using Q4_K = Panel<CodeBits::k4, 0, 256, 32, true, -1>;
using Q5_K = Panel<CodeBits::k5, 0, 256, 32, true, -1>;
using Q6_K = Panel<CodeBits::k6, 32, 256, 16, true, 0>;
using IQ1_S = Panel<CodeBits::k3, 128, 256, 32, true, 0, false, CodeTable::kIq1, 8>;
using IQ1_M = Panel<CodeBits::k3, 128, 256, 16, true, 0, false, CodeTable::kIq1, 8>;
using IQ2_XXS = Panel<CodeBits::k3, 128, 256, 32, true, 0, false, CodeTable::kIq2, 8>;
using IQ2_XS = Panel<CodeBits::k3, 128, 256, 16, true, 0, false, CodeTable::kIq2, 8>;  // and IQ2_S
using IQ3_XXS = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq3Xxs, 4>;
using IQ3_S = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq3S>;
using IQ4_NL = Panel<CodeBits::k4, 128, 32, 32, false, 0, false, CodeTable::kIq4>;
using IQ4_XS = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq4>;
using MXFP4 = Panel<CodeBits::k4, 128, 32, 32, false, 0, false, CodeTable::kFp4, 0>;
using Ternary = Panel<CodeBits::k2, 1, 256, 32, true, 0>;  // TQ1_0, TQ2_0

// Calls body(Panel) for a format; true when the format is one of these.
template <class Body>
QF_INLINE bool for_panel(std::uint32_t ggml_type, Body body) {
  switch (ggml_type) {
    case 2: body(Q4_0{}); return true;
    case 3: body(Q4_1{}); return true;
    case 6: body(Q5_0{}); return true;
    case 7: body(Q5_1{}); return true;
    case 8: body(Q8_0{}); return true;
    case 10: body(Q2_K{}); return true;
    case 11: body(Q3_K{}); return true;
    case 12: body(Q4_K{}); return true;
    case 13: body(Q5_K{}); return true;
    case 14: body(Q6_K{}); return true;
    case 16: body(IQ2_XXS{}); return true;
    case 17: case 22: body(IQ2_XS{}); return true;
    case 18: body(IQ3_XXS{}); return true;
    case 19: body(IQ1_S{}); return true;
    case 20: body(IQ4_NL{}); return true;
    case 21: body(IQ3_S{}); return true;
    case 23: body(IQ4_XS{}); return true;
    case 29: body(IQ1_M{}); return true;
    case 34: case 35: body(Ternary{}); return true;
    case 39: body(MXFP4{}); return true;
    default: return false;
  }
}

}  // namespace quantfleet::panel_formats
