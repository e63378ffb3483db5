#include "contract/response_record.h"

#include "contract/json_fields.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

using fields_io::Json;

constexpr GenerateAnswer::Stop kStops[] = {GenerateAnswer::Stop::kStopString, GenerateAnswer::Stop::kEndOfText, GenerateAnswer::Stop::kTokensMax};

Json record_of(const LoglikelihoodAnswer& answer) {
  Json record{{"loglikelihoods", Json::array()}, {"greedy", Json::array()}, {"token_ids", Json::array()}};
  for (const ContinuationScore& one : answer.continuations) {
    record["loglikelihoods"].push_back(one.loglikelihood);
    record["greedy"].push_back(one.is_greedy);
    record["token_ids"].push_back(one.token_ids);
  }
  return record;
}

Json record_of(const RollingLoglikelihoodAnswer& answer) {
  Json record{{"nll", answer.nll_sum}, {"nll_squared", answer.nll_squared_sum}, {"tokens", answer.count_tokens}};
  if (answer.divergence)
    record["divergence"] = {{"kl", answer.divergence->kl_sum}, {"top1_agreement", answer.divergence->top1_agreement_sum},
                            {"reference_nll", answer.divergence->reference_nll_sum}, {"difference_squared", answer.divergence->nll_difference_squared_sum},
                            {"kl_lower", answer.divergence->kl_lower_sum}, {"kl_variance", answer.divergence->kl_variance_sum},
                            {"delta_p", answer.divergence->delta_p_sum}, {"delta_p_squared", answer.divergence->delta_p_squared_sum}};
  return record;
}

Json record_of(const GenerateAnswer& answer) { return {{"stop", name_of(answer.stop)}, {"token_ids", answer.token_ids}}; }

// Throws nlohmann's exceptions where a field is missing or of another type.
Answer answer_of(const Json& record, const ItemResult& row) {
  if (record.contains("loglikelihoods")) {
    LoglikelihoodAnswer answer;
    for (std::size_t i = 0; i < record["loglikelihoods"].size(); ++i) {
      ContinuationScore one{record["loglikelihoods"].at(i).get<double>(), record.at("greedy").at(i).get<bool>(), 0, record.at("token_ids").at(i).get<std::vector<std::int32_t>>()};
      one.count_tokens = static_cast<int>(one.token_ids.size());
      answer.continuations.push_back(std::move(one));
    }
    return answer;
  }
  if (record.contains("nll")) {
    RollingLoglikelihoodAnswer answer{record["nll"].get<double>(), record.at("nll_squared").get<double>(), record.at("tokens").get<int>(), {}};
    if (const auto divergence = record.find("divergence"); divergence != record.end()) {
      const auto series = row.series.find("kl_divergence");
      const auto number = [&](const char* name) { return divergence->at(name).get<double>(); };
      answer.divergence = Divergence{.kl_sum = number("kl"), .kl_lower_sum = number("kl_lower"), .kl_variance_sum = number("kl_variance"),
                                     .top1_agreement_sum = number("top1_agreement"), .reference_nll_sum = number("reference_nll"),
                                     .nll_difference_squared_sum = number("difference_squared"), .delta_p_sum = number("delta_p"),
                                     .delta_p_squared_sum = number("delta_p_squared"),
                                     .kl_per_token = series == row.series.end() ? std::vector<float>() : series->second};
    }
    return answer;
  }
  GenerateAnswer answer{row.output, record.at("token_ids").get<std::vector<std::int32_t>>(), GenerateAnswer::Stop::kTokensMax};
  const auto stop = record.at("stop").get<std::string>();
  for (const GenerateAnswer::Stop known : kStops)
    if (name_of(known) == stop) answer.stop = known;
  return answer;
}

// Netstrings (Bernstein 1997): no text can pass for two.
void add(std::string& out, std::string_view text) { out += fmt::format("{}:{},", text.size(), text); }

void add(std::string& out, const std::vector<std::string>& texts) {
  out += fmt::format("{};", texts.size());
  for (const std::string& text : texts) add(out, text);
}

}  // namespace

std::string canonical_text(const Request& request) {
  std::string out;
  if (const auto* choice = std::get_if<Loglikelihood>(&request)) {
    out = "loglikelihood ";
    add(out, choice->context);
    add(out, choice->contexts);
    add(out, choice->continuations);
  } else if (const auto* rolling = std::get_if<RollingLoglikelihood>(&request)) {
    out = fmt::format("rolling {} {} ", rolling->context_tokens, static_cast<int>(rolling->windows));
    add(out, rolling->text);
  } else {
    const auto& generate = std::get<Generate>(request);
    out = fmt::format("generate {} {} {} {} ", generate.tokens_max, generate.temperature, generate.top_p, generate.seed);
    add(out, generate.prompt);
    add(out, generate.stop);
  }
  return out;
}

std::string_view name_of(GenerateAnswer::Stop stop) {
  switch (stop) {
    case GenerateAnswer::Stop::kStopString: return "stop_string";
    case GenerateAnswer::Stop::kEndOfText: return "end_of_text";
    case GenerateAnswer::Stop::kTokensMax: return "tokens_max";
  }
  return "";
}

void keep_evidence(const Request& request, const Response& response, ItemResult& row) {
  std::string prompt;
  if (const auto* choice = std::get_if<Loglikelihood>(&request)) prompt = choice->contexts.empty() ? choice->context : choice->contexts.front();
  else if (const auto* generate = std::get_if<Generate>(&request)) prompt = generate->prompt;
  if (prompt.size() <= kKeptPromptBytesMax) {
    row.prompt = std::move(prompt);
    row.prompt_token_ids = response.prompt_token_ids;
  }
  if (const auto* generated = std::get_if<GenerateAnswer>(&response.answer)) row.output = generated->text;
  row.response = std::visit([](const auto& answer) { return record_of(answer).dump(); }, response.answer);
}

Result<Response> kept_response(const ItemResult& row) {
  if (row.response.empty()) return Error{Code::kNotFound, "the row keeps no response"};
  Response response;
  response.prompt_token_ids = row.prompt_token_ids;
  response.prompt_tokens = row.prompt_tokens;
  response.generated_tokens = row.generated_tokens;
  response.first_token_ms = row.first_token_ms;
  response.total_ms = row.total_ms;
  response.logits_digest = row.logits_digest;
  Json record;
  if (const Status parsed = fields_io::parse_json(row.response, fields_io::kOutput, record); !parsed) return at("kept response", parsed.error());
  try {
    response.answer = answer_of(record, row);
  } catch (const Json::exception&) {
    return Error{Code::kBadValue, "the kept response is damaged: a field is missing or has another type"};
  }
  return response;
}

}  // namespace quantfleet
