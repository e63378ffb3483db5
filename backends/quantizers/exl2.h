// EXL2 (ExLlamaV2): the inputs of a matrix in descending order of their mean square, in groups of 2 to 8 bits, most bits first; of each group one
// F16 maximum and a 4-bit scale per output. Codes by GPTQ's error feedback. Layout: docs/formats/huggingface.md
#pragma once

#include "backends/huggingface/linear_format.h"
#include "backends/quantizers/gptq.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {

// How bits are spread over a matrix: shares of its inputs, in descending order of bits, the last part taking the rest.
struct Exl2Option {
  struct Part {
    int bits;
    double share;
  };
  std::vector<Part> parts;
  std::int64_t group_size = 128;

  std::string text() const;  // "5@0.1,4@0.9 g128"
};
// What an allocation chooses from, by ascending size: about 2.2 to 8.2 bits per weight.
std::span<const Exl2Option> exl2_options();

// The groups of a matrix of K inputs, which are a multiple of 32.
std::vector<huggingface::Exl2Codes::Group> exl2_groups(const Exl2Option& option, std::int64_t columns);
// What is stored of a matrix [N, K] with these groups.
std::uint64_t exl2_bits(std::span<const huggingface::Exl2Codes::Group> groups, std::int64_t rows, std::int64_t columns);

// weights [N, K], replaced by the values of their codes. `feedback` orders by importance. Of each group the maximum (0.72 to 1.14 times the largest
// step that covers the weights) and each output's scale code are those of the least squared error, errors divided by U_ii.
// Same bits for any thread count and instruction set.
huggingface::Exl2Codes quantize_exl2(std::span<float> weights, std::int64_t rows, const ErrorFeedback& feedback, const Exl2Option& option, GemmF32& gemm, ThreadPool& pool);

}  // namespace quantfleet
