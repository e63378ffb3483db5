// Makers of metadata values, and what all readers of GgufFile share.
#include "backends/formats/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
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
GgufValue array_of(Type element, const std::vector<T>& values) {
  return {Type::kArray, element, GgufArray(values.size(), std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)))};
}

// Elements of an array one after the other. The reader has checked them; a file that somebody changes while it is mapped
// ends in zeros and short texts, not outside the mapping.
class Elements {
 public:
  explicit Elements(const GgufArray& array) : bytes_(array.bytes()) {}

  template <class T>
  T number() {
    T value{};
    if (bytes_.size() < sizeof value) return value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  std::string_view text() {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(number<std::uint64_t>(), bytes_.size()));
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }
  std::int64_t signed_number(Type type) {
    switch (type) {
      case Type::kInt8: return number<std::int8_t>();
      case Type::kInt16: return number<std::int16_t>();
      case Type::kInt32: return number<std::int32_t>();
      default: return number<std::int64_t>();
    }
  }
  std::uint64_t unsigned_number(Type type) {
    switch (type) {
      case Type::kUint8: return number<std::uint8_t>();
      case Type::kUint16: return number<std::uint16_t>();
      case Type::kUint32: return number<std::uint32_t>();
      default: return number<std::uint64_t>();
    }
  }
  double float_number(Type type) { return type == Type::kFloat32 ? static_cast<double>(number<float>()) : number<double>(); }

 private:
  std::span<const std::byte> bytes_;
};

bool is_signed(Type type) { return type == Type::kInt8 || type == Type::kInt16 || type == Type::kInt32 || type == Type::kInt64; }
bool is_float(Type type) { return type == Type::kFloat32 || type == Type::kFloat64; }
bool is_unsigned(Type type) { return type == Type::kUint8 || type == Type::kUint16 || type == Type::kUint32 || type == Type::kUint64; }

}  // namespace

bool GgufArray::operator==(const GgufArray& other) const {
  return count_ == other.count_ && std::equal(bytes_.begin(), bytes_.end(), other.bytes_.begin(), other.bytes_.end());
}

std::vector<GgufValue::Scalar> GgufValue::first_elements(std::size_t count) const {
  std::vector<Scalar> first;
  const auto* array = std::get_if<GgufArray>(&data);
  if (!array) return first;
  Elements elements(*array);
  for (std::size_t i = 0; i < std::min<std::uint64_t>(count, array->size()); ++i) {
    if (is_signed(element_type)) first.emplace_back(elements.signed_number(element_type));
    else if (is_float(element_type)) first.emplace_back(elements.float_number(element_type));
    else if (element_type == Type::kString) first.emplace_back(std::string(elements.text()));
    else if (element_type == Type::kBool) first.emplace_back(elements.number<std::uint8_t>() != 0);
    else first.emplace_back(elements.unsigned_number(element_type));
  }
  return first;
}

GgufValue gguf_string(std::string value) { return {Type::kString, {}, std::move(value)}; }
GgufValue gguf_uint16(std::uint16_t value) { return {Type::kUint16, {}, std::uint64_t{value}}; }
GgufValue gguf_uint32(std::uint32_t value) { return {Type::kUint32, {}, std::uint64_t{value}}; }
GgufValue gguf_int32(std::int32_t value) { return {Type::kInt32, {}, std::int64_t{value}}; }
GgufValue gguf_float32(float value) { return {Type::kFloat32, {}, static_cast<double>(value)}; }
GgufValue gguf_bool(bool value) { return {Type::kBool, {}, value}; }
GgufValue gguf_strings(const std::vector<std::string>& values) {
  std::string bytes;
  for (const std::string& value : values) {
    const auto size = static_cast<std::uint64_t>(value.size());
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += value;
  }
  return {Type::kArray, Type::kString, GgufArray(values.size(), std::move(bytes))};
}
GgufValue gguf_floats(const std::vector<float>& values) { return array_of(Type::kFloat32, values); }
GgufValue gguf_int32s(const std::vector<std::int32_t>& values) { return array_of(Type::kInt32, values); }
GgufValue gguf_uint8s(std::string bytes) {
  const std::size_t count = bytes.size();
  return {Type::kArray, Type::kUint8, GgufArray(count, std::move(bytes))};
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

Result<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  const auto* array = std::get_if<GgufArray>(&value->data);
  if (!array || value->element_type != Type::kString) return wrong(*this, key, *value, "an array of strings");
  std::vector<std::string_view> texts(array->size());
  Elements elements(*array);
  for (std::string_view& text : texts) text = elements.text();
  return texts;
}

Result<std::vector<std::int64_t>> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  const auto* array = std::get_if<GgufArray>(&value->data);
  const Type type = value->element_type;
  if (!array || !(is_signed(type) || is_unsigned(type))) return wrong(*this, key, *value, "an array of integers");
  std::vector<std::int64_t> numbers(array->size());
  Elements elements(*array);
  for (std::int64_t& number : numbers) {
    if (is_signed(type)) {
      number = elements.signed_number(type);
      continue;
    }
    const std::uint64_t given = elements.unsigned_number(type);
    if (given > kInt64Max)
      return Error{Code::kBadValue, fmt::format("{}: metadata key {} holds {}, which is too large", path().string(), key, given)};
    number = static_cast<std::int64_t>(given);
  }
  return numbers;
}

Result<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return absent(*this, key);
  const auto* array = std::get_if<GgufArray>(&value->data);
  if (!array || !is_float(value->element_type)) return wrong(*this, key, *value, "an array of floats");
  std::vector<float> numbers(array->size());
  Elements elements(*array);
  for (float& number : numbers) number = static_cast<float>(elements.float_number(value->element_type));
  return numbers;
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
