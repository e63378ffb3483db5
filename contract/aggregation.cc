#include "contract/aggregation.h"

#include "contract/job_spec_fields.h"

#include <algorithm>

namespace quantfleet {
namespace {

struct Formula {
  std::string_view number, function;
};
constexpr Formula kFormulas[] = {
    {"accuracy", "mean"},  // verdicts and intervals are about means
    {"perplexity", "perplexity"},
    {"word_perplexity", "weighted_perplexity"},
    {"byte_perplexity", "weighted_perplexity"},
    {"token_perplexity", "weighted_perplexity"},
    {"bits_per_byte", "bits_per_byte"},
    {"instruction_level_strict", "ratio"},
    {"instruction_level_loose", "ratio"},
    {"accuracy_ambiguous", "ratio"},
    {"accuracy_disambiguated", "ratio"},
    {"bias_ambiguous", "bias"},
    {"bias_disambiguated", "bias"},
};

struct AggregationList {
  std::vector<Aggregation> aggregations;
};

template <class Io>
void fields(Io& io, AggregationList& list) {
  io.list("aggregation", list.aggregations, kAggregationsMax);
}

}  // namespace

std::vector<std::string_view> functions_of(std::string_view number) {
  for (const Formula& formula : kFormulas)
    if (formula.number == number) return {formula.function};
  if (samples_of_pass_at(number) > 0) return {"mean"};
  return {"mean", "median"};
}

int samples_of_pass_at(std::string_view number) {
  constexpr std::string_view kBegin = "pass@";
  if (!number.starts_with(kBegin)) return 0;
  const std::string_view digits = number.substr(kBegin.size());
  if (digits.empty() || digits.size() > 4 || digits[0] == '0' || digits.find_first_not_of("0123456789") != std::string_view::npos) return 0;
  const int k = std::stoi(std::string(digits));
  return k <= 1000 ? k : 0;
}

std::string encode(const std::vector<Aggregation>& aggregations) {
  return fields_io::dump(fields_io::to_json(AggregationList{aggregations})["aggregation"]);
}

Result<std::vector<Aggregation>> decode_aggregations(std::string_view json) {
  fields_io::Json list;
  if (const Status status = fields_io::parse_json(json, 1u << 16, list); !status) return status.error();
  auto read = fields_io::from_json<AggregationList>(fields_io::Json{{"aggregation", std::move(list)}});
  if (!read) return read.error();
  return std::move(read->aggregations);
}

}  // namespace quantfleet
