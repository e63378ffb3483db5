#include "backends/quantizers/linear_quantizer.h"

#include <algorithm>
#include <cctype>

namespace quantfleet {
namespace {

using huggingface::kBitnet, huggingface::kLossless, huggingface::kSparse, huggingface::kBitsandbytes, huggingface::kCompressedTensors, huggingface::kFp8, huggingface::kHqq;

constexpr LinearQuantizer kQuantizers[] = {
    {"bnb-nf4", "bitsandbytes NF4, one F32 scale per 64 values", &kBitsandbytes, 64, config_nf4, quantize_nf4},
    {"bnb-nf4-dq", "the same with scales in 8 bits (double quantization)", &kBitsandbytes, 64, config_nf4_nested, quantize_nf4_nested},
    {"bnb-fp4", "bitsandbytes FP4", &kBitsandbytes, 64, config_fp4, quantize_fp4},
    {"bnb-fp4-dq", "the same with double quantization", &kBitsandbytes, 64, config_fp4_nested, quantize_fp4_nested},
    {"bnb-int8", "LLM.int8: rows of int8; outlier columns stay in F32 while running", &kBitsandbytes, 0, config_llm_int8, quantize_llm_int8},
    {"hqq-8", "HQQ of 8 bits", &kHqq, 64, config_hqq8, quantize_hqq8},
    {"hqq-4", "HQQ of 4 bits", &kHqq, 64, config_hqq4, quantize_hqq4},
    {"hqq-3", "HQQ of 3 bits", &kHqq, 64, config_hqq3, quantize_hqq3},
    {"hqq-2", "HQQ of 2 bits", &kHqq, 64, config_hqq2, quantize_hqq2},
    {"hqq-1", "HQQ of 1 bit", &kHqq, 64, config_hqq1, quantize_hqq1},
    {"fp8-e4m3", "FP8 E4M3, one scale per matrix", &kFp8, 0, config_fp8, quantize_e4m3},
    {"fp8-e4m3-channel", "FP8 E4M3, one scale per output", &kFp8, 0, config_fp8, quantize_e4m3_channel},
    {"fp8-e5m2", "FP8 E5M2, one scale per matrix", &kFp8, 0, config_fp8, quantize_e5m2},
    {"fp8-e5m2-channel", "FP8 E5M2, one scale per output", &kFp8, 0, config_fp8, quantize_e5m2_channel},
    {"w4a16", "compressed-tensors, 4-bit groups, symmetric", &kCompressedTensors, 128, config_w4a16, quantize_w4a16},
    {"w4a16-asym", "compressed-tensors, 4-bit groups with zero points", &kCompressedTensors, 128, config_w4a16_asym, quantize_w4a16_asym},
    {"w8a16", "compressed-tensors, 8 bits, one scale per output", &kCompressedTensors, 0, config_w8a16, quantize_w8a16},
    {"w8a8", "compressed-tensors, int8 weights and int8 activations per token", &kCompressedTensors, 0, config_w8a8, quantize_w8a8},
    {"ternary", "BitNet b1.58: -1, 0, 1 times one scale per matrix (bitnet)", &kBitnet, 0, config_bitnet, quantize_bitnet},
    {"sparse24-w4", "two of every four inputs, 4-bit groups", &kSparse, 128, config_sparse4, quantize_sparse4, true, false, true},
    {"sparse24-w8", "two of every four inputs, 8-bit groups", &kSparse, 128, config_sparse8, quantize_sparse8, true, false, true},
    {"lossless-bf16", "BF16 with entropy-coded exponents, decoded on load", &kLossless, 0, config_lossless, quantize_lossless, true, true},
};

}  // namespace

std::span<const LinearQuantizer> all_linear_quantizers() { return kQuantizers; }

const LinearQuantizer* find_linear_quantizer(std::string_view name) {
  const auto equal = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b)); };
  for (const LinearQuantizer& one : kQuantizers)
    if (std::equal(one.name.begin(), one.name.end(), name.begin(), name.end(), equal)) return &one;
  return nullptr;
}

}  // namespace quantfleet
