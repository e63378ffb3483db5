// The GGUF writer: space reserved first, then header and tensors from front to back. A full disk is found before hours of
// work where the file system can reserve, and nothing half-written carries the target's name (output_file.h).
#include "backends/formats/gguf.h"
#include "backends/formats/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

namespace quantfleet {

namespace {

using Type = GgufValue::Type;

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  out.append(text);
}

// The number in the width of `type`. false: `type` is not of the right kind or the value does not fit.
bool append_integer(std::string& out, Type type, std::int64_t value) {
  switch (type) {
    case Type::kInt8: append(out, static_cast<std::int8_t>(value)); return static_cast<std::int8_t>(value) == value;
    case Type::kInt16: append(out, static_cast<std::int16_t>(value)); return static_cast<std::int16_t>(value) == value;
    case Type::kInt32: append(out, static_cast<std::int32_t>(value)); return static_cast<std::int32_t>(value) == value;
    case Type::kInt64: append(out, value); return true;
    default: return false;
  }
}

bool append_integer(std::string& out, Type type, std::uint64_t value) {
  switch (type) {
    case Type::kUint8: append(out, static_cast<std::uint8_t>(value)); return static_cast<std::uint8_t>(value) == value;
    case Type::kUint16: append(out, static_cast<std::uint16_t>(value)); return static_cast<std::uint16_t>(value) == value;
    case Type::kUint32: append(out, static_cast<std::uint32_t>(value)); return static_cast<std::uint32_t>(value) == value;
    case Type::kUint64: append(out, value); return true;
    default: return false;
  }
}

bool append_float(std::string& out, Type type, double value) {
  if (type == Type::kFloat32) append(out, static_cast<float>(value));
  else if (type == Type::kFloat64) append(out, value);
  else return false;
  return true;
}

bool append_one(std::string& out, Type type, std::int64_t value) { return append_integer(out, type, value); }
bool append_one(std::string& out, Type type, std::uint64_t value) { return append_integer(out, type, value); }
bool append_one(std::string& out, Type type, double value) { return append_float(out, type, value); }
bool append_one(std::string& out, Type type, bool value) {
  append(out, static_cast<std::uint8_t>(value));
  return type == Type::kBool;
}
bool append_one(std::string& out, Type type, const std::string& value) {
  append_text(out, value);
  return type == Type::kString;
}
bool append_one(std::string& out, Type type, const GgufArray& array) {
  out.append(reinterpret_cast<const char*>(array.bytes().data()), array.bytes().size());
  return type == Type::kArray;
}

Status append_value(std::string& out, const std::string& key, const GgufValue& value) {
  append_text(out, key);
  append(out, static_cast<std::uint32_t>(value.type));
  if (const auto* array = std::get_if<GgufArray>(&value.data)) {
    append(out, static_cast<std::uint32_t>(value.element_type));
    append(out, array->size());
  }
  const bool fits = std::visit([&](const auto& data) { return append_one(out, value.type, data); }, value.data);
  if (!fits) return Error{Code::kBadValue, fmt::format("metadata key {} holds a value that does not fit its type", key)};
  return {};
}

struct Layout {
  std::string header;                        // everything before the data section, padding included
  std::vector<std::uint64_t> size_bytes;     // of each tensor, without padding
  std::uint64_t alignment = 32, total_bytes = 0;
};

std::uint64_t padded(std::uint64_t size, std::uint64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

Result<std::uint64_t> bytes_of(const GgufWriter::TensorPlan& tensor) {
  if (!tensor.format || tensor.shape.empty() || tensor.shape.size() > 4)
    return Error{Code::kBadShape, fmt::format("tensor {} needs a format and 1 to 4 dimensions", tensor.name)};
  std::uint64_t rows = 1;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] <= 0) return Error{Code::kBadShape, fmt::format("tensor {} has a dimension of {}", tensor.name, tensor.shape[i])};
    if (i > 0 && __builtin_mul_overflow(rows, static_cast<std::uint64_t>(tensor.shape[i]), &rows))
      return Error{Code::kTooLarge, fmt::format("tensor {} is too large", tensor.name)};
  }
  if (tensor.format->ggml_type >= 0x80000000u)
    return Error{Code::kUnsupported, fmt::format("tensor {} is of {}, which GGUF has no number for; choose another format for it", tensor.name, tensor.format->name)};
  const int per_block = tensor.format->values_per_block;
  if (tensor.shape[0] % per_block != 0)
    return Error{Code::kBadShape, fmt::format("tensor {} has rows of {} values, which is not a multiple of the {} values of a {} block",
                                              tensor.name, tensor.shape[0], per_block, tensor.format->name)};
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(tensor.shape[0] / per_block),
                             static_cast<std::uint64_t>(tensor.format->bytes_per_block), &size) ||
      __builtin_mul_overflow(size, rows, &size) || size > std::uint64_t{1} << 60)
    return Error{Code::kTooLarge, fmt::format("tensor {} is too large", tensor.name)};
  return size;
}

Result<Layout> lay_out(const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       const std::vector<GgufWriter::TensorPlan>& tensors) {
  Layout layout;
  layout.header = "GGUF";
  append(layout.header, std::uint32_t{3});
  append(layout.header, static_cast<std::uint64_t>(tensors.size()));
  append(layout.header, static_cast<std::uint64_t>(metadata.size()));
  std::set<std::string_view> seen;
  for (const auto& [key, value] : metadata) {
    if (key.empty() || key.size() > kGgufMaxKeyBytes || !seen.insert(key).second)
      return Error{Code::kBadValue, fmt::format("metadata key {} is empty, too long or appears twice", key)};
    if (Status status = append_value(layout.header, key, value); !status) return status.error();
    if (key != "general.alignment") continue;
    const auto* number = std::get_if<std::uint64_t>(&value.data);
    if (value.type != Type::kUint32 || !number || !std::has_single_bit(*number) || *number > kGgufMaxAlignment)
      return Error{Code::kBadValue, "metadata key general.alignment must be a uint32 and a power of two"};
    layout.alignment = *number;
  }
  seen.clear();
  std::uint64_t offset = 0;
  for (const GgufWriter::TensorPlan& tensor : tensors) {
    if (tensor.name.empty() || tensor.name.size() > kGgufMaxTensorNameBytes || !seen.insert(tensor.name).second)
      return Error{Code::kBadValue, fmt::format("tensor name {} is empty, too long or appears twice", tensor.name)};
    auto size = bytes_of(tensor);
    if (!size) return size.error();
    append_text(layout.header, tensor.name);
    append(layout.header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (const std::int64_t n : tensor.shape) append(layout.header, static_cast<std::uint64_t>(n));
    append(layout.header, tensor.format->ggml_type);
    append(layout.header, offset);
    layout.size_bytes.push_back(*size);
    if (__builtin_add_overflow(offset, padded(*size, layout.alignment), &offset) || offset > std::uint64_t{1} << 62)
      return Error{Code::kTooLarge, fmt::format("the tensors up to {} are too large together", tensor.name)};
  }
  layout.header.resize(padded(layout.header.size(), layout.alignment), '\0');
  layout.total_bytes = layout.header.size() + offset;
  return layout;
}

class FileWriter final : public GgufWriter {
 public:
  FileWriter(std::filesystem::path path, Layout layout, std::vector<std::string> names)
      : file_(std::move(path)), layout_(std::move(layout)), names_(std::move(names)) {}

  Status begin() {
    if (Status status = file_.open(); !status) return status;
    // Where the file system cannot reserve space, a full disk shows itself while writing.
    if (::fallocate(file_.descriptor(), 0, 0, static_cast<off_t>(layout_.total_bytes)) != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
      return file_.failed(fmt::format("reserving {} bytes", layout_.total_bytes));
    return file_.put(layout_.header.data(), layout_.header.size());
  }

  Status write(std::span<const std::byte> bytes) override {
    if (bytes.empty()) return {};
    if (tensor_ >= layout_.size_bytes.size() || bytes.size() > layout_.size_bytes[tensor_] - written_)
      return Error{Code::kBadShape, fmt::format("{}: {} bytes are more than tensor {} has left", file_.path().string(), bytes.size(),
                                                tensor_ < names_.size() ? names_[tensor_] : "(none)")};
    if (Status status = file_.put(bytes.data(), bytes.size()); !status) return status;
    written_ += bytes.size();
    if (written_ < layout_.size_bytes[tensor_]) return {};
    const std::string zeros(padded(written_, layout_.alignment) - written_, '\0');
    ++tensor_;
    written_ = 0;
    return file_.put(zeros.data(), zeros.size());
  }

  Status finish() override {
    if (tensor_ != layout_.size_bytes.size())
      return Error{Code::kBadShape, fmt::format("{}: tensor {} was not written completely", file_.path().string(), names_[tensor_])};
    return file_.finish();
  }

  std::uint64_t size_bytes() const override { return layout_.total_bytes; }

 private:
  OutputFile file_;
  Layout layout_;
  std::vector<std::string> names_;
  std::size_t tensor_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace

Result<std::unique_ptr<GgufWriter>> GgufWriter::create(const std::filesystem::path& path,
                                                       const std::vector<std::pair<std::string, GgufValue>>& metadata,
                                                       const std::vector<TensorPlan>& tensors) {
  auto layout = lay_out(metadata, tensors);
  if (!layout) return at(path.string(), layout.error());
  std::vector<std::string> names;
  for (const TensorPlan& tensor : tensors) names.push_back(tensor.name);
  auto writer = std::make_unique<FileWriter>(path, std::move(*layout), std::move(names));
  if (Status status = writer->begin(); !status) return status.error();
  return std::unique_ptr<GgufWriter>(std::move(writer));
}

}  // namespace quantfleet
