// Files that training writes: the checkpoint (our own bytes, see checkpoint.cc) and the finished model as F16 GGUF.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/training/model_shape.h"
#include "contract/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quantfleet::training {

std::string sha256_of(std::span<const std::byte> bytes);  // 64 hexadecimal digits

// `recipe` is compared word for word when the checkpoint is read. The three arrays: weights, first and second moment.
Status write_checkpoint(const std::filesystem::path& path, std::string_view recipe, std::int64_t step,
                        std::array<std::span<const float>, 3> arrays);
// On error neither `step` nor the arrays have changed.
Status read_checkpoint(const std::filesystem::path& path, std::string_view recipe, std::int64_t& step,
                       std::array<std::span<float>, 3> arrays);

Status export_f16(const std::filesystem::path& path, const ModelShape& shape, const WeightPlaces& places,
                  std::span<const float> weights, const std::vector<std::pair<std::string, GgufValue>>& tokenizer,
                  const std::string& name);

}  // namespace quantfleet::training
