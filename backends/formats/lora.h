// LoRA adapters (Hu et al. 2021): what the matrices of a base model gain, y = W x + s B (A x). From a GGUF adapter file here, from
// a PEFT folder in backends/huggingface/peft_adapter.h. What an adapter says is checked against itself here, and against the
// base model where the model is loaded (backends/models/weights.h).
// Spec: docs/formats/lora.md.  Fuzz: tests/fuzz/fuzz_lora.cc
#pragma once

#include "backends/formats/gguf.h"
#include "contract/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// Of one matrix W [N, K]. The embedding, whose rows are looked up, has its A by rows: A [V, r], B [C, r], and what token t gains is
// s B A[t].
struct LowRankUpdate {
  std::string tensor;               // of the base, as GGUF names it: "blk.0.attn_q.weight"
  std::int64_t expert = -1;         // of a tensor that holds all experts of a layer
  std::int64_t rank = 0;            // r
  std::int64_t rows = 0, columns = 0;  // N, K: what W must have
  std::vector<float> a, b;          // [r, K], [N, r]
  float scale = 1;                  // s
};

inline constexpr std::string_view kAdaptedEmbedding = "token_embd.weight";

struct LoraAdapter {
  std::string place;                // the file or folder, for errors
  std::string architecture;         // of the base, as GGUF names it
  std::vector<LowRankUpdate> updates;

  std::uint64_t size_bytes() const;
};

inline constexpr std::int64_t kLoraMaxRank = 4096;

// An error where the file holds an adapter in place of a model.
Status check_is_model(const GgufFile& file);

// Errors name the file, the key or tensor and what was expected: kBadMagic (not an adapter), kUnsupported (another kind of adapter,
// a tensor that belongs to no matrix), kBadShape (the ranks of A and B differ), kNotFound (one without the other), kNonFinite.
Result<LoraAdapter> read_lora_adapter(const GgufFile& file);

}  // namespace quantfleet
