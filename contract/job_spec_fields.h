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
