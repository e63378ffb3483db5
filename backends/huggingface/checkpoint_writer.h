// Writes a Hugging Face directory from an opened model (a GGUF file or another directory): config.json, safetensors in one
// file or shards, the tokenizer's files. The inverse of checkpoint.h: names, row orders and norms as transformers has them.
// What stands for a linear layer's weight is the caller's: plain values, or the arrays of a quantized format.
// Everything goes to a temporary folder beside the target; finish() syncs and renames: nothing half-written stays.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/architecture.h"
#include "backends/huggingface/linear_format.h"
#include "backends/huggingface/model_folder.h"

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quantfleet::huggingface {

struct CheckpointOptions {
  Json quantization_config;                              // null: config.json has none
  std::map<std::string, std::string> metadata;           // of every safetensors file, beside "format": "pt"
  std::uint64_t shard_bytes = 5'000'000'000;             // a shard ends with the module that passes it
};

class CheckpointWriter {
 public:
  // `directory` must not exist, or be empty.  Errors: kUsage (it does), kUnsupported (an architecture, a key or a tokenizer
  // that the directory cannot say), those of writing.
  static Result<std::unique_ptr<CheckpointWriter>> create(const std::filesystem::path& directory, std::shared_ptr<const GgufFile> model, CheckpointOptions options);
  ~CheckpointWriter();  // without finish(): the temporary folder is removed
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  const GgufFile& model() const { return *model_; }
  const Shape& shape() const { return shape_; }

  // A tensor is one matrix, or the matrices of all experts of a layer: `expert` says which one.
  static std::int64_t count_matrices(const GgufTensor& tensor) { return tensor.shape.size() > 2 ? tensor.shape[2] : 1; }
  // "blk.3.ffn_up.weight" is "model.layers.3.mlp.up_proj".  Errors: kUnsupported for a tensor without a name there.
  Result<std::string> module_name(const GgufTensor& tensor, std::int64_t expert = 0) const;
  // Matrices inside the layers: what quantizers quantize. The embedding, the output matrix and a mixture's router are not.
  static bool is_linear(const GgufTensor& tensor);

  // Numbers that config.json says: they are no arrays there.
  static bool is_of_config(const GgufTensor& tensor);

  // values [N, K]: the matrix as F32, its rows in the checkpoint's order.  Errors: kNonFinite with row and column.
  Status read_matrix(const GgufTensor& tensor, std::vector<float>& values, std::int64_t expert = 0) const;

  // Row `row` of the model's matrix (or value of its bias) is row [row] of this in the checkpoint. Experts: of one of them.
  Result<std::vector<std::int64_t>> stored_rows(const GgufTensor& tensor) const;

  // One tensor: weights of linear layers (of experts, one by one) as arrays in the checkpoint's row order, everything else as it is in the
  // model, or with other values in the model's order (norms that AWQ scaled). Every tensor of the model but is_of_config once, in any order.
  Status write_linear(const GgufTensor& tensor, std::span<const StoredArray> arrays, std::int64_t expert = 0);
  Status write_plain(const GgufTensor& tensor);
  Status write_values(const GgufTensor& tensor, std::span<const float> values);
  // Arrays that the model lacks, beside a module's weight (a bias that a method adds, an activation scale).
  Status write_extra(const std::string& name, const StoredArray& array);

  Status finish();
  std::uint64_t data_bytes() const { return data_bytes_; }  // of all arrays

 private:
  struct Place {
    const Module* module = nullptr;
    std::string name;      // with the numbers of layer and expert, without ".weight" or ".bias"
    std::string suffix;    // "weight" or "bias"
  };
  CheckpointWriter(std::filesystem::path directory, std::shared_ptr<const GgufFile> model, CheckpointOptions options)
      : directory_(directory.has_filename() ? directory : directory.parent_path()), model_(std::move(model)), options_(std::move(options)) {}

  Status prepare();
  Status write_tokenizer();
  Result<Place> place_of(const GgufTensor& tensor, std::int64_t expert = 0) const;
  Status write_array(const std::string& name, const StoredArray& array);
  Status write_rows(const GgufTensor& tensor, std::int64_t expert);
  Status open_shard();
  Status close_shard();
  Status write_text(const std::string& name, const std::string& text) const;
  Status write_bytes(const std::string& name, std::string_view bytes) const;

  std::filesystem::path directory_, temporary_;
  std::shared_ptr<const GgufFile> model_;
  std::shared_ptr<const ModelFolder> source_;  // of a model that is a folder
  CheckpointOptions options_;
  const HfArchitecture* architecture_ = nullptr;
  Shape shape_;
  Json config_;
  std::unique_ptr<SafetensorsWriter> shard_;
  int shards_ = 0;
  std::uint64_t header_bytes_ = 0, data_bytes_ = 0;
  std::map<std::string, int> shard_of_;    // array to shard, 1-based
  std::map<std::string, std::int64_t> written_;  // matrices (or vectors) of each tensor of the model
};

}  // namespace quantfleet::huggingface
