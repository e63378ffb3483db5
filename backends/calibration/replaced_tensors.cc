#include "backends/calibration/replaced_tensors.h"

#include "backends/formats/catalog.h"

#include <algorithm>

namespace quantfleet {

ReplacedTensors::ReplacedTensors(std::shared_ptr<const GgufFile> file) : file_(std::move(file)), tensors_(file_->tensors()), values_(tensors_.size()) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) tensor_index_.emplace(tensors_[i].name, i);
  for (std::size_t i = 0; i < metadata().size(); ++i) key_index_.emplace(metadata()[i].first, i);
}

void ReplacedTensors::replace(std::string_view name, std::int64_t first_row, std::span<const float> values) {
  const std::size_t i = tensor_index_.at(name);
  const GgufTensor& tensor = file_->tensors()[i];
  if (values_[i].empty()) {
    values_[i].resize(static_cast<std::size_t>(tensor.count_values()));
    if (values.size() != values_[i].size()) {
      std::vector<std::byte> buffer;
      tensor.format->decode(file_->rows(tensor, 0, tensor.rows(), buffer).data(), tensor.count_values() / tensor.format->values_per_block, values_[i].data());
    }
    tensors_[i].format = &kF32;
    tensors_[i].bytes = std::as_bytes(std::span(values_[i]));
  }
  std::copy(values.begin(), values.end(), values_[i].begin() + first_row * tensor.columns());
}

void ReplacedTensors::restore(std::string_view name) {
  const std::size_t i = tensor_index_.at(name);
  values_[i] = {};
  tensors_[i] = file_->tensors()[i];
}

std::span<const std::byte> ReplacedTensors::rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>& buffer) const {
  const std::size_t i = index_of(tensor);
  if (!values_[i].empty()) return GgufFile::rows(tensor, begin, end, buffer);
  return file_->rows(file_->tensors()[i], begin, end, buffer);
}

}  // namespace quantfleet
