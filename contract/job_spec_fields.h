// What the two readers of plans share. Private to contract/.
#pragma once

#include "contract/job_spec.h"
#include "contract/json_fields.h"

namespace quantfleet {

void fields(fields_io::FieldReader& io, ModelSpec& model);
void fields(fields_io::FieldReader& io, ChosenItem& item);
void fields(fields_io::FieldReader& io, SuiteSpec& suite);
void fields(fields_io::FieldReader& io, AccuracySpotCheck& check);
void fields(fields_io::FieldReader& io, LimitSpec& limits);
void fields(fields_io::FieldReader& io, UntilVerdict& until);
void fields(fields_io::FieldReader& io, FreshTwins& twins);
void fields(fields_io::FieldReader& io, JobSpec& spec);

// Also part of a quantize lease (message_fields.h).
template <class Io>
void fields(Io& io, FormatRecipe& recipe) {
  io.text("name", recipe.name, 64, 1);
  io.text("format", recipe.format, 64);
  io.number("budget_bpw", recipe.budget_bpw, 0, 32);
  io.text("text", recipe.text, 4096);
  io.text("imatrix", recipe.imatrix, 4096);
  io.hash("text_sha256", recipe.text_sha256, true);
  io.hash("imatrix_sha256", recipe.imatrix_sha256, true);
  io.integer("context", recipe.context, 16, 1u << 20);
  io.integer("chunks", recipe.chunks, 0, 1u << 30);
  io.integer("seed", recipe.seed, 0, std::uint64_t{1} << 62);
  io.integer("group_size", recipe.group_size, 0, 1u << 20);
  io.number("damping", recipe.damping, 0, 1);
  io.flag("mse", recipe.mse);
  io.flag("round_to_nearest", recipe.round_to_nearest);
  io.number("bpw", recipe.bpw, 2, 8);
  io.number("smoothquant", recipe.smoothquant, 0, 1);
  io.flag("rotate", recipe.rotate);
  io.integer("rotate_seed", recipe.rotate_seed, 0, std::uint64_t{1} << 62);
  io.texts("candidates", recipe.candidates, 64, 64);
}

template <class Io>
void fields(Io& io, Aggregation& aggregation) {
  io.text("number", aggregation.number, 64, 1);
  io.text("function", aggregation.function, 64, 1);
}

// Also part of a registration (message_fields.h).
template <class Io>
void fields(Io& io, SuiteInfo& suite) {
  io.text("name", suite.name, fields_io::kWord, 1);
  io.text("version", suite.version, fields_io::kWord);
  io.hash("sha256", suite.sha256);
  io.text("area", suite.area, fields_io::kWord);
  io.text("kind", suite.kind, fields_io::kWord);
  io.integer("items", suite.items, 0, 100'000'000);
  io.number("chance", suite.chance, 0, 1);
  io.text("not_runnable", suite.not_runnable, fields_io::kSentence);
  bool present = !suite.aggregation.empty();
  if constexpr (Io::kReads) present = io.has("aggregation");
  if (present) io.list("aggregation", suite.aggregation, kAggregationsMax);
}

// Also part of a timing lease (message_fields.h).
template <class Io>
void fields(Io& io, TimingSpec& timing) {
  io.flag("enabled", timing.enabled);
  io.integer("prompt_tokens", timing.prompt_tokens, 1, 1'000'000);
  io.integer("generated_tokens", timing.generated_tokens, 1, 1'000'000);
  io.integer("repetitions", timing.repetitions, 1, 10'000);
}

// `field` becomes the path of the field that the error is about ("models[0].name").
Result<JobSpec> job_spec_from_tree(const fields_io::Json& tree, std::string& field);

}  // namespace quantfleet
