// Quantizers of Hugging Face checkpoints: what stands in the directory for the weight of one linear layer. None needs
// calibration; some weigh columns by an importance matrix. How each chooses codes: docs/formats/huggingface.md
#pragma once

#include "backends/huggingface/linear_format.h"
#include "backends/kernels/thread_pool.h"
#include "contract/error.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// The weight of one module, [N, K], all finite; rows in the checkpoint's order.
struct LinearInput {
  std::string module;                 // "model.layers.3.mlp.up_proj", for errors
  std::int64_t rows = 0, columns = 0;
  std::span<const float> values;
  std::span<const float> importance;  // [K]: mean squared activation; empty: every column counts the same

  const float* row(std::int64_t n) const { return values.data() + n * columns; }
};

struct LinearQuantizer {
  std::string_view name;          // --format
  std::string_view summary;       // for --help and the documents
  const huggingface::LinearFormat* reader;
  std::int64_t group_size;        // what shares a scale, unless the user says otherwise; 0: the format decides
  huggingface::Json (*config)(std::int64_t group_size);  // quantization_config
  // The same arrays for every number of threads.  Errors: kBadShape, kBadValue, kUnsupported with the module's name.
  Result<std::vector<huggingface::StoredArray>> (*quantize)(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool);
  bool only_here = false;         // safetensors with a quantfleet.format entry: no other engine loads it
  bool whole_model = false;       // the embedding and the output matrix, too
  bool uses_importance = false;
};

// The one visible list (linear_quantizers.cc).
std::span<const LinearQuantizer> all_linear_quantizers();
const LinearQuantizer* find_linear_quantizer(std::string_view name);  // in any case of letters; nullptr when unknown

// bitsandbytes.cc
huggingface::Json config_nf4(std::int64_t);
huggingface::Json config_nf4_nested(std::int64_t);
huggingface::Json config_fp4(std::int64_t);
huggingface::Json config_fp4_nested(std::int64_t);
huggingface::Json config_llm_int8(std::int64_t);
Result<std::vector<huggingface::StoredArray>> quantize_nf4(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_nf4_nested(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_fp4(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_fp4_nested(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_llm_int8(const LinearInput&, std::int64_t, ThreadPool&);
std::vector<float> dynamic_map();  // the 256 values of bitsandbytes' signed 8-bit map, ascending

// hqq.cc
huggingface::Json config_hqq8(std::int64_t);
huggingface::Json config_hqq4(std::int64_t);
huggingface::Json config_hqq3(std::int64_t);
huggingface::Json config_hqq2(std::int64_t);
huggingface::Json config_hqq1(std::int64_t);
Result<std::vector<huggingface::StoredArray>> quantize_hqq8(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_hqq4(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_hqq3(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_hqq2(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_hqq1(const LinearInput&, std::int64_t, ThreadPool&);

// fp8.cc
huggingface::Json config_fp8(std::int64_t);
Result<std::vector<huggingface::StoredArray>> quantize_e4m3(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_e4m3_channel(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_e5m2(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_e5m2_channel(const LinearInput&, std::int64_t, ThreadPool&);
std::uint8_t to_e4m3(float value);  // nearest even; beyond 448 (57344) the largest. Finite input.
std::uint8_t to_e5m2(float value);

// compressed_tensors.cc
huggingface::Json config_w4a16(std::int64_t);
huggingface::Json config_w4a16_asym(std::int64_t);
huggingface::Json config_w8a16(std::int64_t);
huggingface::Json config_w8a8(std::int64_t);
Result<std::vector<huggingface::StoredArray>> quantize_w4a16(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_w4a16_asym(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_w8a16(const LinearInput&, std::int64_t, ThreadPool&);
huggingface::Json config_w8a8_static();
Result<std::vector<huggingface::StoredArray>> quantize_w8a8(const LinearInput&, std::int64_t, ThreadPool&);
// The same weights with the scale of their inputs (calibrated). values [N, K]: what the codes mean.
std::vector<huggingface::StoredArray> quantize_w8a8_static(const LinearInput& weight, float input_scale, std::span<float> values, ThreadPool& pool);

// extremes.cc
huggingface::Json config_sparse4(std::int64_t);
huggingface::Json config_sparse8(std::int64_t);
huggingface::Json config_bitnet(std::int64_t);
huggingface::Json config_lossless(std::int64_t);
Result<std::vector<huggingface::StoredArray>> quantize_sparse4(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_sparse8(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_bitnet(const LinearInput&, std::int64_t, ThreadPool&);
Result<std::vector<huggingface::StoredArray>> quantize_lossless(const LinearInput&, std::int64_t, ThreadPool&);

}  // namespace quantfleet
