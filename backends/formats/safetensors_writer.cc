// The safetensors writer: data first, behind a reserved place; the header last.
#include "backends/formats/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace quantfleet {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::uint64_t kAlignment = 8;

class FileWriter final : public SafetensorsWriter {
 public:
  FileWriter(std::filesystem::path path, std::uint64_t header_bytes)
      : path_(std::move(path)), header_bytes_((header_bytes + kAlignment - 1) / kAlignment * kAlignment) {}
  ~FileWriter() override {
    if (file_ >= 0) ::close(file_);
  }

  Status open() {
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) return failed("creating the file");
    if (::lseek(file_, static_cast<off_t>(8 + header_bytes_), SEEK_SET) < 0) return failed("seeking");
    return {};
  }

  Status begin(std::string name, std::string dtype, std::vector<std::int64_t> shape) override {
    if (Status status = end(); !status) return status;
    std::uint64_t count = 1;
    for (const std::int64_t size : shape)
      if (size < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count) || count > std::uint64_t{1} << 48)
        return Error{Code::kTooLarge, fmt::format("{}: array {} is too large", path_.string(), name)};
    const std::uint64_t bits = count * static_cast<std::uint64_t>(safetensors_bits(dtype));
    if (bits % 8 != 0 || (bits == 0 && count != 0)) return Error{Code::kBadValue, fmt::format("{}: array {} of {} does not fill bytes", path_.string(), name, dtype)};
    arrays_.push_back({std::move(name), std::move(dtype), std::move(shape), bits / 8, 0, ""});
    data_bytes_ += bits / 8;
    left_ = bits / 8;
    late_ = left_ % kAlignment != 0;
    if (!late_) arrays_.back().offset = std::exchange(next_offset_, next_offset_ + left_);
    return {};
  }

  Status write(std::span<const std::byte> bytes) override {
    if (arrays_.empty() || bytes.size() > left_)
      return Error{Code::kBadShape, fmt::format("{}: more bytes than array {} has", path_.string(), arrays_.empty() ? "(none)" : arrays_.back().name)};
    left_ -= bytes.size();
    const auto* data = reinterpret_cast<const char*>(bytes.data());
    if (late_) return arrays_.back().late.append(data, bytes.size()), Status();
    return put(data, bytes.size());
  }

  std::uint64_t data_bytes() const override { return data_bytes_; }

  Status finish(const std::map<std::string, std::string>& metadata) override {
    if (Status status = end(); !status) return status;
    // Wide values first: so they begin at multiples of their own size.
    std::vector<Array*> late;
    for (Array& array : arrays_)
      if (array.size_bytes % kAlignment != 0) late.push_back(&array);
    std::stable_sort(late.begin(), late.end(), [](const Array* a, const Array* b) { return safetensors_bits(a->dtype) > safetensors_bits(b->dtype); });
    for (Array* array : late) {
      array->offset = std::exchange(next_offset_, next_offset_ + array->size_bytes);
      if (Status status = put(array->late.data(), array->late.size()); !status) return status;
    }
    if (Status status = flush(); !status) return status;
    Json header = Json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    for (const Array& array : arrays_)
      header[array.name] = {{"dtype", array.dtype}, {"shape", array.shape}, {"data_offsets", {array.offset, array.offset + array.size_bytes}}};
    std::string text = header.dump();
    if (text.size() > header_bytes_)
      return Error{Code::kTooLarge, fmt::format("{}: the header takes {} bytes, {} were reserved", path_.string(), text.size(), header_bytes_)};
    text.resize(header_bytes_, ' ');
    text.insert(0, reinterpret_cast<const char*>(&header_bytes_), 8);
    if (::lseek(file_, 0, SEEK_SET) < 0) return failed("seeking");
    if (Status status = write_out(text.data(), text.size()); !status) return status;
    if (::fsync(file_) != 0) return failed("syncing");
    if (::close(std::exchange(file_, -1)) != 0) return failed("closing");
    return {};
  }

 private:
  struct Array {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t size_bytes = 0, offset = 0;
    std::string late;  // bytes that wait for finish()
  };

  Error failed(std::string_view doing) const {
    const Code code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG      ? Code::kDiskFull
                      : errno == EACCES || errno == EPERM || errno == EROFS     ? Code::kPermission
                      : errno == ENOENT || errno == ENOTDIR                     ? Code::kNotFound
                                                                                : Code::kIo;
    return {code, fmt::format("{}: {} failed: {}", path_.string(), doing, std::generic_category().message(errno))};
  }

  Status end() const {
    if (left_ == 0) return {};
    return Error{Code::kBadShape, fmt::format("{}: array {} lacks {} bytes", path_.string(), arrays_.back().name, left_)};
  }

  Status put(const char* data, std::size_t size) {
    if (buffer_.size() + size > kBufferBytes)
      if (Status status = flush(); !status) return status;
    if (size > kBufferBytes) return write_out(data, size);
    buffer_.append(data, size);
    return {};
  }

  Status flush() {
    Status status = write_out(buffer_.data(), buffer_.size());
    buffer_.clear();
    return status;
  }

  Status write_out(const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t count = ::write(file_, data, size);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return failed("writing");
      data += count;
      size -= static_cast<std::size_t>(count);
    }
    return {};
  }

  std::filesystem::path path_;
  std::uint64_t header_bytes_, next_offset_ = 0, data_bytes_ = 0, left_ = 0;
  bool late_ = false;
  std::vector<Array> arrays_;
  std::string buffer_;
  int file_ = -1;
};

}  // namespace

std::uint64_t safetensors_header_bytes(std::string_view name) { return 2 * name.size() + 160; }

Result<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::create(const std::filesystem::path& path, std::uint64_t header_bytes) {
  auto writer = std::make_unique<FileWriter>(path, header_bytes);
  if (Status status = writer->open(); !status) return status.error();
  return std::unique_ptr<SafetensorsWriter>(std::move(writer));
}

}  // namespace quantfleet
