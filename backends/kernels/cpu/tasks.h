// What the shared drivers hand to a family's kernels: plain data and pointers, so that files compiled for one instruction
// set need no inline code of the standard library.
#pragma once

#include "backends/kernels/operations.h"

#include <cstdint>

namespace quantfleet {

struct BlockFormat;
struct CodeBlock;

inline constexpr int kPanelRows = 16;  // weight rows which lie interleaved: a lane is a row

// How the integers of one format combine (numerics.md rules 1, 2).
struct IntegerFormat {
  std::uint32_t ggml_type;
  int block;          // values per scale, and per activation scale: 32 or 256
  int sub_block;      // values per integer sub-scale; equal to block when the format has none
  bool has_scales;    // integer sub-scales
  int min_sign;       // 0: no minimum or offset; +1: + m M (Q4_1, Q5_1); -1: - m M
  int bytes;          // per block
  void (*read)(const unsigned char* block, CodeBlock& values);  // cpu/scalar/code_block.cc
};

// One block of one row as integers: value = d * scales[j] * codes[k] + min_sign * m * mins[j], j = k / sub_block.
struct CodeBlock {
  float d;
  float m;
  std::int16_t scales[16];
  std::int16_t mins[16];
  std::int8_t codes[256];
};

// int8 activations of eight neighbouring tokens in 256 columns, token beside token: what kernels for many tokens read in one
// stream. Sub-blocks and blocks are counted from the first of the columns; places behind the last column or token are zeros.
inline constexpr int kGroupTokens = 8, kGroupColumns = 256;
struct alignas(64) TokenGroup {
  std::int8_t codes[kGroupColumns / 4][kGroupTokens][4];
  float scales[8][kGroupTokens];               // of blocks
  std::int32_t corrections[16][kGroupTokens];  // of sub-blocks: -offset * sum of codes (panel_layout.h)
  std::int16_t sums[8][kGroupTokens][2];       // of sub-blocks 2 j and 2 j + 1: sums of codes
  std::int32_t total[kGroupTokens];            // sum of all codes
};

// F32 activations of eight neighbouring tokens in 128 columns, for the same purpose.
inline constexpr int kFloatGroupColumns = 128;
struct alignas(64) FloatTokenGroup {
  float x[kFloatGroupColumns][kGroupTokens];
};

// Outputs of the rows in panels [panel_begin, panel_end) for tokens [token_begin, token_end); at most kTaskTokens tokens.
struct MatmulTask {
  const unsigned char* weights = nullptr;     // the whole matrix
  bool panels = false;                        // weights in the layout of panel_layout.h; otherwise rows of the format
  std::uint32_t ggml_type = 0;
  std::int64_t rows = 0, columns = 0;         // N, K
  std::int64_t row_bytes = 0;                 // of the format
  const BlockFormat* format = nullptr;        // for decode_blocks
  const IntegerFormat* integers = nullptr;    // null: f32 only
  std::int64_t panel_begin = 0, panel_end = 0;
  std::int64_t token_begin = 0, token_end = 0;
  const float* x = nullptr;                   // kF32: [tokens][K]
  std::int64_t x_stride = 0;
  const std::int8_t* codes = nullptr;         // kInt8: [tokens][K]
  const float* scales = nullptr;              // kInt8: [tokens][K / block]
  const std::int16_t* sums = nullptr;         // kInt8: [tokens][K / sub_block]: sums of codes
  const std::int32_t* corrections = nullptr;  // panels: [tokens][K / sub_block]: -offset * sums (panel_layout.h)
  const TokenGroup* groups = nullptr;         // the same again, [pieces of 256 columns][count_groups], when the family has them
  const FloatTokenGroup* float_groups = nullptr;  // made and tokens are enough (KernelFamily::grouped_tokens); kF32, more than eight:
  std::int64_t count_groups = 0;                  // [pieces of 128 columns][count_groups]
  float* y = nullptr;
  std::int64_t y_stride = 0;
  bool accumulate = false;                    // kF32: y holds the sums over the columns before these
  unsigned char* scratch = nullptr;           // this thread's kMatmulScratchBytes, aligned to 64
};

// The format's own definition, called from files that must not include it.
int values_per_block(const BlockFormat& format);
int bytes_per_block(const BlockFormat& format);
void decode_blocks(const BlockFormat& format, const unsigned char* blocks, std::int64_t count_blocks, float* values);

// Attention of queries [query_begin, query_end), which share one table of pages, for heads [head_begin, head_end), which
// share one KV head; at most kAttentionRows pairs of query and head.
struct AttentionTask {
  const AttentionArgs* args = nullptr;
  std::int64_t query_begin = 0, query_end = 0;
  int head_begin = 0, head_end = 0;
  int kv_head = 0;
  float* scores = nullptr;                    // this thread's kAttentionRows rows, aligned to 64
  std::int64_t score_stride = 0;              // floats between rows: a multiple of 16, above every position
};

// The ALiBi slope of pair `pair`: queries, each with all heads of the task; null without ALiBi.
static inline const float* slope_of(const AttentionTask& task, int pair) {
  return task.args->slopes ? task.args->slopes + task.head_begin + pair % (task.head_end - task.head_begin) : nullptr;
}

// One KV head of a page as floats: K [head_dim][16], V [16][head_dim]. Families other than scalar: head_dim % 32 = 0.
struct KvPageTask {
  KvKind kind = KvKind::kF16;                 // not F32
  int head_dim = 0;
  const unsigned char* head = nullptr;        // kv_page_layout.h
  float* k = nullptr;
  float* v = nullptr;
};

inline constexpr std::int64_t kTaskTokens = 256;
inline constexpr std::int64_t kMatmulScratchBytes = 1 << 18;
inline constexpr int kAttentionRows = 16;

}  // namespace quantfleet
