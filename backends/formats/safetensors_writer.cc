// The safetensors writer: data first, behind a reserved place; the header last.
#include "backends/formats/output_file.h"
#include "backends/formats/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace quantfleet {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kAlignment = 8;

class FileWriter final : public SafetensorsWriter {
 public:
  FileWriter(std::filesystem::path path, std::uint64_t header_bytes)
      : file_(std::move(path)), header_bytes_((header_bytes + kAlignment - 1) / kAlignment * kAlignment) {}

  Status open() {
    if (Status status = file_.take(::open(file_.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), "creating the file"); !status) return status;
    return seek(8 + header_bytes_);
  }

  Status begin(std::string name, std::string dtype, std::vector<std::int64_t> shape) override {
    if (Status status = end(); !status) return status;
    std::uint64_t count = 1;
    for (const std::int64_t size : shape)
      if (size < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count) || count > std::uint64_t{1} << 48)
        return Error{Code::kTooLarge, fmt::format("{}: array {} is too large", file_.path().string(), name)};
    const std::uint64_t bits = count * static_cast<std::uint64_t>(safetensors_bits(dtype));
    if (bits % 8 != 0 || (bits == 0 && count != 0)) return Error{Code::kBadValue, fmt::format("{}: array {} of {} does not fill bytes", file_.path().string(), name, dtype)};
    arrays_.push_back({std::move(name), std::move(dtype), std::move(shape), bits / 8, 0, ""});
    data_bytes_ += bits / 8;
    left_ = bits / 8;
    late_ = left_ % kAlignment != 0;
    if (!late_) arrays_.back().offset = std::exchange(next_offset_, next_offset_ + left_);
    return {};
  }

  Status write(std::span<const std::byte> bytes) override {
    if (arrays_.empty() || bytes.size() > left_)
      return Error{Code::kBadShape, fmt::format("{}: more bytes than array {} has", file_.path().string(), arrays_.empty() ? "(none)" : arrays_.back().name)};
    left_ -= bytes.size();
    const auto* data = reinterpret_cast<const char*>(bytes.data());
    if (late_) return arrays_.back().late.append(data, bytes.size()), Status();
    return file_.put(data, bytes.size());
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
      if (Status status = file_.put(array->late.data(), array->late.size()); !status) return status;
    }
    Json header = Json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    for (const Array& array : arrays_)
      header[array.name] = {{"dtype", array.dtype}, {"shape", array.shape}, {"data_offsets", {array.offset, array.offset + array.size_bytes}}};
    std::string text = header.dump();
    if (text.size() > header_bytes_)
      return Error{Code::kTooLarge, fmt::format("{}: the header takes {} bytes, {} were reserved", file_.path().string(), text.size(), header_bytes_)};
    text.resize(header_bytes_, ' ');
    text.insert(0, reinterpret_cast<const char*>(&header_bytes_), 8);
    if (Status status = seek(0); !status) return status;
    if (Status status = file_.put(text.data(), text.size()); !status) return status;
    return file_.finish();
  }

 private:
  struct Array {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t size_bytes = 0, offset = 0;
    std::string late;  // bytes that wait for finish()
  };

  Status seek(std::uint64_t place) {
    if (Status status = file_.flush(); !status) return status;
    if (::lseek(file_.descriptor(), static_cast<off_t>(place), SEEK_SET) < 0) return file_.failed("seeking");
    return {};
  }

  Status end() const {
    if (left_ == 0) return {};
    return Error{Code::kBadShape, fmt::format("{}: array {} lacks {} bytes", file_.path().string(), arrays_.back().name, left_)};
  }

  OutputFile file_;
  std::uint64_t header_bytes_, next_offset_ = 0, data_bytes_ = 0, left_ = 0;
  bool late_ = false;
  std::vector<Array> arrays_;
};

}  // namespace

std::uint64_t safetensors_header_bytes(std::string_view name) { return 2 * name.size() + 160; }

Result<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::create(const std::filesystem::path& path, std::uint64_t header_bytes) {
  auto writer = std::make_unique<FileWriter>(path, header_bytes);
  if (Status status = writer->open(); !status) return status.error();
  return std::unique_ptr<SafetensorsWriter>(std::move(writer));
}

}  // namespace quantfleet
