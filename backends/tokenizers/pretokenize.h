// Cuts a text into the pieces inside which byte-level BPE merges: a list of regular expressions per pre-tokenizer name
// (tokenizer.ggml.pre), each applied to the pieces that the one before it left; what no match covers stays a piece.
#pragma once

#include "contract/error.h"

#include <memory>
#include <string_view>
#include <vector>

namespace quantfleet {

class PreTokenizer {
 public:
  // kUnsupported for a name that is not in the list.
  static Result<std::unique_ptr<PreTokenizer>> create(std::string_view name);
  virtual ~PreTokenizer() = default;

  // Pieces of `text`, which must be UTF-8 (surrogates and code points above U+10FFFF are tolerated), in order and without
  // gaps. Safe from several threads.
  virtual std::vector<std::string_view> split(std::string_view text) const = 0;

  bool ignores_merges = false;  // a piece that is a token as a whole is taken as it is
  bool adds_bos = false;        // where the file does not say
};

}  // namespace quantfleet
