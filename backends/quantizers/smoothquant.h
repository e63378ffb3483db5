// SmoothQuant (Xiao et al. 2023): large input columns make a scale for all columns coarse, so they are divided by s and the weights' columns
// multiplied:  s_k = max|x_k|^alpha / max|w_k|^(1 - alpha)  (eq. 4). What computes x takes the division: a norm, or rows of a matrix.
#pragma once

#include <span>
#include <vector>

namespace quantfleet {

// max_inputs [K]: the largest |x| of each column; matrices [N_i, K] multiply x. Where either is 0: 1. At least 1e-5.
// By our own elementary functions: the same bits everywhere.
std::vector<float> smoothing_scales(std::span<const float> max_inputs, std::span<const std::span<const float>> matrices, double alpha);

// The static scale of int8 inputs up to `largest`: as compressed-tensors, the largest magnitude is 127.5 steps (1 / 127.5 where it is 0).
float static_input_scale(float largest);

}  // namespace quantfleet
