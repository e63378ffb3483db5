// LinearFormat: how a quantized checkpoint stores the weight of a linear layer. The codes and scales are read as they are;
// the value is their float32 product.
#pragma once

#include "backends/formats/block_format.h"
#include "backends/formats/grouped_rows.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/json_file.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::huggingface {

// The arrays of one module by what stands behind its name: "qweight", "scales", "weight.absmax".
struct ModuleArrays {
  std::string name;
  std::map<std::string, const SafetensorsArray*, std::less<>> arrays;

  const SafetensorsArray* find(std::string_view suffix) const;
  // The array with this dtype (one of several, divided by spaces) and shape (-1: any size).  Errors name the array.
  Result<const SafetensorsArray*> get(std::string_view suffix, std::string_view dtypes, std::initializer_list<std::int64_t> shape) const;
  Error bad(Code code, std::string sentence) const;
};

// The weight of a linear layer, [rows N, columns K]: decoded a row at a time, by any number of threads.
class LinearWeight {
 public:
  LinearWeight(std::int64_t rows, std::int64_t columns) : rows_(rows), columns_(columns) {}
  virtual ~LinearWeight() = default;
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  virtual void decode(std::int64_t row, float* values) const = 0;  // values [K]
  // How a row is handed on: as the stored numbers where the engine can use them, otherwise decoded to F32. The same values.
  virtual const BlockFormat* format() const;
  virtual void store(std::int64_t row, std::byte* blocks) const;  // format()->row_bytes(K) bytes
  // The weight is codes under group scales, which codes() gives; columns are filled in.
  void keep_codes(GroupedRows rows);

 protected:
  // codes [K], scales [G], zeros [G]: as keep_codes said
  virtual void codes(std::int64_t row, std::uint8_t* codes, float* scales, float* zeros) const;

 private:
  const GroupedRowsFormat* grouped_ = nullptr;
  std::int64_t rows_, columns_;
};

// One array that stands for (a part of) a module's weight: what quantizers make and checkpoint_writer.h stores.
struct StoredArray {
  std::string suffix;  // behind the module's name: "qweight", "weight.absmax"
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

// Any vector of numbers as an array; `dtype` names what its bytes are.
template <class T>
StoredArray stored_array(std::string suffix, std::string dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  return {std::move(suffix), std::move(dtype), std::move(shape), {bytes, bytes + values.size() * sizeof(T)}};
}
StoredArray stored_halves(std::string suffix, std::vector<std::int64_t> shape, std::span<const float> values);  // rounds to F16

// Codes under one scale and zero point per group of inputs: value(n, k) = scales[n, g] (codes[n, k] - zeros[n, g]).
struct GroupedCodes {
  int bits = 4;
  std::int64_t rows = 0, columns = 0, group_size = 0;  // N, K; group_size divides K
  std::vector<std::uint8_t> codes;                     // [N, K]
  std::vector<float> scales;                           // [N, G]: already rounded to what is stored (F16)
  std::vector<std::uint8_t> zeros;                     // [N, G]
  std::vector<std::int32_t> g_idx;                     // [K]: the group of each input; empty: k / group_size

  std::int64_t groups() const { return (columns + group_size - 1) / group_size; }
};

// gptq.cc: qweight, qzeros, scales (F16), g_idx, as GPTQModel writes them. bits 2, 3, 4, 8. Version 1 stores zero points less one.
// Errors: kBadShape (K or N not whole words), kBadValue (bits).
Result<std::vector<StoredArray>> pack_gptq(const std::string& module, const GroupedCodes& codes, bool version_2);
// awq.cc: qweight, qzeros, scales (F16) of version "gemm"; 4 bits, N a multiple of 8, no g_idx.
Result<std::vector<StoredArray>> pack_awq(const std::string& module, const GroupedCodes& codes);
// compressed_tensors.cc: weight_packed, weight_scale (F16), weight_shape; with zero points weight_zero_point. Codes are unsigned,
// 2^(bits - 1) above the signed ones of the format. 2 to 8 bits.
Result<std::vector<StoredArray>> pack_compressed(const std::string& module, const GroupedCodes& codes, bool symmetric);

// Groups of the flattened weight: value = (code - zero) scale.
struct HqqCodes {
  int bits = 4;
  std::int64_t rows = 0, columns = 0, group_size = 0;  // N, K; group_size divides N K
  std::vector<std::uint8_t> codes;                     // [N, K]
  std::vector<float> scales, zeros;                    // [N K / group_size]; stored as F16
};
// hqq.cc: W_q, scale, zero and the settings as arrays, axis 1, as the package's encoded state.  1, 2, 3, 4 and 8 bits.
Result<std::vector<StoredArray>> pack_hqq(const std::string& module, const HqqCodes& codes);

// A matrix of EXL2. Inputs are in the order of the file: input k of the matrix is the inverse[k]-th.
struct Exl2Codes {
  struct Group {
    int bits = 4;            // 2 to 6, 8
    std::int64_t count = 0;  // inputs, a multiple of 32
  };
  std::int64_t rows = 0, columns = 0;    // N, K: multiples of 32
  std::vector<Group> groups;             // bits do not ascend
  std::vector<std::uint8_t> codes;       // [N, K]: value = (code - 2^(bits - 1)) scale
  std::vector<std::uint8_t> scale_codes; // [G, N]: 0 to 15
  std::vector<float> maxima;             // [G]: already rounded to F16
  std::vector<std::int32_t> inverse;     // [K]
};
// exl2.cc: q_weight, q_scale, q_scale_max, q_groups, q_invperm, q_perm.  Error: kBadShape.
Result<std::vector<StoredArray>> pack_exl2(const std::string& module, const Exl2Codes& codes);
// The scale of a 4-bit code: half((code + 1)^2) half(half(maximum) half(1 / 256)), each product rounded to half.
float exl2_scale(unsigned code, float maximum);

struct LinearFormat {
  std::string_view quant_method;  // quantization_config.quant_method
  // The format's name with its numbers, "GPTQ-4bit-128g".
  Result<std::string> (*describe)(JsonReader& config);
  // The module's weight; nullptr where the module is not quantized (it has a plain `weight`).
  Result<std::unique_ptr<LinearWeight>> (*read)(const ModuleArrays& module, JsonReader& config);
  // What may stand behind a module's name besides "weight" and "bias".
  std::span<const std::string_view> suffixes;
};

extern const LinearFormat kGptq;               // gptq.cc
extern const LinearFormat kAwq;                // awq.cc
extern const LinearFormat kBitsandbytes;       // bitsandbytes.cc
extern const LinearFormat kCompressedTensors;  // compressed_tensors.cc
extern const LinearFormat kFp8;                // fp8.cc
extern const LinearFormat kExl2;               // exl2.cc
extern const LinearFormat kHqq;                // hqq.cc
extern const LinearFormat kBitnet;             // bitnet.cc
extern const LinearFormat kSparse;             // sparse.cc: this program's own
extern const LinearFormat kLossless;           // lossless.cc: this program's own

// The one visible list (linear_format.cc).
std::span<const LinearFormat* const> all_linear_formats();

// A block of row_int8.h.
void store_row_int8(const std::int8_t* codes, std::int64_t columns, float scale, std::byte* block);

// Numbers of an array as floats or integers, whatever of the usual dtypes it has.
float float_at(const SafetensorsArray& array, std::int64_t index);        // F32, F16, BF16, F8_E4M3, F8_E5M2
void floats_at(const SafetensorsArray& array, std::int64_t first, std::span<float> values);  // the same, from index `first` on
std::uint32_t word_at(const SafetensorsArray& array, std::int64_t index);  // I32, U32
inline constexpr std::string_view kFloatDtypes = "F32 F16 BF16";

// bitnet.cc: weight (packed by outputs) and weight_scale.  codes [N, K]: -1, 0, 1.  Errors: kBadShape (N not a multiple of 4).
Result<std::vector<StoredArray>> pack_bitnet(const std::string& module, std::int64_t rows, std::int64_t columns, std::span<const std::int8_t> codes, float scale);

// Two of every four inputs: values and their places.
struct SparseCodes {
  int bits = 4;                                        // 4 or 8
  std::int64_t rows = 0, columns = 0, group_size = 0;  // N, K; K a multiple of 16 and of group_size, which is one of 4
  std::vector<std::int8_t> codes;                      // [N, K / 2]: the kept ones, in order
  std::vector<std::uint8_t> places;                    // [N, K / 4]: first + 4 * second, 0 <= first < second <= 3
  std::vector<float> scales;                           // [N, K / group_size]: stored as F16
};
Result<std::vector<StoredArray>> pack_sparse(const std::string& module, const SparseCodes& codes);

// lossless.cc: BF16 numbers [N, K] with entropy-coded exponents.
std::vector<StoredArray> pack_lossless(std::int64_t rows, std::int64_t columns, std::span<const std::uint16_t> values);

// Every value finite?  Error: kNonFinite with the array's name.
Status check_finite(const SafetensorsArray& array);

// `bits` bits at bit `place` of a stream of little-endian words, `stride` words apart; at most 8 bits, may cross words.
inline std::uint32_t bits_at(const std::byte* words, std::int64_t stride, std::int64_t place, int bits) {
  const std::int64_t word = place / 32;
  const int shift = static_cast<int>(place % 32);
  std::uint32_t low = 0, high = 0;
  __builtin_memcpy(&low, words + 4 * word * stride, 4);
  if (shift + bits > 32) __builtin_memcpy(&high, words + 4 * (word + 1) * stride, 4);
  const std::uint64_t both = low | static_cast<std::uint64_t>(high) << 32;
  return static_cast<std::uint32_t>(both >> shift) & ((1u << bits) - 1);
}

// The inverse: writes `bits` bits into words that are zero there.
inline void put_bits(std::uint32_t* words, std::int64_t stride, std::int64_t place, int bits, std::uint32_t value) {
  const std::int64_t word = place / 32;
  const int shift = static_cast<int>(place % 32);
  words[word * stride] |= value << shift;
  if (shift + bits > 32) words[(word + 1) * stride] |= value >> (32 - shift);
}

}  // namespace quantfleet::huggingface
