#include "backends/training/transformer.h"

#include "backends/kernels/elementary.h"

#include <algorithm>
#include <cstring>

namespace quantfleet::training {
namespace {

constexpr std::int64_t kQueryBlock = 64;  // part of the definition: the chain of dK and dV has a link per query of a block
constexpr std::int64_t kRowGrain = 32;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

Transformer::Transformer(const ModelShape& shape, const WeightPlaces& places, ThreadPool& pool, const GemmF32Kernel& kernel,
                         const TrainOps& ops)
    : shape_(shape), places_(places), pool_(pool), kernel_(kernel), ops_(ops), gemm_(pool, kernel) {
  const std::int64_t half = shape.head_width / 2;
  cosines_.resize(static_cast<std::size_t>(shape.context * shape.head_width));
  sines_.resize(cosines_.size());
  for (std::int64_t position = 0; position < shape.context; ++position)
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = elementary::pow(static_cast<double>(shape.rope_base), -2.0 * double(i) / shape.head_width);
      const elementary::SinCos angle = elementary::sincos(static_cast<double>(position) * frequency);
      const std::size_t place = static_cast<std::size_t>(position * shape.head_width + 2 * i);
      cosines_[place] = cosines_[place + 1] = static_cast<float>(angle.cos);
      sines_[place + 1] = static_cast<float>(angle.sin);
      sines_[place] = -sines_[place + 1];
    }
  streams_.resize(static_cast<std::size_t>(shape.layers) + 1);
  layers_.resize(static_cast<std::size_t>(shape.layers));
  attention_scratch_.resize(static_cast<std::size_t>(pool.threads()));
}

void Transformer::linear(const float* x, const float* w, std::int64_t rows, std::int64_t n, std::int64_t k, float* y,
                         bool accumulate) {
  gemm_.run({x, k, 1}, {w, 1, k}, rows, n, k, y, n, accumulate);
}

void Transformer::linear_backward(const float* x, const float* w, const float* dy, std::int64_t rows, std::int64_t n,
                                  std::int64_t k, float* dx, float* dw) {
  gemm_.run({dy, 1, n}, {x, k, 1}, n, k, rows, dw, k, true);
  gemm_.run({dy, n, 1}, {w, k, 1}, rows, k, n, dx, k, false);
}

void Transformer::norm(const float* x, const float* weight, std::int64_t rows, float* y, float* inverse) {
  const std::int64_t width = shape_.width;
  pool_.parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    ops_.rms_norm(x + begin * width, weight, shape_.norm_eps, end - begin, width, y + begin * width, inverse + begin);
  });
}

void Transformer::norm_backward(const float* x, const float* weight, const float* inverse, const float* dy,
                                std::int64_t rows, float* dx, float* dweight) {
  const std::int64_t width = shape_.width;
  pool_.parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    ops_.rms_norm_backward(x + begin * width, weight, inverse + begin, dy + begin * width, end - begin, width,
                           dx + begin * width);
  });
  pool_.parallel_for(width, 64, [&](std::int64_t begin, std::int64_t end, int) {
    ops_.rms_norm_weight_gradient(x, inverse, dy, rows, width, begin, end, dweight);
  });
}

void Transformer::rotate(const Batch& batch, float* qkv, bool backward) {
  const std::int64_t stride = shape_.qkv_width();
  pool_.parallel_for(batch.count(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    ops_.rotate(qkv + begin * stride, stride, shape_.heads + shape_.kv_heads, shape_.head_width, cosines_.data(),
                sines_.data(), batch.positions.data() + begin, end - begin, backward);
  });
}

std::int64_t Transformer::attention_scratch_floats(std::int64_t longest) const {
  const std::int64_t width = kernel_.panel_columns;
  const std::int64_t head = round_up(shape_.head_width, width);
  return round_up(longest, width) * shape_.head_width  // panels over keys
         + longest * head                              // panels over the head's width
         + 2 * kQueryBlock * head                      // panels of a query block
         + kQueryBlock * round_up(longest, kQueryBlock) + 64;
}

// One task: a sequence and a key-value head. Scores of 64 queries at a time against all keys up to the last of them.
void Transformer::attention_forward(const Batch& batch, Layer& layer) {
  const std::int64_t head = shape_.head_width, stride = shape_.qkv_width(), out_stride = shape_.query_width();
  const std::int64_t group = shape_.heads / shape_.kv_heads, panel = kernel_.panel_columns;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head));
  pool_.parallel_for(batch.sequences() * shape_.kv_heads, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t sequence = task / shape_.kv_heads, kv = task % shape_.kv_heads;
      const std::int64_t start = batch.starts[static_cast<std::size_t>(sequence)];
      const std::int64_t length = batch.starts[static_cast<std::size_t>(sequence) + 1] - start;
      const std::int64_t row = round_up(length, kQueryBlock);
      const float* qkv = layer.qkv.data() + start * stride;
      float* key_panels = attention_scratch_[static_cast<std::size_t>(thread)].data();
      float* value_panels = key_panels + round_up(length, panel) * head;
      kernel_.pack(qkv + out_stride + kv * head, 1, stride, head, length, key_panels, panel * head);
      kernel_.pack(qkv + out_stride + (shape_.kv_heads + kv) * head, stride, 1, length, head, value_panels, panel * length);
      for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
        float* p = layer.probabilities.data() + probability_starts_[static_cast<std::size_t>(sequence)] + h * row * row;
        for (std::int64_t q0 = 0; q0 < length; q0 += kQueryBlock) {
          const std::int64_t q1 = std::min(q0 + kQueryBlock, length), keys = q1;
          kernel_.multiply(qkv + q0 * stride + h * head, stride, 1, key_panels, panel * head, q1 - q0, keys, head,
                           p + q0 * row, row, false, gemm_.scratch(thread));
          for (std::int64_t t = q0; t < q1; ++t) {
            float* scores = p + t * row;
            if (!batch.segments.empty()) {
              const std::int32_t* segment = batch.segments.data() + start;
              for (std::int64_t j = 0; j < t; ++j)
                if (segment[j] != 0 && segment[j] != segment[t]) scores[j] = -__builtin_inff();
            }
            ops_.softmax(scores, t + 1, round_up(keys, 16), scale);
          }
          kernel_.multiply(p + q0 * row, row, 1, value_panels, panel * length, q1 - q0, head, keys,
                           layer.attention.data() + (start + q0) * out_stride + h * head, out_stride, false,
                           gemm_.scratch(thread));
        }
      }
    }
  });
}

// dV += P^T dO;  dP = dO V^T;  dS = P * (dP - sum(P dP)) * scale;  dQ = dS K;  dK += dS^T Q.
void Transformer::attention_backward(const Batch& batch, const Layer& layer, const float* doutput, float* dqkv) {
  const std::int64_t head = shape_.head_width, stride = shape_.qkv_width(), out_stride = shape_.query_width();
  const std::int64_t group = shape_.heads / shape_.kv_heads, panel = kernel_.panel_columns;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head));
  pool_.parallel_for(batch.sequences() * shape_.kv_heads, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t sequence = task / shape_.kv_heads, kv = task % shape_.kv_heads;
      const std::int64_t start = batch.starts[static_cast<std::size_t>(sequence)];
      const std::int64_t length = batch.starts[static_cast<std::size_t>(sequence) + 1] - start;
      const std::int64_t row = round_up(length, kQueryBlock);
      const std::int64_t key_column = out_stride + kv * head, value_column = key_column + shape_.kv_heads * head;
      const float* qkv = layer.qkv.data() + start * stride;
      float* gradient = dqkv + start * stride;
      float* value_panels = attention_scratch_[static_cast<std::size_t>(thread)].data();
      float* key_panels = value_panels + round_up(length, panel) * head;
      float* block_panels = key_panels + length * round_up(head, panel);
      float* ds = block_panels + 2 * kQueryBlock * round_up(head, panel);
      kernel_.pack(qkv + value_column, 1, stride, head, length, value_panels, panel * head);
      kernel_.pack(qkv + key_column, stride, 1, length, head, key_panels, panel * length);
      for (std::int64_t t = 0; t < length; ++t) {
        std::fill_n(gradient + t * stride + key_column, head, 0.0f);
        std::fill_n(gradient + t * stride + value_column, head, 0.0f);
      }
      for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
        const float* p = layer.probabilities.data() + probability_starts_[static_cast<std::size_t>(sequence)] + h * row * row;
        for (std::int64_t q0 = 0; q0 < length; q0 += kQueryBlock) {
          const std::int64_t queries = std::min(kQueryBlock, length - q0), keys = q0 + queries;
          const float* dout = doutput + (start + q0) * out_stride + h * head;
          kernel_.pack(dout, out_stride, 1, queries, head, block_panels, panel * queries);
          kernel_.multiply(p + q0 * row, 1, row, block_panels, panel * queries, keys, head, queries,
                           gradient + value_column, stride, true, gemm_.scratch(thread));
          kernel_.multiply(dout, out_stride, 1, value_panels, panel * head, queries, keys, head, ds, row, false,
                           gemm_.scratch(thread));
          for (std::int64_t t = 0; t < queries; ++t) {
            std::fill(ds + t * row + keys, ds + t * row + round_up(keys, 16), 0.0f);
            ops_.softmax_backward(p + (q0 + t) * row, ds + t * row, round_up(keys, 16), scale);
          }
          kernel_.multiply(ds, row, 1, key_panels, panel * length, queries, head, keys, gradient + q0 * stride + h * head,
                           stride, false, gemm_.scratch(thread));
          kernel_.pack(qkv + q0 * stride + h * head, stride, 1, queries, head, block_panels, panel * queries);
          kernel_.multiply(ds, 1, row, block_panels, panel * queries, keys, head, queries, gradient + key_column, stride,
                           true, gemm_.scratch(thread));
        }
      }
    }
  });
}

void Transformer::forward(const float* weights, const Batch& batch, bool keep) {
  const std::int64_t n = batch.count(), width = shape_.width, ff = shape_.feed_forward;
  std::int64_t probabilities = 0, longest = 0;
  probability_starts_.clear();
  for (std::int64_t s = 0; s < batch.sequences(); ++s) {
    const std::int64_t length = batch.starts[static_cast<std::size_t>(s) + 1] - batch.starts[static_cast<std::size_t>(s)];
    probability_starts_.push_back(probabilities);
    probabilities += shape_.heads * round_up(length, kQueryBlock) * round_up(length, kQueryBlock);
    longest = std::max(longest, length);
  }
  for (AlignedFloats& scratch : attention_scratch_) scratch.reserve(attention_scratch_floats(longest));

  float* x = streams_[0].reserve(n * width);
  pool_.parallel_for(n, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t)
      std::memcpy(x + t * width, weights + places_.embedding + batch.tokens[static_cast<std::size_t>(t)] * width,
                  static_cast<std::size_t>(width) * sizeof(float));
  });
  for (std::int32_t l = 0; l < shape_.layers; ++l) {
    const LayerPlaces& place = places_.layers[static_cast<std::size_t>(l)];
    Layer& layer = layers_[keep ? static_cast<std::size_t>(l) : 0];
    x = streams_[keep ? static_cast<std::size_t>(l) : static_cast<std::size_t>(l % 2)].data();
    float* next = streams_[keep ? static_cast<std::size_t>(l) + 1 : static_cast<std::size_t>((l + 1) % 2)].reserve(n * width);

    float* normed = layer.normed.reserve(n * width);
    norm(x, weights + place.attention_norm, n, normed, layer.inverse.reserve(n));
    float* qkv = layer.qkv.reserve(n * shape_.qkv_width());
    linear(normed, weights + place.qkv, n, shape_.qkv_width(), width, qkv, false);
    rotate(batch, qkv, false);
    layer.probabilities.reserve(probabilities);
    float* attention = layer.attention.reserve(n * shape_.query_width());
    attention_forward(batch, layer);
    float* middle = layer.middle.reserve(n * width);
    std::memcpy(middle, x, static_cast<std::size_t>(n * width) * sizeof(float));
    linear(attention, weights + place.attention_output, n, width, shape_.query_width(), middle, true);

    float* middle_normed = layer.middle_normed.reserve(n * width);
    norm(middle, weights + place.ffn_norm, n, middle_normed, layer.middle_inverse.reserve(n));
    float* gate_up = layer.gate_up.reserve(n * 2 * ff);
    linear(middle_normed, weights + place.gate_up, n, 2 * ff, width, gate_up, false);
    float* activated = layer.activated.reserve(n * ff);
    pool_.parallel_for(n, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      ops_.silu_mul(gate_up + begin * 2 * ff, end - begin, ff, activated + begin * ff);
    });
    std::memcpy(next, middle, static_cast<std::size_t>(n * width) * sizeof(float));
    linear(activated, weights + place.down, n, width, ff, next, true);
    x = next;
  }
  norm(x, weights + places_.output_norm, n, final_normed_.reserve(n * width), final_inverse_.reserve(n));
}

const float* Transformer::hidden(const float* weights, const Batch& batch) {
  forward(weights, batch, false);
  return final_normed_.data();
}

const float* Transformer::logits(const float* weights, std::span<const std::int64_t> rows) {
  const std::int64_t width = shape_.width, n = static_cast<std::int64_t>(rows.size());
  float* gathered = gathered_.reserve(n * width);
  for (std::int64_t i = 0; i < n; ++i)
    std::memcpy(gathered + i * width, final_normed_.data() + rows[static_cast<std::size_t>(i)] * width,
                static_cast<std::size_t>(width) * sizeof(float));
  float* result = logits_.reserve(n * shape_.vocabulary);
  linear(gathered, weights + places_.output, n, shape_.vocabulary, width, result, false);
  return result;
}

void Transformer::backpropagate(const float* weights, const Batch& batch, std::span<const std::uint16_t> targets,
                                std::span<const float> scales, float* gradients, float* losses) {
  forward(weights, batch, true);
  const std::int64_t n = batch.count(), width = shape_.width, ff = shape_.feed_forward, vocabulary = shape_.vocabulary;
  const std::int64_t query_width = shape_.query_width(), qkv_width = shape_.qkv_width();

  float* dlogits = logits_.reserve(n * vocabulary);
  linear(final_normed_.data(), weights + places_.output, n, vocabulary, width, dlogits, false);
  pool_.parallel_for(n, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t)
      losses[t] = ops_.cross_entropy(dlogits + t * vocabulary, vocabulary, targets[static_cast<std::size_t>(t)],
                                     scales[static_cast<std::size_t>(t)]);
  });
  float* dnarrow = dnarrow_.reserve(n * std::max<std::int64_t>({width, query_width, ff}));
  linear_backward(final_normed_.data(), weights + places_.output, dlogits, n, vocabulary, width, dnarrow,
                  gradients + places_.output);
  float* dx = dstream_.reserve(n * width);
  std::memset(dx, 0, static_cast<std::size_t>(n * width) * sizeof(float));
  norm_backward(streams_.back().data(), weights + places_.output_norm, final_inverse_.data(), dnarrow, n, dx,
                gradients + places_.output_norm);

  float* dwide = dwide_.reserve(n * std::max<std::int64_t>(2 * ff, qkv_width));
  for (std::int32_t l = shape_.layers; l-- > 0;) {
    const LayerPlaces& place = places_.layers[static_cast<std::size_t>(l)];
    const Layer& layer = layers_[static_cast<std::size_t>(l)];

    linear_backward(layer.activated.data(), weights + place.down, dx, n, width, ff, dnarrow, gradients + place.down);
    pool_.parallel_for(n, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      ops_.silu_mul_backward(layer.gate_up.data() + begin * 2 * ff, dnarrow + begin * ff, end - begin, ff,
                             dwide + begin * 2 * ff);
    });
    linear_backward(layer.middle_normed.data(), weights + place.gate_up, dwide, n, 2 * ff, width, dnarrow,
                    gradients + place.gate_up);
    norm_backward(layer.middle.data(), weights + place.ffn_norm, layer.middle_inverse.data(), dnarrow, n, dx,
                  gradients + place.ffn_norm);

    linear_backward(layer.attention.data(), weights + place.attention_output, dx, n, width, query_width, dnarrow,
                    gradients + place.attention_output);
    attention_backward(batch, layer, dnarrow, dwide);
    rotate(batch, dwide, true);
    linear_backward(layer.normed.data(), weights + place.qkv, dwide, n, qkv_width, width, dnarrow, gradients + place.qkv);
    norm_backward(streams_[static_cast<std::size_t>(l)].data(), weights + place.attention_norm, layer.inverse.data(), dnarrow,
                  n, dx, gradients + place.attention_norm);
  }
  pool_.parallel_for(width, 64, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = 0; t < n; ++t)
      ops_.add(dx + t * width + begin, end - begin,
               gradients + places_.embedding + batch.tokens[static_cast<std::size_t>(t)] * width + begin);
  });
}

}  // namespace quantfleet::training
