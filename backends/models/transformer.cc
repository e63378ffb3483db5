#include "backends/models/transformer.h"

#include "backends/kernels/elementary.h"
#include "backends/kernels/kv_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

namespace quantfleet {
namespace {

constexpr std::int64_t kLogitsAtOnce = 1 << 22;  // floats

void room(std::vector<float>& buffer, std::int64_t floats) {
  if (static_cast<std::int64_t>(buffer.size()) < floats) buffer.resize(static_cast<std::size_t>(floats));
}

bool all_finite(std::span<const float> values) {
  std::uint32_t bad = 0;
  for (const float value : values) bad |= (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  return bad == 0;
}

}  // namespace

Transformer::Transformer(std::shared_ptr<const Model> model, ActivationKind activations, ThreadPool& pool, std::int64_t chunk_rows)
    : model_(std::move(model)), activations_(activations), pool_(pool), chunk_rows_(std::max<std::int64_t>(1, chunk_rows)) {}

void Transformer::multiply(const StackedMatrix& w, const float* x, std::int64_t rows, std::int64_t x_stride, float* y) {
  for (const StackedMatrix::Part& part : w.parts) {
    const ActivationKind kind = part.matrix.has_int8() ? activations_ : ActivationKind::kF32;
    matmul(part.matrix, x, rows, x_stride, kind, y + part.begin, w.rows, pool_, scratch_);
  }
  for (const StackedMatrix::Update& update : w.updates) {
    const std::int64_t rank = update.a.rows();
    room(low_rank_, rows * rank);
    matmul(update.a, x, rows, x_stride, ActivationKind::kF32, low_rank_.data(), rank, pool_, scratch_);
    add_low_rank(update.b, update.scale, rows, y + update.begin, w.rows);
  }
}

void Transformer::add_low_rank(const WeightMatrix& b, float scale, std::int64_t rows, float* y, std::int64_t y_stride) {
  const std::int64_t rank = b.columns(), N = b.rows();
  for (std::int64_t i = 0; i < rows * rank; ++i) low_rank_[static_cast<std::size_t>(i)] *= scale;
  room(added_, rows * N);
  matmul(b, low_rank_.data(), rows, rank, ActivationKind::kF32, added_.data(), N, pool_, scratch_);
  for_rows(rows, N, [&](std::int64_t r) { model_->family->add(y + r * y_stride, &added_[static_cast<std::size_t>(r * N)], N, y + r * y_stride); });
}

void Transformer::activate(float* gate_up, std::int64_t width) {
  const KernelFamily& kernels = *model_->family;
  switch (model_->config.feed_forward_kind) {
    case FeedForward::kSiluGated: kernels.silu_mul(gate_up, gate_up + width, width, gate_up); break;
    case FeedForward::kGeluGated: kernels.gelu_mul(gate_up, gate_up + width, width, gate_up); break;
    case FeedForward::kGelu: kernels.gelu_mul(gate_up, ones_.data(), width, gate_up); break;
  }
}

void Transformer::normalize(const NormWeights& weights, const float* x, float* y) {
  const ModelConfig& config = model_->config;
  const std::int64_t C = config.width;
  if (weights.weight.empty()) {
    if (y != x) std::memcpy(y, x, static_cast<std::size_t>(C) * sizeof(float));
  } else if (config.norm == Norm::kRms) {
    model_->family->rms_norm(x, weights.weight.data(), C, config.norm_epsilon, y);
  } else {
    model_->family->layer_norm(x, weights.weight.data(), weights.bias.empty() ? nullptr : weights.bias.data(), C, config.norm_epsilon, y);
  }
}

void Transformer::attend(int layer, std::int64_t queries, const KvCache& cache) {
  const ModelConfig& config = model_->config;
  const std::int64_t head_floats = 2ll * kPagePositions * config.head_width;
  const std::int64_t layer_floats = head_floats * config.kv_heads;
  AttentionArgs args;
  args.queries = queries;
  args.q = qkv_;
  args.q_stride = model_->layers[static_cast<std::size_t>(layer)].qkv.rows;
  args.positions = positions_.data();
  args.pages = tables_.data();
  args.heads = config.heads;
  args.kv_heads = config.kv_heads;
  args.head_dim = config.head_width;
  args.k_offset = layer * layer_floats;
  args.v_offset = layer * layer_floats + head_floats / 2;
  args.kv_head_stride = head_floats;
  args.kv = cache.kind();
  args.layer_offset = layer * cache.layer_bytes();
  args.scale = config.attention_scale;
  args.softcap = config.attention_softcap;
  args.window = config.window_of(layer);
  args.slopes = model_->alibi_slopes.empty() ? nullptr : model_->alibi_slopes.data();
  args.out = attended_;
  args.out_stride = std::int64_t{config.heads} * config.head_width;
  attention(*model_->family, args, pool_, scratch_);
}

void Transformer::prepare_rotary(std::int64_t longest) {
  const ModelConfig& config = model_->config;
  if (rotary_.positions() >= longest || !config.has_rotary_positions()) return;
  const std::int64_t positions = std::max(longest, std::min<std::int64_t>(2 * longest, config.context_tokens));
  rotary_ = RotaryTable(long_rotary_ ? model_->long_rotary_frequencies : model_->rotary_frequencies, positions, config.rotary_magnitude);
  if (!model_->windowed_rotary_frequencies.empty()) windowed_rotary_ = RotaryTable(model_->windowed_rotary_frequencies, positions);
}

Status Transformer::forward(std::span<const Segment> segments, const Sink& sink, const Sink& beside) {
  const ModelConfig& config = model_->config;
  std::int64_t longest = 0;
  for (const Segment& segment : segments) {
    const std::int64_t end = segment.sequence->length() + static_cast<std::int64_t>(segment.tokens.size());
    if (context_tokens_ > 0 && end > context_tokens_)
      return Error{Code::kTooLarge, fmt::format("{} tokens do not fit into a context of {}", end, context_tokens_)};
    for (const std::int32_t token : segment.tokens)
      if (token < 0 || token >= config.vocabulary_tokens)
        return Error{Code::kBadValue, fmt::format("token {} is outside the vocabulary of {}", token, config.vocabulary_tokens)};
    longest = std::max(longest, end);
  }
  if (config.learned_positions && longest > config.context_tokens)
    return Error{Code::kTooLarge, fmt::format("{} tokens; the model has learned {} positions", longest, config.context_tokens)};
  prepare_rotary(longest);

  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(chunk_rows_));
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const Segment& segment = segments[s];
    const auto count = static_cast<std::int64_t>(segment.tokens.size());
    for (std::int64_t begin = 0; begin < count;) {
      const std::int64_t take = std::min(count - begin, chunk_rows_ - static_cast<std::int64_t>(rows.size()));
      const std::int64_t position = segment.sequence->length();
      segment.sequence->extend(take);
      for (std::int64_t i = 0; i < take; ++i)
        rows.push_back({segment.sequence, segment.tokens[static_cast<std::size_t>(begin + i)], position + i, s, begin + i,
                        begin + i >= segment.first_wanted, nullptr});
      begin += take;
      if (static_cast<std::int64_t>(rows.size()) == chunk_rows_) {
        if (auto status = run_chunk(rows, sink, beside); !status) return status;
        rows.clear();
      }
    }
  }
  return rows.empty() ? Status{} : run_chunk(rows, sink, beside);
}

void Transformer::embed(std::span<const std::int32_t> tokens, std::int64_t position, std::span<float> states) {
  const std::int64_t C = model_->config.width;
  for_rows(static_cast<std::int64_t>(tokens.size()), C, [&](std::int64_t i) {
    float* state = &states[static_cast<std::size_t>(i * C)];
    model_->embed(tokens[static_cast<std::size_t>(i)], position + i, state);
    normalize(model_->embedding_norm, state, state);
  });
}

Status Transformer::forward_states(KvSequence& sequence, std::span<float> states, std::int64_t first_wanted, const Sink& sink) {
  const std::int64_t C = model_->config.width, count = static_cast<std::int64_t>(states.size()) / C, first = sequence.length();
  prepare_rotary(first + count);
  for (std::int64_t begin = 0; begin < count; begin += chunk_rows_) {
    const std::int64_t end = std::min(count, begin + chunk_rows_);
    sequence.extend(end - begin);
    std::vector<Row> rows;
    for (std::int64_t i = begin; i < end; ++i) rows.push_back({&sequence, 0, first + i, 0, i, i >= first_wanted, &states[static_cast<std::size_t>(i * C)]});
    if (auto status = run_chunk(rows, sink, {}); !status) return status;
  }
  return {};
}

Status Transformer::run_chunk(std::span<const Row> rows, const Sink& sink, const Sink& beside) {
  const Model& model = *model_;
  const ModelConfig& config = model.config;
  const KernelFamily& kernels = *model.family;
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t C = config.width, F = config.feed_forward, V = config.vocabulary_tokens, D = config.head_width;
  const std::int64_t q_floats = config.heads * D, kv_floats = config.kv_heads * D, qkv_floats = q_floats + 2 * kv_floats;
  const KvCache& cache = rows[0].sequence->cache();

  room(x_, count * C);
  room(normed_, count * C);
  room(inner_, count * std::max(qkv_floats + q_floats, 2 * std::max<std::int64_t>(F, config.shared_feed_forward)));
  qkv_ = gate_up_ = inner_.data();
  attended_ = qkv_ + count * qkv_floats;
  room(output_, count * C);
  if (config.feed_forward_kind == FeedForward::kGelu) ones_.resize(static_cast<std::size_t>(F), 1.0f);
  positions_.resize(rows.size());
  tables_.resize(rows.size());
  std::vector<std::int64_t> wanted;
  for (std::int64_t r = 0; r < count; ++r) {
    positions_[r] = rows[r].position;
    tables_[r] = rows[r].sequence->table();
    if (rows[r].wanted) wanted.push_back(r);
  }

  const bool states_only = rows[0].state != nullptr;
  for_rows(count, C, [&](std::int64_t r) {
    if (states_only) std::memcpy(&x_[r * C], rows[r].state, static_cast<std::size_t>(C) * sizeof(float));
    else model.embed(rows[r].token, rows[r].position, &x_[r * C]);
  });
  if (!states_only) {
    for (const EmbeddingUpdate& update : model.embedding_updates) {
      const std::int64_t rank = update.b.columns();
      room(low_rank_, count * rank);
      for (std::int64_t r = 0; r < count; ++r)
        std::memcpy(&low_rank_[static_cast<std::size_t>(r * rank)], &update.a[static_cast<std::size_t>(rows[r].token * rank)], static_cast<std::size_t>(rank) * sizeof(float));
      add_low_rank(update.b, update.scale * config.embedding_scale, count, x_.data(), C);
    }
    if (!model.embedding_norm.weight.empty()) for_rows(count, C, [&](std::int64_t r) { normalize(model.embedding_norm, &x_[r * C], &x_[r * C]); });
  }

  const auto add_bias = [&](const std::vector<float>& bias, float* y) {
    if (!bias.empty()) kernels.add(y, bias.data(), static_cast<std::int64_t>(bias.size()), y);
  };
  const auto stops = [&](int index, ProductInput product, const float* input, std::int64_t observed, std::int64_t columns, std::int64_t stride) {
    return observer_ && !observer_->observe({index, product, 0, input, observed, columns, stride});
  };
  std::int64_t active = count;  // rows that the residual stream still carries
  for (int index = 0; index < config.layers; ++index) {
    const LayerWeights& layer = model.layers[static_cast<std::size_t>(index)];
    const bool windowed_rotary = !model.windowed_rotary_frequencies.empty() && config.window_of(index) > 0;
    const RotaryTable& rotary = windowed_rotary ? windowed_rotary_ : rotary_;

    // h = x + W_o attention(rotary(W_q n), rotary(W_k n), W_v n),  n = norm(x)
    for_rows(active, C, [&](std::int64_t r) { normalize(layer.attention_norm, &x_[r * C], &normed_[r * C]); });
    if (stops(index, ProductInput::kQkv, normed_.data(), active, C, C)) return {};
    multiply(layer.qkv, normed_.data(), active, C, qkv_);
    for_rows(active, qkv_floats, [&](std::int64_t r) {
      float* q = &qkv_[r * qkv_floats];
      float* k = q + q_floats;
      const float* v = k + kv_floats;
      const std::int64_t position = positions_[r];
      add_bias(layer.qkv_bias, q);
      for (const auto& [norm, heads, values] : {std::tuple(&layer.q_norm, q, q_floats), std::tuple(&layer.k_norm, k, kv_floats)})
        for (std::int64_t head = 0; !norm->empty() && head < values; head += static_cast<std::int64_t>(norm->size()))
          kernels.rms_norm(heads + head, norm->data(), static_cast<std::int64_t>(norm->size()), config.norm_epsilon, heads + head);
      if (config.has_rotary_positions())
        kernels.rotate(q, config.heads + config.kv_heads, config.head_width, config.rotary_width, config.rotary_pairing,
                       rotary.cos(position), rotary.sin(position));
      std::byte* place = rows[r].sequence->page_of(position) + index * cache.layer_bytes();
      for (int head = 0; head < config.kv_heads; ++head, place += cache.head_bytes())
        store_kv(cache.kind(), k + head * D, v + head * D, config.head_width, position, place);
    });
    if (index + 1 == config.layers && static_cast<std::int64_t>(wanted.size()) < active && !observer_ && !states_only) {
      // Behind the last layer's keys and values only the wanted rows matter.
      active = static_cast<std::int64_t>(wanted.size());
      for (std::int64_t i = 0; i < active; ++i) {
        const std::int64_t r = wanted[static_cast<std::size_t>(i)];
        if (r == i) continue;
        std::memcpy(&x_[i * C], &x_[r * C], static_cast<std::size_t>(C) * sizeof(float));
        std::memcpy(&qkv_[i * qkv_floats], &qkv_[r * qkv_floats], static_cast<std::size_t>(q_floats) * sizeof(float));
        positions_[i] = positions_[r];
        tables_[i] = tables_[r];
      }
      if (active == 0) return {};
    }
    attend(index, active, cache);
    if (stops(index, ProductInput::kAttentionOutput, attended_, active, q_floats, q_floats)) return {};
    multiply(layer.attention_output, attended_, active, q_floats, output_.data());

    // x = h + W_down act(W_gate n, W_up n),  n = norm(h); with parallel residuals n = norm(x)
    for_rows(active, C, [&](std::int64_t r) {
      float* x = &x_[r * C];
      float* output = &output_[r * C];
      add_bias(layer.attention_output_bias, output);
      normalize(layer.post_attention_norm, output, output);
      if (config.parallel_residual) normalize(layer.feed_forward_norm, x, &normed_[r * C]);
      kernels.add(x, output, C, x);
      if (!config.parallel_residual) normalize(layer.feed_forward_norm, x, &normed_[r * C]);
    });
    if (layer.mixture) {
      mix_experts(index, *layer.mixture, active);
    } else {
      if (stops(index, ProductInput::kGateUp, normed_.data(), active, C, C)) return {};
      multiply(layer.gate_up, normed_.data(), active, C, gate_up_);
      const std::int64_t hidden = layer.gate_up.rows;  // 2 F, or F without gate
      for_rows(active, 4 * F, [&](std::int64_t r) {
        add_bias(layer.gate_up_bias, &gate_up_[r * hidden]);
        activate(&gate_up_[r * hidden], F);
      });
      if (stops(index, ProductInput::kDown, gate_up_, active, F, hidden)) return {};
      multiply(layer.down, gate_up_, active, hidden, output_.data());
    }
    for_rows(active, C, [&](std::int64_t r) {
      float* output = &output_[r * C];
      add_bias(layer.down_bias, output);
      normalize(layer.post_feed_forward_norm, output, output);
      kernels.add(&x_[r * C], output, C, &x_[r * C]);
    });
  }
  if (states_only)
    for (std::int64_t r = 0; r < count; ++r) std::memcpy(rows[r].state, &x_[r * C], static_cast<std::size_t>(C) * sizeof(float));
  if (wanted.empty()) return {};
  if (active > static_cast<std::int64_t>(wanted.size())) {  // an observer had all rows go on
    active = static_cast<std::int64_t>(wanted.size());
    for (std::int64_t i = 0; i < active; ++i) std::memmove(&x_[i * C], &x_[wanted[static_cast<std::size_t>(i)] * C], static_cast<std::size_t>(C) * sizeof(float));
  }

  // logits = W_out norm(x)
  for_rows(active, C, [&](std::int64_t r) { normalize(model.output_norm, &x_[r * C], &normed_[r * C]); });
  if (stops(config.layers, ProductInput::kOutput, normed_.data(), active, C, C)) return {};
  const std::int64_t at_once = std::clamp<std::int64_t>(kLogitsAtOnce / V, 16, std::max<std::int64_t>(16, active));
  room(logits_, std::min(at_once, active) * V);
  std::vector<unsigned char> finite(static_cast<std::size_t>(std::min(at_once, active)));
  for (std::int64_t begin = 0; begin < active; begin += at_once) {
    const std::int64_t end = std::min(active, begin + at_once);
    multiply(model.output, &normed_[begin * C], end - begin, C, logits_.data());
    const auto row_of = [&](std::int64_t i) -> const Row& { return rows[static_cast<std::size_t>(wanted[static_cast<std::size_t>(begin + i)])]; };
    const auto logits_of = [&](std::int64_t i) { return std::span<const float>(&logits_[i * V], static_cast<std::size_t>(V)); };
    for_rows(end - begin, V, [&](std::int64_t i) {
      float* logits = &logits_[i * V];
      add_bias(model.output_bias, logits);
      if (config.logit_softcap > 0)
        for (std::int64_t v = 0; v < V; ++v) logits[v] = config.logit_softcap * elementary::tanh(logits[v] / config.logit_softcap);
      finite[static_cast<std::size_t>(i)] = all_finite(logits_of(i));
      if (beside && finite[static_cast<std::size_t>(i)]) beside(row_of(i).segment, row_of(i).index, logits_of(i));
    });
    for (std::int64_t i = 0; i < end - begin; ++i) {
      const Row& row = row_of(i);
      if (!finite[static_cast<std::size_t>(i)])
        return Error{Code::kNonFinite, fmt::format("the logits behind token {} at position {} are not finite numbers", row.token, row.position)};
      sink(row.segment, row.index, logits_of(i));
    }
  }
  return {};
}

}  // namespace quantfleet
