// Makers of metadata values, and what all readers of GgufFile share.
#include "backends/formats/gguf.h"

#include <fmt/format.h>

#include <limits>

namespace quantfleet {

namespace {

using Type = GgufValue::Type;

constexpr std::string_view kTypeNames[] = {"uint8", "int8", "uint16", "int16",  "uint32", "int32",  "float32",
                                           "bool",  "string", "array", "uint64", "int64", "float64"};

std::string describe(const GgufValue& value) {
  if (value.type == Type::kArray)
    return fmt::format("array of {}", kTypeNames[static_cast<std::size_t>(value.element_type)]);
  return std::string(kTypeNames[static_cast<std::size_t>(value.type)]);
}

Error absent(const GgufFile& file, std::string_view key) {
  return Error{Code::kBadValue, fmt::format("{}: metadata key {} is missing", file.path().string(), key)};
}

Error wrong(const GgufFile& file, std::string_view key, const GgufValue& value, std::string_view expected) {
  return Error{Code::kBadValue, fmt::format("{}: metadata key {} is {}, expected {}", file.path().string(), key,
                                            describe(value), expected)};
}

constexpr std::uint64_t kInt64Max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

template <class T>
GgufValue array_of(Type element, std::vector<T> values) {
  return GgufValue{Type::kArray, element, std::move(values)};
}

}  // namespace

GgufValue gguf_string(std::string value) { return {Type::kString, {}, std::move(value)}; }
GgufValue gguf_uint16(std::uint16_t value) { return {Type::kUint16, {}, std::uint64_t{value}}; }
GgufValue gguf_uint32(std::uint32_t value) { return {Type::kUint32, {}, std::uint64_t{value}}; }
GgufValue gguf_int32(std::int32_t value) { return {Type::kInt32, {}, std::int64_t{value}}; }
GgufValue gguf_float32(float value) { return {Type::kFloat32, {}, static_cast<double>(value)}; }
GgufValue gguf_bool(bool value) { return {Type::kBool, {}, value}; }
GgufValue gguf_strings(std::vector<std::string> values) { return array_of(Type::kString, std::move(values)); }
GgufValue gguf_floats(std::vector<float> values) {
  return array_of(Type::kFloat32, std::vector<double>(values.begin(), values.end()));
}
GgufValue gguf_int32s(std::vector<std::int32_t> values) {
  return array_of(Type::kInt32, std::vector<std::int64_t>(values.begin(), values.end()));
}

std::int64_t GgufTensor::count_values() const {
  std::int64_t count = shape.empty() ? 0 : 1;
  for (const std::int64_t n : shape) count *= n;  // checked by the reader
  return count;
}

std::span<const std::byte> GgufFile::rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>&) const {
  const std::int64_t row_bytes = tensor.format->row_bytes(tensor.columns());
  return tensor.bytes.subspan(static_cast<std::size_t>(begin * row_bytes), static_cast<std::size_t>((end - begin) * row_bytes));
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors()[found->second];
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = key_index_.find(key);
  return found == key_index_.end() ? nullptr : &metadata()[found->second].second;
}

Result<std::string> GgufFile::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* text = std::get_if<std::string>(&value->data)) return *text;
  return wrong(*this, key, *value, "a string");
}

Result<std::int64_t> GgufFile::get_int(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* number = std::get_if<std::int64_t>(&value->data)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(&value->data)) {
    if (*number <= kInt64Max) return static_cast<std::int64_t>(*number);
    return Error{Code::kBadValue,
                 fmt::format("{}: metadata key {} is {}, which is too large", path().string(), key, *number)};
  }
  return wrong(*this, key, *value, "an integer");
}

Result<double> GgufFile::get_float(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* number = std::get_if<double>(&value->data)) return *number;
  return wrong(*this, key, *value, "a float");
}

Result<std::vector<std::string>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value->data)) return *list;
  return wrong(*this, key, *value, "an array of strings");
}

Result<std::vector<std::int64_t>> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value->data)) return *list;
  if (const auto* list = std::get_if<std::vector<std::uint64_t>>(&value->data)) {
    std::vector<std::int64_t> numbers;
    numbers.reserve(list->size());
    for (const std::uint64_t number : *list) {
      if (number > kInt64Max)
        return Error{Code::kBadValue,
                     fmt::format("{}: metadata key {} holds {}, which is too large", path().string(), key, number)};
      numbers.push_back(static_cast<std::int64_t>(number));
    }
    return numbers;
  }
  return wrong(*this, key, *value, "an array of integers");
}

Result<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  if (const auto* list = std::get_if<std::vector<double>>(&value->data)) return std::vector<float>(list->begin(), list->end());
  return wrong(*this, key, *value, "an array of floats");
}

Result<std::string> GgufFile::string_or(std::string_view key, std::string fallback) const {
  if (!find(key)) return fallback;
  return get_string(key);
}

Result<std::int64_t> GgufFile::int_or(std::string_view key, std::int64_t fallback) const {
  if (!find(key)) return fallback;
  return get_int(key);
}

Result<double> GgufFile::float_or(std::string_view key, double fallback) const {
  if (!find(key)) return fallback;
  return get_float(key);
}

Result<bool> GgufFile::bool_or(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (!value) return fallback;
  if (const auto* flag = std::get_if<bool>(&value->data)) return *flag;
  return wrong(*this, key, *value, "a bool");
}

}  // namespace quantfleet
