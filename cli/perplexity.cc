// quantfleet perplexity: how well a model predicts a text, by llama-perplexity's convention, and how far its distribution is
// from a reference model's on the same tokens.
#include "backends/engines/reference_logits.h"
#include "backends/formats/output_file.h"
#include "backends/huggingface/checkpoint.h"
#include "cli/commands.h"
#include "cli/model_options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace quantfleet::cli {
namespace {

// A file in a temporary folder of our own that goes away.
struct TemporaryFile {
  std::filesystem::path path;
  TemporaryFile() {
    std::string folder = (std::filesystem::temp_directory_path() / "quantfleet-perplexity-XXXXXX").string();
    if (!::mkdtemp(folder.data())) throw BadResult({Code::kPermission, fmt::format("{}: cannot be made", folder)});
    path = std::filesystem::path(folder) / "reference.logits";
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove_all(path.parent_path(), ignored);
  }
};

Response roll(NativeEngine& engine, const RollingLoglikelihood& request, const std::string& what) {
  ShareProgress progress(what);
  engine.on_progress([&](double share) { progress.show(share); });
  const Request requests[] = {request};
  Result<Response> answer = Error{Code::kCancelled, "no answer"};
  engine.answer(requests, [&](std::size_t, Result<Response> response) {
    answer = std::move(response);
    return true;
  });
  engine.on_progress({});
  if (!answer) throw BadResult(answer.error());
  return std::move(*answer);
}

std::vector<std::int32_t> tokens_of(const std::string& text, const std::filesystem::path& model) {
  const auto file = open_model_file(model);
  if (!file) throw BadResult(file.error());
  const auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) throw BadResult(at(model.string(), tokenizer.error()));
  return (*tokenizer)->encode(text, true, false);
}

// Distributions are compared token by token. Throws BadResult.
void check_same_tokens(const std::string& text, const std::filesystem::path& model, const std::filesystem::path& reference) {
  const auto ids = tokens_of(text, model), others = tokens_of(text, reference);
  if (ids == others) return;
  throw BadResult({Code::kBadValue, fmt::format("--reference {}: its tokenizer differs from that of {}, and a comparison needs the same tokens: this text has {} there and {} here, "
                                                "alike up to number {}", reference.string(), model.string(), others.size(), ids.size(),
                                                std::mismatch(ids.begin(), ids.end(), others.begin(), others.end()).first - ids.begin())});
}

// Standard error of the mean of n values from their sum and sum of squares.
double mean_error(double sum, double squared_sum, double n) {
  if (n < 2) return 0;
  const double mean = sum / n;
  return std::sqrt(std::max(0.0, squared_sum / n - mean * mean) / (n - 1));
}

// The value at share p of sorted values, linear between neighbours.
double quantile(const std::vector<float>& sorted, double p) {
  const double at = std::clamp(p, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

std::function<int()> add_perplexity(CLI::App& app) {
  struct Options {
    ModelOptions model;
    std::filesystem::path text, reference, write_reference;
    std::vector<std::string> reference_lora;
    int context = 512;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("--text", options->text, "text file, taken as it is")->required();
  CLI::Option* context = app.add_option("--context", options->context, "tokens of a window; the second half of each is scored [512, or the model's context where that is less]")
                             ->check(CLI::Range(4, 1 << 20));
  CLI::Option* compared = app.add_option("--reference", options->reference,
                                          "model, or file of --write-reference, to compare with: KL divergence, agreement on the most likely token, "
                                          "probability of the right token, ratio. It runs with an F32 KV cache: --kv is MODEL's alone");
  app.add_option("--reference-lora", options->reference_lora, "LoRA adapter of the model of --reference, as --lora; without it that model runs as it is")
      ->take_all()->allow_extra_args(false)->needs(compared);
  app.add_option("--write-reference", options->write_reference,
                 "keep this model's distributions in FILE, 96 bytes a scored token, for --reference of other runs over the same text")->excludes(compared);
  app.add_flag("--json", options->json, "one JSON document on stdout");
  return [options, context] {
    const std::string text = read_text_file(options->text);
    RollingLoglikelihood request{text, options->context};
    const bool given = context->count() > 0;
    const bool stored = is_reference_logits(options->reference);
    if (stored && !options->reference_lora.empty())
      throw BadResult({Code::kUsage, fmt::format("--reference-lora: {} holds distributions; an adapter can only be put on a model", options->reference.string())});
    if (stored) {
      const auto facts = read_reference_facts(options->reference);
      if (!facts) throw BadResult(facts.error());
      if (facts->context_tokens == 0)
        throw BadResult({Code::kTruncated, fmt::format("{}: holds no text's distributions", options->reference.string())});
      if (given && facts->context_tokens != request.context_tokens)
        throw BadResult({Code::kUsage, fmt::format("--context {}: {} was written with windows of {} tokens", request.context_tokens,
                                                   options->reference.string(), facts->context_tokens)});
      request.context_tokens = facts->context_tokens;
    } else {
      fit_window(request.context_tokens, given, options->model.model);
      if (!options->reference.empty()) {
        fit_window(request.context_tokens, given, options->reference);
        check_same_tokens(text, options->model.model, options->reference);
      }
    }
    EngineOptions engine_of = engine_options(options->model);
    engine_of.context_tokens = request.context_tokens;

    std::optional<TemporaryFile> temporary;
    std::optional<OutputFile> kept;
    if (stored) {
      engine_of.reference_logits_in = options->reference;
    } else if (!options->write_reference.empty()) {
      kept.emplace(options->write_reference);
      if (const Status status = kept->open(); !status) throw BadResult(status.error());
      engine_of.reference_logits_out = kept->place();
    } else if (!options->reference.empty()) {
      temporary.emplace();
      engine_of.whole_reference_rows = true;
      EngineOptions reference = engine_of;
      reference.model = options->reference;
      reference.kv = "f32";  // what a rounded cache costs shows against one that is not
      reference.adapters.clear();
      for (const std::string& lora : options->reference_lora) reference.adapters.push_back(adapter_of(lora));
      reference.reference_logits_out = temporary->path;
      roll(*open_model(reference), request, "reference");
      engine_of.reference_logits_in = temporary->path;
    }
    Response response;
    EngineInfo info;
    try {
      const auto engine = open_model(engine_of);
      info = engine->info();
      response = roll(*engine, request, "perplexity");
    } catch (const BadResult& bad) {
      const std::string place = engine_of.reference_logits_out.string();
      if (!kept || !bad.error.detail.starts_with(place)) throw;
      throw BadResult({bad.error.code, options->write_reference.string() + bad.error.detail.substr(place.size())});  // the name that was given
    }
    if (kept)
      if (const Status status = kept->finish(); !status) throw BadResult(status.error());
    const auto& answer = std::get<RollingLoglikelihoodAnswer>(response.answer);
    const double n = answer.count_tokens;
    const double perplexity = std::exp(answer.nll_sum / n);
    const double perplexity_error = perplexity * mean_error(answer.nll_sum, answer.nll_squared_sum, n);
    nlohmann::ordered_json document = {
        {"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format}, {"kernels", info.kernels},
        {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads}, {"context", request.context_tokens},
        {"tokens", answer.count_tokens}, {"perplexity", perplexity}, {"perplexity_standard_error", perplexity_error},
        {"logits_digest", response.logits_digest}, {"seconds", response.total_ms / 1e3}};
    std::string table = fmt::format("perplexity            {:.4f} +/- {:.4f}   ({} tokens scored, windows of {})\n", perplexity,
                                    perplexity_error, answer.count_tokens, request.context_tokens);
    if (answer.divergence) {
      const Divergence& d = *answer.divergence;
      std::vector<float> sorted = d.kl_per_token;
      std::sort(sorted.begin(), sorted.end());
      double kl_squared = 0;
      for (const float kl : sorted) kl_squared += double(kl) * kl;
      const double mean_kl = d.kl_sum / n, mean_kl_error = mean_error(d.kl_sum, kl_squared, n);
      const double p99 = quantile(sorted, 0.99);
      // The rank of a quantile is binomial: half the distance between the values one standard error of rank away.
      const double rank_error = std::sqrt(0.99 * 0.01 / n);
      const double p99_error = (quantile(sorted, 0.99 + rank_error) - quantile(sorted, 0.99 - rank_error)) / 2;
      const double agreement = d.top1_agreement_sum / n, agreement_error = n > 1 ? std::sqrt(agreement * (1 - agreement) / (n - 1)) : 0;
      const double delta = d.delta_p_sum / n, delta_error = mean_error(d.delta_p_sum, d.delta_p_squared_sum, n);
      const double estimate_error = estimation_error(d.kl_variance_sum, n);
      const double difference = answer.nll_sum - d.reference_nll_sum;
      const double ratio = std::exp(difference / n), ratio_error = ratio * mean_error(difference, d.nll_difference_squared_sum, n);
      document.update(nlohmann::ordered_json{
          {"reference_perplexity", std::exp(d.reference_nll_sum / n)}, {"mean_kl_divergence", mean_kl},
          {"mean_kl_divergence_standard_error", mean_kl_error}, {"mean_kl_divergence_lower_bound", d.kl_lower_sum / n},
          {"mean_kl_divergence_estimation_error", estimate_error}, {"mean_delta_p", delta}, {"mean_delta_p_standard_error", delta_error},
          {"rms_delta_p", std::sqrt(d.delta_p_squared_sum / n)}, {"kl_divergence_p99", p99}, {"kl_divergence_p99_standard_error", p99_error},
          {"top1_agreement", agreement}, {"top1_agreement_standard_error", agreement_error}, {"perplexity_ratio", ratio},
          {"perplexity_ratio_standard_error", ratio_error}});
      const std::string from_brief = d.kl_variance_sum > 0 ? fmt::format("   (from rows in brief: +/- {:.6f} of it, not below {:.6f})", estimate_error,
                                                                         d.kl_lower_sum / n) : std::string();
      table += fmt::format("reference perplexity  {:.4f}\nperplexity ratio      {:.5f} +/- {:.5f}\nmean KL divergence    {:.6f} +/- {:.6f} nats{}\n"
                           "99 % KL divergence    {:.6f} +/- {:.6f} nats\ntop-1 agreement       {:.2f} +/- {:.2f} %\n"
                           "mean delta p          {:+.3f} +/- {:.3f} %   (root mean square {:.3f} %)\n",
                           std::exp(d.reference_nll_sum / n), ratio, ratio_error, mean_kl, mean_kl_error, from_brief, p99, p99_error,
                           100 * agreement, 100 * agreement_error, 100 * delta, 100 * delta_error, 100 * std::sqrt(d.delta_p_squared_sum / n));
    }
    if (options->json) fmt::print("{}\n", document.dump(2));
    else fmt::print("{}", table);
    return 0;
  };
}

}  // namespace quantfleet::cli
