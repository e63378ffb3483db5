// The operations of training that are not matrix products: norms, activation, rotary, softmax, loss, optimizer, each with
// its backward pass. Rows are independent; sums inside a row use 16 partial sums joined 8-4-2-1 (numerics.md rule 3), sums
// over rows are chains in ascending order. One source (cpu/train_ops_body.h) is compiled for each instruction set; it says
// only + - * /, fma, sqrt and compare, so every copy gives the same bits.
// All widths are multiples of 16 floats. Memory may be unaligned. Nothing here starts threads.
#pragma once

#include <cstdint>

namespace quantfleet {

struct TrainOps {
  const char* name;

  // Root-mean-square norm (Zhang & Sennrich 2019): y = x * w / sqrt(mean(x^2) + eps).
  //   x, y [rows, width];  weight [width];  inverse [rows] receives 1 / sqrt(...), which the backward pass needs
  void (*rms_norm)(const float* x, const float* weight, float eps, std::int64_t rows, std::int64_t width, float* y,
                   float* inverse);
  // dx [rows, width] += the gradient with respect to x.
  void (*rms_norm_backward)(const float* x, const float* weight, const float* inverse, const float* dy, std::int64_t rows,
                            std::int64_t width, float* dx);
  // dweight[c] += sum over rows, ascending, of dy * x * inverse, for columns begin <= c < end.
  void (*rms_norm_weight_gradient)(const float* x, const float* inverse, const float* dy, std::int64_t rows,
                                   std::int64_t width, std::int64_t begin, std::int64_t end, float* dweight);

  // SwiGLU (Shazeer 2020): y = silu(gate) * up.   gate_up [rows, 2 * width]: gate first;  y [rows, width]
  void (*silu_mul)(const float* gate_up, std::int64_t rows, std::int64_t width, float* y);
  void (*silu_mul_backward)(const float* gate_up, const float* dy, std::int64_t rows, std::int64_t width, float* dgate_up);

  // Rotary position (Su et al. 2021), adjacent pairs, in place: x = x * cosine + swapped(x) * sine, the tables holding each
  // cosine twice and each sine as (-s, +s). backward: the transposed rotation.
  //   x: `heads` vectors of head_width per row, rows row_stride apart;  tables [position, head_width];  positions [rows]
  void (*rotate)(float* x, std::int64_t row_stride, std::int64_t heads, std::int64_t head_width, const float* cosines,
                 const float* sines, const std::int32_t* positions, std::int64_t rows, bool backward);

  // In place: scores -> probabilities of one query. scores[count .. padded) become 0; padded is a multiple of 16.
  void (*softmax)(float* scores, std::int64_t count, std::int64_t padded, float scale);
  // dscores (in place of dp) = p * (dp - sum(p * dp)) * scale.
  void (*softmax_backward)(const float* p, float* dp, std::int64_t padded, float scale);

  // loss = -log softmax(logits)[target]; logits become the gradient (softmax - one_hot) * scale.
  float (*cross_entropy)(float* logits, std::int64_t width, std::int64_t target, float scale);
  // log(sum(exp(logits))).
  float (*log_partition)(const float* logits, std::int64_t width);

  // y += x.
  void (*add)(const float* x, std::int64_t count, float* y);
  float (*sum_of_squares)(const float* x, std::int64_t count);  // count a multiple of 16
  // AdamW (Loshchilov & Hutter 2019) with the bias corrections 1 / (1 - beta^step) given. gradient is multiplied by
  // `gradient_scale` (clipping) first.
  struct Adam {
    float rate, beta1, beta2, eps, decay, correction1, correction2, gradient_scale;
  };
  void (*adamw)(const Adam& adam, const float* gradient, std::int64_t count, float* weight, float* m, float* v);
};

// The copy for "scalar", "avx2", "avx512" or "auto"; nullptr when unknown or not for this CPU.
const TrainOps* find_train_ops(const char* name);

}  // namespace quantfleet
