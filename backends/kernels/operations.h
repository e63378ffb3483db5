// Plain data that kernels take and give. Apart from kernels.h, because files compiled for one instruction set include this
// and nothing with inline code (numerics.md rule 6).
#pragma once

#include <cstdint>

namespace quantfleet {

enum class RotaryPairing {
  kAdjacent,  // pairs (2i, 2i + 1): GGUF's llama architecture
  kHalves,    // pairs (i, i + dims/2): everything else
};

// A page of the KV cache holds kPagePositions consecutive absolute positions, starting at a multiple of it, for any number
// of layers and KV heads. For one layer and KV head, K lies as [head_dim][16] and V as [16][head_dim], F32.
inline constexpr int kPagePositions = 16;

// How the cache keeps keys and values (kv_pages.h).
enum class KvKind { kF32, kF16, kQ8_0, kQ4_0 };

struct AttentionArgs {
  std::int64_t queries = 0;
  const float* q = nullptr;                    // [queries][heads][head_dim], queries q_stride floats apart
  std::int64_t q_stride = 0;
  const std::int64_t* positions = nullptr;     // [queries]: the query at position p sees keys p - window + 1 .. p
  const float* const* const* pages = nullptr;  // [queries]: a table of pages; entry i holds positions 16 i .. 16 i + 15
  int heads = 0, kv_heads = 0, head_dim = 0;   // heads is a multiple of kv_heads
  std::int64_t k_offset = 0, v_offset = 0;     // floats from a page's start to K and V of this layer's KV head 0
  std::int64_t kv_head_stride = 0;             // floats between KV heads inside a page; at least 16 head_dim
  // Not F32: pages are bytes, a layer's heads lie one after the other from layer_offset on (bytes; kv_head_bytes each), and the
  // three offsets in floats above do not count.
  KvKind kv = KvKind::kF32;
  std::int64_t layer_offset = 0;
  float scale = 1;                             // times every score
  const float* slopes = nullptr;               // [heads] or null; ALiBi: + slope * (key's position - query's) behind the scale
  float softcap = 0;                           // > 0: score = softcap * tanh(score / softcap)
  std::int64_t window = 0;                     // > 0: sliding window
  float* out = nullptr;                        // [queries][heads][head_dim], queries out_stride floats apart
  std::int64_t out_stride = 0;
};

struct LogSumExp {
  float max = 0;
  float log_sum = 0;  // log of sum exp(x - max):   log softmax(x)_i = (x_i - max) - log_sum
};

}  // namespace quantfleet
