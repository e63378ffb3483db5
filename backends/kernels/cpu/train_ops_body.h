// The body of every copy of TrainOps (train_ops.h). Included once by cpu/<isa>/train_ops.cc, which is compiled for that
// instruction set and says how `fused` is done there; all names are local to that file.
#include "backends/kernels/elementary.h"

namespace quantfleet {
namespace {

[[gnu::always_inline]] inline Lanes load(const float* p) {
  Lanes lanes;
  __builtin_memcpy(&lanes, p, sizeof lanes);
  return lanes;
}
[[gnu::always_inline]] inline void store(float* p, Lanes lanes) { __builtin_memcpy(p, &lanes, sizeof lanes); }
[[gnu::always_inline]] inline Lanes all(float value) { return value - Lanes{}; }

[[gnu::always_inline]] inline float joined(Lanes s) {  // numerics.md rule 3
  float t[16];
  store(t, s);
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) t[i] = t[i] + t[i + width];
  return t[0];
}
[[gnu::always_inline]] inline float largest(Lanes s) {
  float t[16];
  store(t, s);
  float best = t[0];
  for (int i = 1; i < 16; ++i) best = t[i] > best ? t[i] : best;
  return best;
}
// elementary::exp, operation by operation, in every lane.
[[gnu::always_inline]] inline Lanes exps(Lanes x) {
  namespace e = elementary;
  x = x > e::kExpHigh ? all(e::kExpHigh) : x;
  x = x < e::kExpLow ? all(e::kExpLow) : x;
  const Lanes shifted = fused(x, all(e::kLog2E), all(e::kRoundMagic));
  const Lanes n = shifted - e::kRoundMagic;
  const LaneInts exponent = reinterpret_cast<LaneInts>(shifted) - __builtin_bit_cast(std::int32_t, e::kRoundMagic);
  Lanes r = fused(-n, all(e::kLn2High), x);
  r = fused(-n, all(e::kLn2Low), r);
  Lanes p = all(e::kExpTaylor[0]);
  for (int i = 1; i < 8; ++i) p = fused(p, r, all(e::kExpTaylor[i]));
  const LaneInts half = exponent >> 1;
  const Lanes first = reinterpret_cast<Lanes>((half + 127) << 23);
  const Lanes second = reinterpret_cast<Lanes>((exponent - half + 127) << 23);
  return p * first * second;
}

void rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, std::int64_t width, float* y,
              float* inverse) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width) {
    Lanes sum{};
    for (std::int64_t i = 0; i < width; i += 16) sum += load(x + i) * load(x + i);
    const float rms = __builtin_sqrtf(joined(sum) / static_cast<float>(width) + eps);
    inverse[r] = 1.0f / rms;
    for (std::int64_t i = 0; i < width; i += 16) store(y + i, load(x + i) * inverse[r] * load(weight + i));
  }
}

// With r = 1 / rms:  dx = r * (w dy) - x * r^3 / width * sum(w dy x).
void rms_norm_backward(const float* x, const float* weight, const float* inverse, const float* dy, std::int64_t rows,
                       std::int64_t width, float* dx) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const float r = inverse[row];
    Lanes sum{};
    for (std::int64_t i = 0; i < width; i += 16) sum += load(dy + i) * load(weight + i) * load(x + i);
    const float shared = joined(sum) * r * r * r / static_cast<float>(width);
    for (std::int64_t i = 0; i < width; i += 16)
      store(dx + i, load(dx + i) + (load(dy + i) * load(weight + i) * r - load(x + i) * shared));
  }
}

void rms_norm_weight_gradient(const float* x, const float* inverse, const float* dy, std::int64_t rows, std::int64_t width,
                              std::int64_t begin, std::int64_t end, float* dweight) {
  for (std::int64_t c = begin; c < end; c += 16) {
    Lanes sum = load(dweight + c);
    for (std::int64_t r = 0; r < rows; ++r) sum += load(dy + r * width + c) * (load(x + r * width + c) * inverse[r]);
    store(dweight + c, sum);
  }
}

void silu_mul(const float* gate_up, std::int64_t rows, std::int64_t width, float* y) {
  for (std::int64_t r = 0; r < rows; ++r, gate_up += 2 * width, y += width)
    for (std::int64_t i = 0; i < width; i += 16) {
      const Lanes gate = load(gate_up + i);
      store(y + i, gate / (1.0f + exps(-gate)) * load(gate_up + width + i));
    }
}

void silu_mul_backward(const float* gate_up, const float* dy, std::int64_t rows, std::int64_t width, float* dgate_up) {
  for (std::int64_t r = 0; r < rows; ++r, gate_up += 2 * width, dgate_up += 2 * width, dy += width)
    for (std::int64_t i = 0; i < width; i += 16) {
      const Lanes gate = load(gate_up + i), up = load(gate_up + width + i), d = load(dy + i);
      const Lanes sigmoid = 1.0f / (1.0f + exps(-gate));
      const Lanes silu = gate * sigmoid;
      store(dgate_up + width + i, d * silu);
      store(dgate_up + i, d * up * (sigmoid + silu * (1.0f - sigmoid)));
    }
}

void rotate(float* x, std::int64_t row_stride, std::int64_t heads, std::int64_t head_width, const float* cosines,
            const float* sines, const std::int32_t* positions, std::int64_t rows, bool backward) {
  const float sign = backward ? -1.0f : 1.0f;
  for (std::int64_t r = 0; r < rows; ++r, x += row_stride) {
    const float* cosine = cosines + positions[r] * head_width;
    const float* sine = sines + positions[r] * head_width;
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < head_width; i += 16) {
        float* place = x + h * head_width + i;
        const Lanes value = load(place);
        const Lanes swapped = __builtin_shufflevector(value, value, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        store(place, value * load(cosine + i) + swapped * (load(sine + i) * sign));
      }
  }
}

void softmax(float* scores, std::int64_t count, std::int64_t padded, float scale) {
  for (std::int64_t i = count; i < padded; ++i) scores[i] = -__builtin_inff();
  Lanes top = load(scores) * scale;
  for (std::int64_t i = 0; i < padded; i += 16) {
    const Lanes s = load(scores + i) * scale;
    top = s > top ? s : top;
  }
  const float m = largest(top);
  Lanes sum{};
  for (std::int64_t i = 0; i < padded; i += 16) {
    const Lanes e = exps(load(scores + i) * scale - m);
    sum += e;
    store(scores + i, e);
  }
  const float inverse = 1.0f / joined(sum);
  for (std::int64_t i = 0; i < padded; i += 16) store(scores + i, load(scores + i) * inverse);
}

void softmax_backward(const float* p, float* dp, std::int64_t padded, float scale) {
  Lanes sum{};
  for (std::int64_t i = 0; i < padded; i += 16) sum += load(p + i) * load(dp + i);
  const float shared = joined(sum);
  for (std::int64_t i = 0; i < padded; i += 16) store(dp + i, load(p + i) * (load(dp + i) - shared) * scale);
}

float largest_of(const float* x, std::int64_t width) {
  Lanes top = load(x);
  for (std::int64_t i = 16; i < width; i += 16) {
    const Lanes s = load(x + i);
    top = s > top ? s : top;
  }
  return largest(top);
}

float cross_entropy(float* logits, std::int64_t width, std::int64_t target, float scale) {
  const float m = largest_of(logits, width);
  const float of_target = logits[target] - m;
  Lanes sum{};
  for (std::int64_t i = 0; i < width; i += 16) {
    const Lanes e = exps(load(logits + i) - m);
    sum += e;
    store(logits + i, e);
  }
  const float total = joined(sum);
  const float factor = scale / total;
  for (std::int64_t i = 0; i < width; i += 16) store(logits + i, load(logits + i) * factor);
  logits[target] -= scale;
  return elementary::log(total) - of_target;
}

float log_partition(const float* logits, std::int64_t width) {
  const float m = largest_of(logits, width);
  Lanes sum{};
  for (std::int64_t i = 0; i < width; i += 16) sum += exps(load(logits + i) - m);
  return elementary::log(joined(sum)) + m;
}

void add(const float* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = y[i] + x[i];
}

float sum_of_squares(const float* x, std::int64_t count) {
  Lanes sum{};
  for (std::int64_t i = 0; i < count; i += 16) sum += load(x + i) * load(x + i);
  return joined(sum);
}

void adamw(const TrainOps::Adam& adam, const float* gradient, std::int64_t count, float* weight, float* m, float* v) {
  const TrainOps::Adam a = adam;
  const float rest1 = 1.0f - a.beta1, rest2 = 1.0f - a.beta2;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * a.gradient_scale;
    m[i] = a.beta1 * m[i] + rest1 * g;
    v[i] = a.beta2 * v[i] + rest2 * (g * g);
    const float direction = m[i] * a.correction1 / (__builtin_sqrtf(v[i] * a.correction2) + a.eps);
    weight[i] = weight[i] - a.rate * (direction + a.decay * weight[i]);
  }
}

constexpr TrainOps train_ops_named(const char* name) {
  return {name,    rms_norm, rms_norm_backward, rms_norm_weight_gradient, silu_mul, silu_mul_backward, rotate,
          softmax, softmax_backward, cross_entropy, log_partition, add, sum_of_squares, adamw};
}

}  // namespace
}  // namespace quantfleet
