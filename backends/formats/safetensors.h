// Safetensors: named arrays behind a JSON header, the container of Hugging Face checkpoints.
//   u64 length of the header | header, JSON | data
// The reader maps the file and checks every name, shape and place before anything is used; the data must be covered exactly,
// without holes or overlap.  Fuzz: tests/fuzz/fuzz_safetensors.cc
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// One array: a view into the file, row-major, little-endian; valid as long as the SafetensorsFile lives.
struct SafetensorsArray {
  std::string name;
  std::string dtype;                  // "F16", "BF16", "F32", "I32", "U8", "F8_E4M3", ...
  std::vector<std::int64_t> shape;    // outermost first; empty: one value
  std::span<const std::byte> bytes;

  std::int64_t count_values() const;
};

class SafetensorsFile {
 public:
  static Result<std::shared_ptr<const SafetensorsFile>> open(const std::filesystem::path& path);
  // The same checks over bytes in memory, which must outlive the result.
  static Result<std::shared_ptr<const SafetensorsFile>> parse(std::span<const std::byte> bytes, std::string_view place);

  virtual ~SafetensorsFile() = default;
  virtual const std::vector<SafetensorsArray>& arrays() const = 0;  // by name
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  virtual std::uint64_t size_bytes() const = 0;
};

// Bits of one value of a dtype; 0: not a dtype of safetensors.
int safetensors_bits(std::string_view dtype);

inline constexpr std::uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;  // the format's own limit
inline constexpr std::size_t kSafetensorsMaxArrays = 1'000'000;

}  // namespace quantfleet
