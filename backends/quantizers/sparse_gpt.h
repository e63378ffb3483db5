// SparseGPT (Frantar & Alistarh 2023) for two of every four inputs, quantized in the same pass: at each four the two with the smallest w^2 / U_ii^2
// go, and what they and the rounding of the others leave is made up for by the columns that follow, as in GPTQ. With a diagonal Hessian nothing is
// passed on and the choice is Wanda's (Sun et al. 2023): |w| times the norm of the input.
#pragma once

#include "backends/huggingface/linear_format.h"
#include "backends/quantizers/gptq.h"

namespace quantfleet {

// weights [N, K], replaced by the values of their codes. feedback: in the order of the columns. bits 4 or 8; K a multiple of 8, group_size of 4.
// Scales: the largest weight that looks kept when its group begins is 7.5 (127.5) steps. Same bits for any thread count and instruction set.
huggingface::SparseCodes prune_and_quantize(std::span<float> weights, std::int64_t rows, const ErrorFeedback& feedback, int bits, std::int64_t group_size, GemmF32& gemm, ThreadPool& pool);

}  // namespace quantfleet
