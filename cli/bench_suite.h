// quantfleet bench --suite: how fast a model answers a suite, against answering one request at a time.
#pragma once

#include "backends/engines/native.h"

#include <nlohmann/json.hpp>

#include <vector>

namespace quantfleet::cli {

// Synthetic, deterministic work; lengths in tokens of the model's own tokenizer, at least.
struct SuiteBench {
  int items = 128;            // multiple choice, together
  int items_alone = 1;        // of these, with a cold cache: one request at a time, one item at a time
  int header_tokens = 1000;   // five examples, in front of every question
  int question_tokens = 24;
  int choices = 4;
  int choice_tokens = 4;
  int sequences = 16;         // texts that are generated together
  int prompt_tokens = 16;
  int generated_tokens = 64;
  int repetitions = 3;        // counted; every one measures both sides, one behind the other
};

// What a model's passes cost at least: multiply-adds of a token, bytes that a pass reads whatever its tokens.
struct PassCost {
  double layer_macs = 0;   // of all layers' matrices, for each token
  double output_macs = 0;  // of the output layer, for each token whose logits are wanted
  double bytes = 0;
};

int bench_suite(NativeEngine& engine, const SuiteBench& work, const PassCost& cost, bool json);

// {"median", "min", "max", "samples"}
nlohmann::ordered_json spread(const std::vector<double>& samples);

}  // namespace quantfleet::cli
