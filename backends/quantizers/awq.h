// AWQ (Lin et al. 2023): before rounding, columns that meet large inputs are scaled up, and what comes before them down by as
// much; then the ranges of the groups are clipped where that lessens the output error. Both errors are those of the layers'
// linear outputs over the calibration inputs, computed from the inputs' second moments instead of from the inputs.
// Same bits for any thread count and instruction set.
#pragma once

#include "backends/kernels/gemm_f32.h"

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet {

struct AwqOptions {
  int bits = 4;
  std::int64_t group_size = 128;   // divides K
  int scale_steps = 20;            // exponents 0, 1/20 .. 19/20 of the mean input
  int clip_steps = 20;             // ranges shrink by i/20, i < 10
};

// The inputs of matrices over the same K columns.
struct AwqInputs {
  std::span<const double> mean_magnitude;   // [K]: mean |x|
  std::span<const float> second_moments;    // [K, K]: sum of x x^T
};

// One factor per column, by which the matrices [N_i, K] are to be multiplied and their input divided: the best of the steps.
std::vector<float> search_scales(const AwqInputs& inputs, std::span<const std::span<const float>> matrices, const AwqOptions& options,
                                 GemmF32& gemm, ThreadPool& pool);

// Clamps each group of each row of weights [N, K] to the best share of its range. second_moments are those of the inputs that
// these (already scaled) weights meet.
void clip_groups(std::span<float> weights, std::int64_t rows, std::span<const float> second_moments, std::int64_t columns,
                 const AwqOptions& options, GemmF32& gemm, ThreadPool& pool);

}  // namespace quantfleet
