// LinearFormat: how a quantized checkpoint stores the weight of a linear layer. The codes and scales are read as they are;
// the value is their float32 product.
#pragma once

#include "backends/formats/safetensors.h"
#include "backends/huggingface/json_file.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

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

 private:
  std::int64_t rows_, columns_;
};

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

// The one visible list (linear_format.cc).
std::span<const LinearFormat* const> all_linear_formats();

// Numbers of an array as floats or integers, whatever of the usual dtypes it has.
float float_at(const SafetensorsArray& array, std::int64_t index);        // F32, F16, BF16, F8_E4M3, F8_E5M2
std::uint32_t word_at(const SafetensorsArray& array, std::int64_t index);  // I32, U32
inline constexpr std::string_view kFloatDtypes = "F32 F16 BF16";

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

}  // namespace quantfleet::huggingface
