#include "suites/scorers/perplexity.h"

#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace quantfleet {
namespace {

// Pieces of re.split(r"\s+", text): one more than there are runs of white space, so white space at an end makes an empty piece.
std::size_t count_words(std::string_view text) {
  std::size_t pieces = 1;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = white_space_at(text, at);
    if (bytes && !inside) ++pieces;
    inside = bytes > 0;
    at += std::max<std::size_t>(bytes, 1);
  }
  return pieces;
}

class Perplexity : public Scorer {
 public:
  explicit Perplexity(std::optional<Template> original) : original_(std::move(original)) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = std::get_if<RollingLoglikelihoodAnswer>(&response.answer);
    if (!answer) {
      row.error = wrong_answer_kind("rolling log-likelihood");
      return;
    }
    if (answer->count_tokens <= 0) {
      row.error = Error{Code::kBadValue, "no token was scored: the text is shorter than one window"};
      return;
    }
    std::map<std::string, double> scores = {{"nll", answer->nll_sum}, {"nll_squared", answer->nll_squared_sum},
                                            {"tokens", static_cast<double>(answer->count_tokens)}};
    if (original_) {
      const auto original = original_->render(item.item.fields);
      if (!original) {
        row.error = original.error();
        return;
      }
      scores["words"] = static_cast<double>(count_words(*original));
      scores["bytes"] = static_cast<double>(original->size());
    }
    if (const auto& divergence = answer->divergence) {
      scores["kl_divergence_sum"] = divergence->kl_sum;
      scores["kl_divergence_lower_sum"] = divergence->kl_lower_sum;
      scores["kl_divergence_variance_sum"] = divergence->kl_variance_sum;
      scores["delta_p_sum"] = divergence->delta_p_sum;
      scores["delta_p_squared_sum"] = divergence->delta_p_squared_sum;
      scores["top1_agreement_sum"] = divergence->top1_agreement_sum;
      scores["reference_nll"] = divergence->reference_nll_sum;
    }
    for (const auto& [name, value] : scores) {
      if (std::isfinite(value)) continue;
      row.error = Error{Code::kNonFinite, "'" + name + "' is not finite"};
      return;
    }
    row.scores.merge(scores);
    if (answer->divergence) row.series["kl_divergence"] = answer->divergence->kl_per_token;
  }

  void tally(const ScoredItem&, ChanceTally&) const override {}
  std::vector<std::string> numbers() const override {
    if (!original_) return {"token_perplexity"};
    return {"word_perplexity", "byte_perplexity", "bits_per_byte", "token_perplexity"};
  }

  Status check(const ScoredItem& item) const override {
    if (!original_) return {};
    if (const auto original = original_->render(item.item.fields); !original) return original.error();
    return {};
  }

 private:
  std::optional<Template> original_;
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_perplexity(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "perplexity.");
  const std::string source = options.text("original", "");
  if (const Status status = options.finish(); !status) return status.error();
  std::optional<Template> original;
  if (!source.empty()) {
    auto parsed = Template::parse(source, fmt::format("{}, perplexity.original", task.place));
    if (!parsed) return parsed.error();
    original = std::move(*parsed);
  }
  return std::unique_ptr<Scorer>(std::make_unique<Perplexity>(std::move(original)));
}

}  // namespace quantfleet
