// GGUF version 3: the container of llama.cpp's models. The reader maps the file and checks every size, count and offset
// against the file before anything is used; a hostile file gets one sentence, never a crash.
//   header | metadata key-values | tensor descriptions | padding | tensor data
// Spec: docs/formats/gguf.md.  Damage tests: tests/backends/formats/gguf_test.cc.  Fuzz: tests/fuzz/fuzz_gguf.cc
#pragma once

#include "backends/formats/block_format.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantfleet {

// The elements of an array as a file has them: numbers and bools in their width, little-endian; a text behind its length (u64).
// A reader's lie in its mapped file and live as long as the GgufFile; those of gguf_strings and its kin are held here. So a vocabulary
// takes no memory beside the tokenizer's.
class GgufArray {
 public:
  GgufArray(std::uint64_t count, std::span<const std::byte> in_file) : count_(count), bytes_(in_file) {}
  GgufArray(std::uint64_t count, std::string held)
      : count_(count), held_(std::make_shared<const std::string>(std::move(held))), bytes_(std::as_bytes(std::span(*held_))) {}

  std::uint64_t size() const { return count_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  bool operator==(const GgufArray& other) const;

 private:
  std::uint64_t count_;
  std::shared_ptr<const std::string> held_;
  std::span<const std::byte> bytes_;
};

// One metadata value. Integers of all widths are held as int64/uint64 with their on-disk type kept beside them.
struct GgufValue {
  enum class Type : std::uint32_t {
    kUint8 = 0, kInt8, kUint16, kInt16, kUint32, kInt32, kFloat32, kBool, kString, kArray, kUint64, kInt64, kFloat64
  };
  using Scalar = std::variant<std::int64_t, std::uint64_t, double, bool, std::string>;
  Type type{};
  Type element_type{};  // of an array
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string, GgufArray> data;

  // The first elements of an array, at most `count`; none of anything else.
  std::vector<Scalar> first_elements(std::size_t count) const;
};

// One tensor: a view into the mapped file; valid as long as the GgufFile lives. `bytes` is empty where the file holds the
// values in another arrangement: GgufFile::rows makes them.
struct GgufTensor {
  std::string name;
  const BlockFormat* format = nullptr;
  std::vector<std::int64_t> shape;       // GGUF's order: shape[0] is the length of a row; 1..4 dimensions
  std::span<const std::byte> bytes;

  std::int64_t count_values() const;
  std::int64_t columns() const { return shape.empty() ? 0 : shape[0]; }   // K: length of a row
  std::int64_t rows() const { return columns() ? count_values() / columns() : 0; }
  std::uint64_t size_bytes() const { return static_cast<std::uint64_t>(rows() * format->row_bytes(columns())); }
};

// What all readers of models present: a GGUF file, or another container as the GGUF that a conversion would give
// (backends/huggingface).
class GgufFile {
 public:
  // Split files (name-00001-of-0000N.gguf): open the first part, the others are found beside it.
  static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
  // The same checks over bytes in memory, which must outlive the result (tests, fuzzing).
  static Result<std::shared_ptr<const GgufFile>> parse(std::span<const std::byte> bytes, std::string_view place);

  virtual ~GgufFile() = default;
  virtual const std::filesystem::path& path() const = 0;
  virtual const std::vector<std::filesystem::path>& parts() const = 0;  // path() alone, or all files of a split model
  virtual std::uint64_t size_bytes() const = 0;                         // of all parts together
  virtual std::uint32_t version() const = 0;                            // 0: not a GGUF file
  virtual std::uint64_t alignment() const = 0;
  virtual const std::vector<std::pair<std::string, GgufValue>>& metadata() const = 0;  // in file order
  virtual const std::vector<GgufTensor>& tensors() const = 0;                          // in file order

  // A hint that `bytes` (of a tensor) are not needed soon: a mapped file gives their memory back and would read them again.
  virtual void forget(std::span<const std::byte> bytes) const = 0;
  // The same for all that was read so far: metadata, tensors, and what rows were made of that do not lie in the file as such.
  virtual void forget_all() const {}

  // The bytes of rows begin .. end-1, (end - begin) * row_bytes: where they lie in the file, or in `buffer`, made there.
  // Any number of threads may ask, each with its own buffer.
  virtual std::span<const std::byte> rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>& buffer) const;

  const GgufTensor* find_tensor(std::string_view name) const;     // nullptr when absent
  const GgufValue* find(std::string_view key) const;              // nullptr when absent

  // Typed look-ups: the error names the file, the key, what it holds and what was expected. `get_*` errors when absent;
  // `*_or` returns the default when absent and errors when present with another type.
  Result<std::string> get_string(std::string_view key) const;
  Result<std::int64_t> get_int(std::string_view key) const;       // any integer type that fits
  Result<double> get_float(std::string_view key) const;           // any float type
  Result<std::vector<std::string_view>> get_strings(std::string_view key) const;  // as long as the file lives
  Result<std::vector<std::int64_t>> get_ints(std::string_view key) const;
  Result<std::vector<float>> get_floats(std::string_view key) const;
  Result<std::string> string_or(std::string_view key, std::string fallback) const;
  Result<std::int64_t> int_or(std::string_view key, std::int64_t fallback) const;
  Result<double> float_or(std::string_view key, double fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;

 protected:
  std::map<std::string_view, std::size_t> key_index_, tensor_index_;  // into metadata() and tensors()
};

// Limits of the reader: far above every published model, small enough that a hostile header cannot make the program
// allocate much more than the file is long.
inline constexpr std::uint64_t kGgufMaxTensors = 100'000;
inline constexpr std::uint64_t kGgufMaxKeys = 10'000;
inline constexpr std::uint64_t kGgufMaxKeyBytes = 65'535;
inline constexpr std::uint64_t kGgufMaxTensorNameBytes = 64;
inline constexpr std::uint64_t kGgufMaxStringBytes = 1 << 26;
inline constexpr std::uint64_t kGgufMaxArrayElements = 1 << 22;  // of one array; all arrays together: four times that
inline constexpr std::uint64_t kGgufMaxAlignment = 1 << 20;
inline constexpr std::int64_t kGgufMaxParts = 1'000;

// Writes to a temporary file beside `path`; finish() syncs and renames: nothing half-written stays.
class GgufWriter {
 public:
  struct TensorPlan {
    std::string name;
    const BlockFormat* format = nullptr;
    std::vector<std::int64_t> shape;
  };
  // The header and all descriptions are written at once; tensor data follows in the order of `tensors`.
  static Result<std::unique_ptr<GgufWriter>> create(const std::filesystem::path& path,
                                                    const std::vector<std::pair<std::string, GgufValue>>& metadata,
                                                    const std::vector<TensorPlan>& tensors);
  virtual ~GgufWriter() = default;  // without finish(): the temporary file is removed
  virtual Status write(std::span<const std::byte> bytes) = 0;  // next bytes of the current tensor; padding is automatic
  virtual Status finish() = 0;
  virtual std::uint64_t size_bytes() const = 0;  // of the whole file
};

GgufValue gguf_string(std::string value);
GgufValue gguf_uint16(std::uint16_t value);
GgufValue gguf_uint32(std::uint32_t value);
GgufValue gguf_int32(std::int32_t value);
GgufValue gguf_float32(float value);
GgufValue gguf_bool(bool value);
GgufValue gguf_strings(const std::vector<std::string>& values);
GgufValue gguf_floats(const std::vector<float>& values);
GgufValue gguf_int32s(const std::vector<std::int32_t>& values);
GgufValue gguf_uint8s(std::string bytes);

}  // namespace quantfleet
