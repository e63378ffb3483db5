// A model file in which some tensors have other values: what the layers that follow see of a quantized one.
#pragma once

#include "backends/formats/gguf.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {

class ReplacedTensors final : public GgufFile {
 public:
  explicit ReplacedTensors(std::shared_ptr<const GgufFile> file);

  // From now on tensor `name` is F32 and these rows, from `first_row` on in the file's order, hold these values; the other rows what they held.
  void replace(std::string_view name, std::int64_t first_row, std::span<const float> values);
  void restore(std::string_view name);  // gives the memory back

  const std::filesystem::path& path() const override { return file_->path(); }
  const std::vector<std::filesystem::path>& parts() const override { return file_->parts(); }
  std::uint64_t size_bytes() const override { return file_->size_bytes(); }
  std::uint32_t version() const override { return file_->version(); }
  std::uint64_t alignment() const override { return file_->alignment(); }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return file_->metadata(); }
  const std::vector<GgufTensor>& tensors() const override { return tensors_; }
  void forget(std::span<const std::byte>) const override {}
  std::span<const std::byte> rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>& buffer) const override;

 private:
  std::size_t index_of(const GgufTensor& tensor) const { return static_cast<std::size_t>(&tensor - tensors_.data()); }

  std::shared_ptr<const GgufFile> file_;
  std::vector<GgufTensor> tensors_;               // in the order of file_'s
  std::vector<std::vector<float>> values_;        // of the replaced ones
};

}  // namespace quantfleet
