#include "backends/calibration/replaced_tensors.h"

#include "backends/formats/catalog.h"

namespace quantfleet {

ReplacedTensors::ReplacedTensors(std::shared_ptr<const GgufFile> file) : file_(std::move(file)), tensors_(file_->tensors()), values_(tensors_.size()) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) tensor_index_.emplace(tensors_[i].name, i);
  for (std::size_t i = 0; i < metadata().size(); ++i) key_index_.emplace(metadata()[i].first, i);
}

void ReplacedTensors::replace(std::string_view name, std::vector<float> values) {
  const std::size_t i = tensor_index_.at(name);
  values_[i] = std::move(values);
  tensors_[i].format = &kF32;
  tensors_[i].bytes = std::as_bytes(std::span(values_[i]));
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
