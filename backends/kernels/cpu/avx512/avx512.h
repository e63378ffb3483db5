// The AVX-512 VNNI kernels; equal to the scalar kernels in every bit. Members of KernelFamily, see kernels.h.
#pragma once

#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/tasks.h"

namespace quantfleet::avx512 {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y);
void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y);
void rotate(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin);
void silu_mul(const float* gate, const float* up, std::int64_t n, float* y);
void add(const float* x, const float* y, std::int64_t n, float* sum);
void softmax(const float* x, std::int64_t n, float* y);
LogSumExp log_sum_exp(const float* x, std::int64_t n);
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums);
void matmul_f32(const MatmulTask& task);
void matmul_int8(const MatmulTask& task);
void matmul_int8_prompt(const MatmulTask& task);  // the same, made for many tokens
void attend(const AttentionTask& task);
void load_kv(const KvPageTask& task);
void matmul_row_int8(const RowInt8Task& task);
void decode_row_int8(const RowInt8Tile& task);
void decode_grouped(const GroupedTask& task);
void multiply_grouped(const GroupedTask& task);

}  // namespace quantfleet::avx512
