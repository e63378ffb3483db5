// The arithmetic of a transformer on CPUs: weight matrices, norms, rotary positions, attention over a paged KV cache.
// Every family of kernels (avx512_vnni, avx2, scalar) gives the same bits for the same input, for every number of threads,
// tokens at once and companions in a batch: docs/numerics.md. The scalar family is the definition.
// This folder knows nothing of models, tokens or files.
#pragma once

#include "backends/formats/block_format.h"
#include "backends/kernels/aligned_buffer.h"
#include "backends/kernels/cpu_features.h"
#include "backends/kernels/operations.h"
#include "backends/kernels/thread_pool.h"
#include "contract/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quantfleet {

struct GroupedRowsFormat;  // backends/formats/grouped_rows.h
struct KernelFamily;  // its members: below

// "" gives the best family of this CPU. kUnknownName when no family has the name, kUnsupported when the CPU lacks it.
Result<const KernelFamily*> find_kernels(std::string_view name);
// The families this CPU can run, best first; scalar is always last.
std::span<const KernelFamily* const> available_kernels();

// ---- weight matrices ---------------------------------------------------------------------------------------------------

// kF32: dequantized weight x F32 activation.  kInt8: codes x codes (numerics.md rules 0 and 1).
enum class ActivationKind { kF32, kInt8 };

// Memory which products need; grows to what they ask for. One per thread of control, reused from call to call.
struct MatmulScratch {
  AlignedBuffer activations;  // codes, scales and sums of all tokens
  AlignedBuffer tiles;        // per thread
};

// Weights [rows N, columns K] of one format, arranged for one family at the format's own size (no more than 6 % above it
// when N is a multiple of 16); the formats that store numbers of grid entries take their codes' bits: docs/formats/i-quants.md.
class WeightMatrix {
 public:
  // bytes: rows * format.row_bytes(columns), any alignment; not needed afterwards. Errors: kBadShape (columns is not whole
  // blocks, or the size of `bytes` is another), kNonFinite (names row and column), kTooLarge. `format` must live for ever, as
  // the catalog's do.
  static Result<WeightMatrix> pack(const KernelFamily& family, const BlockFormat& format, std::span<const std::byte> bytes,
                                   std::int64_t rows, std::int64_t columns, ThreadPool& pool);
  // The same from F32 values, row-major.
  static Result<WeightMatrix> pack_floats(const KernelFamily& family, std::span<const float> values, std::int64_t rows,
                                          std::int64_t columns, ThreadPool& pool);

  // The size that pack gives.
  static std::size_t packed_bytes(const KernelFamily& family, const BlockFormat& format, std::int64_t rows, std::int64_t columns);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  const KernelFamily& family() const { return *family_; }
  const BlockFormat& format() const { return *format_; }
  std::size_t size_bytes() const { return data_.size_bytes(); }
  // False for formats whose users run 16-bit activations: kInt8 must not be asked of them.
  bool has_int8() const { return has_int8_; }

 private:
  friend struct MatmulDriver;
  const KernelFamily* family_ = nullptr;
  const BlockFormat* format_ = nullptr;
  const GroupedRowsFormat* grouped_ = nullptr;  // where the weights are kept as codes under group scales
  std::int64_t rows_ = 0, columns_ = 0;
  bool has_int8_ = false;
  bool panels_ = false;  // rows interleaved by 16 (cpu/panel_layout.h); otherwise the format's own bytes, row after row
  AlignedBuffer data_;
};

// True when kInt8 is defined for a format: GGUF's quantized formats.
bool has_int8_activations(const BlockFormat& format);

// y[t, n] = sum over k of w[n, k] x[t, k], as one chain over ascending k (numerics.md rules 1, 2).
//   x [tokens, K], rows x_stride floats apart;  y [tokens, N], rows y_stride floats apart; x and y do not overlap.
// A NaN or infinity in a token's x gives NaN or infinity in that token's y (kInt8: in all of it).
// Threads share N and tokens, never K.
void matmul(const WeightMatrix& w, const float* x, std::int64_t tokens, std::int64_t x_stride, ActivationKind kind, float* y,
            std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch);

// ---- rotary positions (Su et al. 2021; pairings: operations.h) ---------------------------------------------------------------------------------

// Radians per position of pair i: base^(-2i/dims) / scale / divisors[i]. `divisors` is empty, or GGUF's rope_freqs [dims/2].
std::vector<double> rotary_frequencies(int dims, double base, double scale, std::span<const float> divisors);

// YaRN (Peng et al. 2023): frequencies that turn often within `original_context` positions stay, slow ones are divided by
// `factor`, with a linear ramp between (beta_fast 32, beta_slow 1).
std::vector<double> yarn_frequencies(int dims, double base, double factor, int original_context);
double yarn_magnitude(double factor);  // 1 + 0.1 ln(factor): what YaRN multiplies cosines and sines by

// Cosines and sines of positions 0 .. positions-1, each times `magnitude` (1 unless the scaling method says otherwise).
class RotaryTable {
 public:
  RotaryTable() = default;
  RotaryTable(std::span<const double> frequencies, std::int64_t positions, double magnitude = 1.0);
  int dims() const { return 2 * pairs_; }
  std::int64_t positions() const { return pairs_ ? static_cast<std::int64_t>(cos_.size()) / pairs_ : 0; }
  const float* cos(std::int64_t position) const { return cos_.data() + position * pairs_; }  // [dims/2]
  const float* sin(std::int64_t position) const { return sin_.data() + position * pairs_; }  // [dims/2]

 private:
  int pairs_ = 0;
  std::vector<float> cos_, sin_;
};

// ALiBi (Press et al. 2022): the slope of each head, [heads]. With n heads, a power of two, head h has 2^(-largest (h + 1) / n);
// heads beyond the largest power of two take every other slope of twice as many.
std::vector<float> alibi_slopes(int heads, double largest);

// ---- attention (its arguments: operations.h) ---------------------------------------------------------------------------------------------------------

// Writes position (absolute) of one KV head into its page.  k_panel, v_panel: this layer's and head's places in the page.
void store_k(const float* k, int head_dim, std::int64_t position, float* k_panel);  // k [head_dim]
void store_v(const float* v, int head_dim, std::int64_t position, float* v_panel);  // v [head_dim]

// Exact softmax over all visible keys, no online rescaling (numerics.md rule 4). Consecutive queries with the same table of
// pages share work; this changes no bit. Threads share heads and queries, never keys.
void attention(const KernelFamily& family, const AttentionArgs& args, ThreadPool& pool, MatmulScratch& scratch);

// ---- the family --------------------------------------------------------------------------------------------------------

struct MatmulTask;     // cpu/tasks.h
struct AttentionTask;  // cpu/tasks.h
struct KvPageTask;     // cpu/tasks.h

struct KernelFamily {
  std::string_view name;
  Cpu needs = Cpu::kNone;

  // y = x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019); sums as rule 3.  All [n]; y may be x.
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, float* y);
  // y = (x - mean) / sqrt(var + eps) * weight + bias; biased variance, sums as rule 3. bias may be null; y may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y);
  // Rotates the first `dims` values of each head in place.  x [heads][head_dim];  cos, sin [dims/2].
  void (*rotate)(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin);
  void (*silu_mul)(const float* gate, const float* up, std::int64_t n, float* y);  // silu(gate) * up; y may be either
  void (*gelu_mul)(const float* gate, const float* up, std::int64_t n, float* y);  // gelu_tanh(gate) * up
  void (*add)(const float* x, const float* y, std::int64_t n, float* sum);         // sum may be either
  void (*softmax)(const float* x, std::int64_t n, float* y);                       // n >= 1; y may be x
  LogSumExp (*log_sum_exp)(const float* x, std::int64_t n);                        // n >= 1

  // Inside matmul and attention; call those instead.
  bool uses_panels = false;
  int grouped_tokens = 0;     // int8 products of so many tokens and more read MatmulTask::groups; 0: none do
  bool float_groups = false;  // and MatmulTask::float_groups
  void (*quantize_activations)(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes,
                               float* scales, std::int16_t* sums);
  void (*matmul_f32)(const MatmulTask& task);
  void (*matmul_int8)(const MatmulTask& task);
  void (*attend)(const AttentionTask& task);
  void (*load_kv)(const KvPageTask& task) = nullptr;  // null: the scalar one
};

// Index of the largest value, the first of equals; n >= 1. NaN is never the largest.
std::int64_t argmax(const float* x, std::int64_t n);

// y_i = (x_i - max) - log_sum: log-probabilities.  y may be x.
void log_softmax(const KernelFamily& family, const float* x, std::int64_t n, float* y);

}  // namespace quantfleet
