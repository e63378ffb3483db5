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

// Writes one file, array after array, without knowing beforehand what will come: the header's place is reserved and filled at
// the end (the format allows spaces behind it). Arrays begin at multiples of 8 bytes: what is no such multiple itself is kept
// until finish() and put behind the others, because the format has no holes.
class SafetensorsWriter {
 public:
  // header_bytes: the sum of safetensors_header_bytes of all arrays and of the metadata; a multiple of 8 is made of it.
  static Result<std::unique_ptr<SafetensorsWriter>> create(const std::filesystem::path& path, std::uint64_t header_bytes);
  virtual ~SafetensorsWriter() = default;
  // The next array, row-major; its bytes follow in any number of pieces.  Errors: kBadShape (fewer or more bytes than promised).
  virtual Status begin(std::string name, std::string dtype, std::vector<std::int64_t> shape) = 0;
  virtual Status write(std::span<const std::byte> bytes) = 0;
  virtual std::uint64_t data_bytes() const = 0;  // promised so far
  // Writes the header and syncs.
  virtual Status finish(const std::map<std::string, std::string>& metadata) = 0;
};

// What an array's entry takes in the header at most.
std::uint64_t safetensors_header_bytes(std::string_view name);

// Bits of one value of a dtype; 0: not a dtype of safetensors.
int safetensors_bits(std::string_view dtype);

inline constexpr std::uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;  // the format's own limit
inline constexpr std::size_t kSafetensorsMaxArrays = 1'000'000;

}  // namespace quantfleet
