// The upper triangular U with H^-1 = U^T U, which GPTQ's error feedback needs, by blocks of matrix products.
#pragma once

#include "backends/kernels/gemm_f32.h"

#include <cstdint>

namespace quantfleet {

// h [n, n], symmetric (its upper triangle is read), replaced by U; what is below the diagonal becomes zero.
// false: not positive definite to F32; h is then destroyed.
// With J the reversal of order, J H J = L L^T gives U = J L^-1 J: one factorization and one triangular inverse, in place.
// Blocks of 128; every number is a chain of products in ascending order, so the bits depend on n alone (numerics.md rule 2).
bool inverse_cholesky(float* h, std::int64_t n, GemmF32& gemm);

}  // namespace quantfleet
