// A model with its residual stream and its value heads turned by Hadamard rotations (QuaRot's and SpinQuant's offline part: Ashkboos et al. 2024, Liu
// et al. 2024): another file of the same architecture with the same answers, whose weights have fewer outliers.
//   x' = x R between the layers:  embedding E R;  what reads x, behind its RMS norm's gain g: W diag(g) R, and g = 1;  what adds to x: R^T W, R^T b.
//   v' = v Q in every value head: rows of W_v (and b_v) Q^T, columns of W_o of each head Q.
// An RMS norm without a gain commutes with R; nothing happens while running. Norms that subtract the mean, and norms behind attention or
// feed-forward, whose gains cannot be folded, are refused; so is what is not known by name. A tied output matrix becomes one of its own.
#pragma once

#include "backends/formats/gguf.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace quantfleet {

struct Rotation {
  std::uint64_t seed = 0;  // of the signs
  std::string text() const { return "hadamard, seed " + std::to_string(seed); }  // as artifacts record it
};

// The rotated model; rows are made when asked for, as F32. Memory: up to four matrices that add to the residual stream.
// Errors: kUnsupported with the architecture, the tensor or the width; those of the model's keys.
Result<std::shared_ptr<const GgufFile>> rotate_model(std::shared_ptr<const GgufFile> model, const Rotation& rotation, int threads);

// open_model_file, then the rotation if there is one.
Result<std::shared_ptr<const GgufFile>> open_model_file(const std::filesystem::path& path, const std::optional<Rotation>& rotation, int threads);

}  // namespace quantfleet
